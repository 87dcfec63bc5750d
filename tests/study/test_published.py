"""Ours beside what was published: inside its interval, or outside and said so."""

from types import SimpleNamespace

import pytest

from yosegi.run import Run
from yosegi.study.published import SCORES, published_finding

SMOLLM2 = SimpleNamespace(name="smollm2", dtype="bf16")


def asked(run, task, field, values):
    items = [{"id": str(n), "score": 0.0, field: value} for n, value in enumerate(values)]
    return [{"model": "base", "task": task, "items": run.items(task, "base", items)}]


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_inside_and_outside(run):
    rows = asked(run, "arc_easy", "acc_norm", [1] * 20 + [0] * 30) + asked(
        run, "arc_challenge", "acc_norm", [1] * 15 + [0] * 35
    )
    rows += asked(run, "mmlu", "acc_norm", [1] * 45 + [0] * 5)
    found = published_finding(SMOLLM2, rows, run)
    lines = {row[0]: row for row in found.table.rows}
    assert set(lines) == {"ARC (average)", "MMLU (cloze)"}, "of what was not asked there is no line"
    arc, mmlu = lines.values()
    assert (
        arc[1].value == pytest.approx(0.35) and arc[2:5] == [100, 0.373, "inside"] and arc[1].low < 0.373 < arc[1].high
    )
    assert mmlu[4] == "outside" and mmlu[5], "what differs is said"
    assert "1 of 2" in found.text[0] and "MMLU (cloze)" in found.text[0]


def test_a_base_of_which_nothing_was_published(run):
    rows = asked(run, "mmlu", "acc_norm", [1, 0])
    assert published_finding(SimpleNamespace(name="nano", dtype="fp32"), rows, run) is None
    assert published_finding(SMOLLM2, [], run) is None


def test_every_published_score_is_of_a_task_here():
    from yosegi import registry

    names = {task for scores in SCORES.values() for one in scores for task in one.tasks}
    assert names and names <= set(registry.names("tasks"))
