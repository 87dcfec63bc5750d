from math import log

from tests.conftest import each
from yosegi.tasks import LogProb, Score
from yosegi.tasks.readers.choices import Choices


class Cities(Choices):
    kind = "cities"
    most_shots = 5

    def rows(self, split):
        named = [("France", 0), ("England", 1), ("Italy", 2)] if split == "train" else [("Spain", 3)]
        error = {"error_type": "ok"} if split == "test" else {"error_type": "wrong groundtruth"}
        return [
            {
                "id": f"{split}/{i}",
                "question": f"Capital of {c}?",
                "choices": ["Paris", "London", "Rome", "Madrid"],
                "answer_index": at,
                **error,
            }
            for i, (c, at) in enumerate(named)
        ]


def test_prompt_and_target():
    (example,) = Cities().examples("test")
    assert example.prompt == (
        "Choose the right answer. Write its letter.\n\n"
        "Question: Capital of Spain?\nA. Paris\nB. London\nC. Rome\nD. Madrid\nAnswer:"
    )
    assert (example.target, example.answers) == (" D", ("D", "Madrid"))


def test_spaces_around_questions_and_choices_are_upstreams(monkeypatch):
    clean = Cities().examples("test")
    spaced = [
        {**row, "question": f" {row['question']}\n", "choices": [f"{c} " for c in row["choices"]]}
        for row in Cities().rows("test")
    ]
    monkeypatch.setattr(Cities, "rows", lambda self, split: spaced)
    assert Cities().examples("test") == clean


def test_in_japanese_with_worked_examples():
    (example,) = Cities("ja/1shot").examples("test")
    told, shot, asked = example.prompt.split("\n\n")
    assert told == "正しい選択肢を選び、記号で答えてください。"
    assert shot.startswith("問題：Capital of ") and shot[-1] in "ABC"
    assert asked == "問題：Capital of Spain?\nA. Paris\nB. London\nC. Rome\nD. Madrid\n答え：" and example.target == "D"
    for row in Cities("2shot").examples("train"):
        assert row.prompt.count(row.meta["question"]) == 1, "never its own example"


def test_what_is_weighed():
    (example,) = Cities("1shot").examples("test")
    weighed = Cities("1shot").candidates(example)
    assert weighed["letter"].prompt == example.prompt and weighed["letter"].texts == (" D", " A", " B", " C")
    bare = weighed["choice"]
    assert bare.prompt.endswith("\n\nQuestion: Capital of Spain?\nAnswer:") and "A. Paris" not in bare.prompt
    assert bare.prompt.split("\n\n")[0].rpartition(" ")[2] in ("Paris", "London", "Rome"), "its example is bare, too"
    assert bare.texts == (" Madrid", " Paris", " London", " Rome"), "the right one first"


def nats(**sums):
    """As many candidates, each of one token."""
    return {name: [LogProb(value, 1) for value in values] for name, values in sums.items()}


def test_the_letter_comes_first_and_the_likelihood_is_for_each_character():
    task = Cities()
    (example,) = task.examples("test")
    assert (task.metric, task.generates, next(iter(task.candidates(example)))) == ("letter", False, "letter")
    per_character = {"letter": [-4, -3, -2, -1], "choice": [-0.9 * 6, -1.0 * 5, -1.0 * 6, -1.0 * 4]}
    judged = task.score_logprobs(example, nats(**per_character))
    assert (judged.value, judged.answer) == (0.0, "C")
    assert judged.metrics == {
        "accuracy": 0.0, "acc_norm": 1.0, "letter_ok": 0.0, "accuracy_ok": 0.0, "acc_norm_ok": 1.0,
    }  # fmt: skip
    assert max(per_character["choice"]) != per_character["choice"][0], "not because it is the likeliest whole"


def test_an_answer_is_written_where_it_is_asked_for():
    task = Cities("written")
    (example,) = task.examples("test")
    assert (task.metric, task.generates) == ("written", True)
    assert task.score(example, "\n\nSo the answer is D.").metrics == {"written_ok": 1.0}
    judged = task.score_logprobs(example, nats(letter=[0, -1, -1, -1], choice=[0, -1, -1, -1]))
    assert {"letter", "accuracy", "acc_norm"} < set(judged.metrics), "beside it all measures of likelihood"


def test_bare_questions_are_listed_where_an_answer_is_written():
    class Bare(Cities):
        headline = "accuracy"

    (example,), (written,) = Bare().examples("test"), Bare("written").examples("test")
    assert (example.target, written.target) == (" Madrid", " D")
    assert "A. Paris" not in example.prompt and "A. Paris" in written.prompt
    assert Bare().score(example, "Madrid.").value == 1.0


def test_a_tie_is_shared():
    task = Cities()
    (example,) = task.examples("test")
    level = [log(0.25)] * 4
    assert task.score_logprobs(example, nats(letter=level, choice=[-9, -1, -1, -1])).value == 0.25


def test_a_faulty_question_has_no_twin():
    task = Cities("written")
    faulty, sound = task.examples("train")[0], task.examples("test")[0]
    assert task.score(faulty, "A") == Score(1.0, "A", {})
    assert task.score(sound, "A") == Score(0.0, "A", {"written_ok": 0.0})
    judged = Cities().score_logprobs(faulty, nats(letter=[0, -1, -1, -1], choice=[0, -1, -1, -1]))
    assert set(judged.metrics) == {"accuracy", "acc_norm"}


@each(
    "prediction, value, parsed",
    [(" D", 1.0, True), ("Madrid", 1.0, True), (" A", 0.0, True), ("Lisbon", 0.0, False), ("", 0.0, False)],
)
def test_the_letter_is_scored(prediction, value, parsed):
    (example,) = Cities().examples("test")
    score = Cities().score(example, prediction)
    assert (score.value, score.parsed) == (value, parsed)


def test_a_choice_that_looks_like_another_letter_is_no_accepted_answer():
    class Permuted(Choices):
        kind = "permuted"

        def rows(self, split):
            return [{"id": "0", "question": "?", "choices": ["B", "A"], "answer_index": 0}]

    (example,) = Permuted().examples("test")
    assert example.answers == ("A",) and Permuted().score(example, "B").value == 0.0
