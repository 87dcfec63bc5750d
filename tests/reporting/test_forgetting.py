"""The numbers of the section, worked out by hand from a run that is made up here."""

import json

import pytest

from yosegi.evaluation.exact import wilson
from yosegi.evaluation.statistics import over_seeds
from yosegi.reporting.forgetting import forgetting, print_forgetting
from yosegi.reporting.page import page
from yosegi.reporting.read import read


@pytest.fixture
def write(tmp_path):
    """write({task: {model: values}}): a run whose general tasks have these values, question by question (seeds: a list of lists)."""

    def write(tasks, choices=None):
        path, results = tmp_path / "run", []
        for task, models in tasks.items():
            metric = "bits_per_character" if task.startswith("corpus") else "exact_match"
            for model, seeds in models.items():
                for seed, values in enumerate(seeds if isinstance(seeds[0], list) else [seeds]):
                    name = f"items/{task.replace('/', '-')}.{model}.{seed}.jsonl"
                    rows = [
                        {"id": f"{task}/{i}", "score": 0.0 if task.startswith("corpus") else v, metric: v, "parsed": True,
                         "prompt": "p", "target": "t", "prediction": "x",
                         "meta": {"choices": ["a"] * choices} if choices else {}}
                        for i, v in enumerate(values)
                    ]  # fmt: skip
                    (path / "items").mkdir(parents=True, exist_ok=True)
                    (path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
                    mean = sum(values) / len(values)
                    own = ["rougeL", "bits_per_character"] if task.startswith("corpus") else ["exact_match"]
                    for one in own:
                        value = 0.0 if one == "rougeL" else mean
                        results.append(
                            {"model": model, "task": task, "metric": one, "value": value, "n": len(values), "seed": seed,
                             "ci_low": value - 0.1, "ci_high": value + 0.1, "items": name, "general": True,
                             "method": "base" if model == "base" else "expert", "split": "test",
                             **({"chance": 1 / choices} if choices else {})}
                        )  # fmt: skip
        (path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in results))
        return path

    return write


def kept(path):
    found = read([path])
    return {one.model: one for one in forgetting(found, found.models)}


BEFORE = [1.0] * 30 + [0.0] * 10
AFTER = [1.0] * 24 + [0.0] * 14 + [1.0] * 2


def test_a_change_is_paired_question_by_question(write):
    (change,) = kept(write({"qa": {"base": BEFORE, "a": AFTER}}))["a"].changes
    assert (change.before, change.interval[0]) == (0.75, pytest.approx(-0.1))
    assert change.lost == [f"qa/{i}" for i in range(24, 30)] and change.gained == ["qa/38", "qa/39"]
    _, low, high = over_seeds([AFTER], [BEFORE])
    assert change.interval[1] <= low < -0.1 < high <= change.interval[2] and not change.at_chance


def test_every_task_counts_alike_however_many_questions_it_has(write):
    small_before, small_after = [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    found = kept(write({"qa": {"base": BEFORE, "a": AFTER}, "small": {"base": small_before, "a": small_after}}))["a"]
    assert found.knowledge[0] == pytest.approx((-0.1 + 0.25) / 2)
    assert found.texts is None and found.factor is None


def test_where_nothing_changed_the_interval_is_not_a_point(write):
    found = kept(write({"qa": {"base": BEFORE * 8, "a": BEFORE * 8}}))["a"]
    value, low, high = found.knowledge
    assert value == 0 and -low == high == pytest.approx(wilson(0, 320)[1])
    assert found.verdict == "no loss shown; at most 0.012"


def test_a_plain_loss_and_a_plain_gain_are_called_so(write):
    found = kept(write({"qa": {"base": BEFORE, "worse": [0.0] * 40, "better": [1.0] * 40}}))
    assert found["worse"].verdict == "forgets" and found["better"].verdict == "gains"


def test_texts_are_told_apart_as_a_factor_on_the_perplexity(write):
    bits = [2.0, 3.0, 2.5, 4.0]
    found = kept(write({"corpus/x": {"base": bits, "a": [b + 0.5 for b in bits]}, "qa": {"base": BEFORE, "a": AFTER}}))[
        "a"
    ]
    factor, low, high = found.factor
    assert factor == pytest.approx(2**0.5) and low < factor < high, "four equal changes are no certainty"
    assert found.knowledge[0] == pytest.approx(-0.1)
    change = found.changes[0]
    assert (change.metric, change.before, change.interval[0]) == ("bits_per_character", 2.875, pytest.approx(0.5))
    assert len(change.lost) == 4 and change.gained == []


def test_a_task_on_which_the_base_is_at_chance_does_not_count(write):
    quarter = [1.0] * 10 + [0.0] * 30
    found = kept(write({"mc": {"base": quarter, "a": [0.0] * 40}}, choices=4))["a"]
    assert found.changes[0].at_chance and found.knowledge is None and "at chance" in found.verdict
    knows = kept(write({"mc": {"base": BEFORE, "a": AFTER}}, choices=4))["a"]
    assert not knows.changes[0].at_chance and knows.knowledge is not None
    nothing = kept(write({"open": {"base": [1.0] * 4 + [0.0] * 60, "a": [0.0] * 64}}))["a"]
    assert nothing.changes[0].at_chance
    few = kept(write({"open": {"base": [1.0] * 4, "a": [0.0, 1.0, 1.0, 1.0]}}))["a"]
    assert not few.changes[0].at_chance, "few questions, but the base knows them"


def test_seeds_are_paired_with_the_bases_own(write):
    other = [0.0] * 5 + [1.0] * 35
    found = kept(write({"qa": {"base": [BEFORE, other], "a": [AFTER, other]}}))["a"]
    assert found.changes[0].seeds == 2 and found.changes[0].interval[0] == pytest.approx(-0.05)
    one_base = kept(write({"qa": {"base": BEFORE, "a": [AFTER, BEFORE]}}))["a"]
    assert one_base.changes[0].interval[0] == pytest.approx(-0.05)


def test_on_the_page_and_in_the_terminal(write, capsys):
    path = write({"qa": {"base": BEFORE, "a": AFTER}, "corpus/x": {"base": [2.0, 3.0], "a": [2.0, 3.1]}})
    html = page(read([path]))
    assert '<section id="forgetting">' in html and 'href="#forgetting"' in html and "qa/24, qa/25" in html
    print_forgetting(path)
    said = capsys.readouterr().out
    assert said.startswith("General knowledge, a: −0.100 [") and "perplexity of general texts × 1.035" in said


def test_without_general_tasks_there_is_no_section(kept_run):
    assert forgetting(read([kept_run]), ["arrow"]) == []
    assert 'id="forgetting"' not in page(read([kept_run]))
