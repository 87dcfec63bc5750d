"""Every task of the drawer: the same examples every time, each id once, and the gold target is worth 1.0."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from yosegi import registry
from yosegi.errors import Invalid, NoData, UnknownName, YosegiError
from yosegi.tasks import Example, LogProb, Score, load

NAMES = registry.names("tasks")
MADE_UP = ("skills",)  # generated: these need no data
ONLINE = ("hellaswag", "piqa", "siqa", "winogrande")  # on the Hub only: their rows are made up here
EVALUATION_ONLY = ("bbh", "exercism", "humaneval", "humanevalpack", "ifeval", "jmmlu", "math500", "mmlu")
OWN = ("file", "lm_eval")  # whose data lie in a file of the user
SPLITS = ("train", "validation", "test")
MOST = 200  # examples scored of each split
GARBAGE = [
    "",
    " \n",
    "\0",
    "nan",
    "-",
    "####",
    "=",
    "答え",
    "A" * 5000,
    "9" * 5000,
    "(" * 500,
    "\ud800",
    "🙂",
    "1/0",
    "\\boxed{",
]
HARNESS = """
task: own
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{completion|trim}}}}"
generation_kwargs: {{until: ["."]}}
filter_list: [{{name: read, filter: [{{function: remove_whitespace}}, {{function: take_first}}]}}]
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_punctuation: true}}]
"""


def parts(name, most=3):
    """A few parts of a task that has some: the first, the last and one between."""
    found = [f"{name}/{part}" for part in registry.find("tasks", name).parts()]
    step = max(1, (len(found) - 1) // (most - 1)) if found else 1
    return found[::step][:most] or [name]


def every(names):
    """Parts are asked for when the test runs, not when it is collected: that is when there is data."""
    return [
        pytest.param(name, marks=() if name in (*MADE_UP, *ONLINE) else pytest.mark.data)
        for name in names
        if name not in OWN
    ]


def made_up(folder, names=ONLINE):
    """A data folder with rows of the tasks that have none here."""
    for name in names:
        for split in ("train", "test"):
            rows = [
                {
                    "id": f"{split}/{i}",
                    "question": f"{split} {i} is",
                    "choices": [f"{i}", f"not {i}"],
                    "answer_index": i % 2,
                    "after": " too.",
                }
                for i in range(30)
            ]
            file = folder / "knowledge_en" / f"{name}_{split}.jsonl"
            file.parent.mkdir(exist_ok=True)
            file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


@pytest.fixture(params=[*every(NAMES), *OWN])
def names(request, tmp_path, monkeypatch):
    if request.param in ONLINE:
        made_up(tmp_path)
        monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    if request.param not in OWN:
        return parts(request.param)
    rows = [{"prompt": f"What is {i} plus {i}?", "completion": f" {2 * i}"} for i in range(60)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    if request.param == "lm_eval":
        pytest.importorskip("lm_eval")
        (tmp_path / "own.yaml").write_text(HARNESS.format(rows=tmp_path / "own.jsonl"))
        return [f"lm_eval:{tmp_path}/own.yaml"]
    return [f"file/{tmp_path}/own.jsonl"]


@cache
def kept(name, data):
    """A task and its examples by split, read once for all tests of one process; `data` is the folder."""
    task = load(name)
    return task, read(task)


def opened(name):
    return kept(name, os.environ.get("YOSEGI_DATA"))


def read(task):
    """Its examples by split; a split that a task does not have is refused with a reason."""
    found = {}
    for split in SPLITS:
        try:
            found[split] = task.examples(split)
        except Invalid as error:
            assert split in str(error)
    assert "test" in found or "validation" in found, task.name
    return found


def test_the_drawer_was_walked():
    assert {"gsm8k", "gsm_hard", "file", "mbpp", "mgsm_ja", "natural_instructions", "skills", "terms"} <= set(NAMES)
    assert {"aqua", "jcommonsenseqa", "jmmlu", "math", "mawps", "mawps_ja", "mmlu"} <= set(NAMES)
    assert {
        "arc_challenge",
        "openbookqa",
        "commonsenseqa",
        "pubmedqa",
        "medquad",
        "bbh",
        "humaneval",
        "humanevalpack",
    } <= set(NAMES)
    assert {"exercism", "jaquad", "jnli", "jsick", "jcola", "ifeval", "math500", "elyza", "jmt"} <= set(NAMES)
    assert set(ONLINE) <= set(NAMES)


def test_examples_are_examples(names):
    for name in names:
        task, found = opened(name)
        assert task.name == name and task.metric and task.max_new_tokens > 0 and isinstance(task.stop, tuple)
        for split, examples in found.items():
            assert examples, (name, split)
            for example in examples:
                assert isinstance(example, Example) and example.id
                assert bool(example.target.strip()) == bool(example.answers) == task.has_gold
                assert all(isinstance(answer, str) for answer in example.answers)
                assert not example.prompt.endswith((" ", "\n")), (
                    example.id
                )  # a space belongs to the target's first token


def test_the_same_examples_every_time(names):
    for name in names:
        assert read(load(name)) == opened(name)[1]


def test_ids_are_unique_within_and_across_splits(names):
    for name in names:
        ids = [example.id for examples in opened(name)[1].values() for example in examples]
        assert len(ids) == len(set(ids)), name


def test_nothing_to_learn_from_is_asked_in_the_test(names):
    for name in names:
        found = opened(name)[1]
        if name.startswith("skills/") and {e.prompt for e in found["train"]} == {e.prompt for e in found["test"]}:
            continue  # a table: knowledge, the same items in every split, as its docstring says
        prompts = {split: {e.prompt for e in examples} for split, examples in found.items()}
        for split in ("validation", "test"):
            assert not prompts.get("train", set()) & prompts.get(split, set()), (name, split)


def test_the_gold_target_is_worth_one(names):
    for name in names:
        task, found = opened(name)
        if not task.has_gold:
            continue
        for examples in found.values():
            pairs = []
            for example in examples[:MOST]:
                assert not any(stop in example.target for stop in task.stop), example.id  # it would never be finished
                pairs += [(example, gold) for gold in (example.target, example.target.strip(), *example.answers)]
            scores = task.scores(*zip(*pairs, strict=True))  # all at once: programs are run side by side
            assert len(scores) == len(pairs)
            for (example, gold), score in zip(pairs, scores, strict=True):
                assert (score.value, score.parsed) == (1.0, True), (example.id, gold)
            assert task.score(*pairs[0]) == scores[0]


def test_any_prediction_gets_a_score(names):
    for name in names:
        task, found = opened(name)
        examples = next(iter(found.values()))[:2]
        for example in examples:
            gold = set(task.score(example, example.target).metrics)
            for prediction in GARBAGE:
                score = task.score(example, prediction)
                assert isinstance(score, Score) and 0 <= score.value <= 1
                assert score.parsed or score.value == 0
                assert set(score.metrics) == gold, "a row for each example"
            empty = task.score(example, "")
            assert (empty.value, empty.answer) == (0.0, None) and not any(empty.metrics.values())


def test_what_is_weighed_can_be_judged(names):
    for name in names:
        task, found = opened(name)
        for examples in found.values():
            for example in examples[:20]:
                asked = task.candidates(example)
                level = {key: [LogProb(-1.0, 1)] * len(some.texts) for key, some in asked.items()}
                for some in asked.values():
                    assert some.texts and all(text.strip() for text in some.texts)
                    assert not (some.prompt or "").endswith((" ", "\n"))
                assert asked or task.generates, "it has to be asked somehow"
                if not asked:
                    continue
                score = task.score_logprobs(example, level)
                assert isinstance(score, Score) and 0 <= score.value <= 1
                assert all(
                    isinstance(metric, str) and isinstance(value, float) for metric, value in score.metrics.items()
                )
                written = task.score(example, example.target).metrics if task.generates else ()
                assert not set(score.metrics) & {task.metric, "logp", *written}


def test_another_examples_answer_is_mostly_wrong(names):
    for name in names:
        task, found = opened(name)
        if not task.has_gold:
            continue
        examples = next(iter(found.values()))[:MOST]
        others = [next((o for o in examples if o.answers != e.answers), None) for e in examples]
        pairs = [(e, o.target) for e, o in zip(examples, others, strict=True) if o]
        values = [score.value for score in task.scores(*zip(*pairs, strict=True))]
        assert values and sum(values) < len(values), name


@pytest.mark.parametrize("name", EVALUATION_ONLY)
def test_what_is_for_evaluation_only_is_not_learnt_from(name):
    with pytest.raises(Invalid, match="evaluation only"):
        load(name).examples("train")


@pytest.mark.parametrize("name", every([name for name in NAMES if name not in ONLINE]))
def test_an_unknown_part_or_split_is_refused(name):
    with pytest.raises(YosegiError) as error:
        load(f"{name}/no_such_part")
    assert "\n" not in str(error.value) and "no_such_part" in str(error.value)
    with pytest.raises(Invalid, match="no_such_split"):
        load(parts(name)[0]).examples("no_such_split")


def test_without_data_one_line_says_what_to_fetch(tmp_path):
    """In a process of its own: offline, and with an empty data folder."""
    parts = {"natural_instructions": "task073_commonsenseqa_answer_generation", "terms": "law", "corpus": "law"}
    asked = [f"{name}/{parts[name]}" if name in parts else name for name in NAMES if name not in (*MADE_UP, *OWN)]
    program = (
        "import sys; from yosegi.errors import NoData; from yosegi.tasks import load\n"
        "for name in sys.argv[1:]:\n"
        "    split = 'validation' if name.startswith(('corpus', 'thealgorithms')) else 'test'\n"
        "    try: load(name).examples(split)\n"
        "    except NoData as error: print(name, error)\n"
    )
    environment = {**os.environ, "YOSEGI_DATA": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    command, root = [sys.executable, "-c", program, *asked], Path(registry.HERE).parent
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == asked
    assert all(".jsonl" in line and str(tmp_path) in line for line in lines)


def test_a_task_that_needs_a_part_says_so():
    with pytest.raises(Invalid, match="'skills' needs a part, as in skills/NAME: add, "):
        load("skills")


def test_unknown_tasks():
    with pytest.raises(UnknownName, match="No task is called 'gsm8'. Did you mean 'gsm8k'"):
        load("gsm8")
    with pytest.raises(UnknownName, match="'revers'. Did you mean 'reverse'"):
        load("skills/revers")


def test_a_data_folder_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(NoData, match=r"nowhere' does not exist"):
        load("gsm8k").examples("test")
