"""Tasks whose data is on the Hub only, read from a Hub of this disk. Nothing is claimed about scores on them."""

import pytest

from yosegi import tasks
from yosegi.tasks import LogProb
from yosegi.tasks.readers import data

UPSTREAM = {
    "hellaswag": (
        "Rowan/hellaswag",
        None,
        {
            "activity_label": "Cooking",
            "ctx_a": "[header] How to boil [title] Take a pot.",
            "ctx_b": "then you",
            "label": "2",
        }
        | {"endings": ["fly.", "swim.", "boil it [step] now.", "sleep."]},
    ),
    "piqa": ("lighteval/piqa", None, {"goal": "To cool tea", "sol1": "wait", "sol2": "heat it", "label": 0}),
    "siqa": (
        "lighteval/siqa",
        None,
        {
            "context": "Ann fell.",
            "question": "How is she?",
            "answerA": "sad",
            "answerB": "glad",
            "answerC": "rich",
            "label": "1",
        },
    ),
    "winogrande": (
        "allenai/winogrande",
        "winogrande_xl",
        {"sentence": "Ann met Bo because _ was there.", "option1": "Ann", "option2": "Bo", "answer": "2"},
    ),
}


@pytest.mark.parametrize("name", UPSTREAM)
def test_rows_from_the_hub(local_hub, name):
    repo, config, row = UPSTREAM[name]
    local_hub(repo, config, train=[row], validation=[row])
    task = tasks.load(name)
    (example,) = task.examples("test")
    assert task.metric == "accuracy" and not task.generates and example.id == f"{name}/test/0"
    asked = task.candidates(example)
    level = {key: [LogProb(-1.0, 1)] * len(one.texts) for key, one in asked.items()}
    assert task.score_logprobs(example, level).value == pytest.approx(task.chance(example))
    wanted = {
        "hellaswag": ("Cooking: How to boil. Take a pot. Then you", " boil it now."),
        "piqa": ("Question: To cool tea\nAnswer:", " wait"),
        "siqa": ("Question: Ann fell. How is she?\nAnswer:", " sad"),
        "winogrande": ("Ann met Bo because", " Bo"),
    }
    assert (example.prompt, example.target) == wanted[name]
    data._fetch.cache_clear()


def test_winogrande_asks_what_follows_the_gap(local_hub):
    repo, config, row = UPSTREAM["winogrande"]
    local_hub(repo, config, train=[row], validation=[row])
    task = tasks.load("winogrande")
    (example,) = task.examples("test")
    asked = task.candidates(example)
    assert {name: (one.prompt, one.texts) for name, one in asked.items()} == {
        "Bo": ("Ann met Bo because Bo", (" was there.",)),
        "Ann": ("Ann met Bo because Ann", (" was there.",)),
    }
    judged = task.score_logprobs(example, {"Bo": [LogProb(-2, 1)], "Ann": [LogProb(-1, 1)]})
    assert (judged.value, judged.answer) == (0.0, "Ann")
