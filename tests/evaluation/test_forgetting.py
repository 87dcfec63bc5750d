"""General tasks that can be asked, and rows that say that they are general."""

import pytest

from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.errors import NoData
from yosegi.evaluation.forgetting import PROBES, TABLES, forgetting, probes
from yosegi.reporting.forgetting import forgetting as kept
from yosegi.reporting.forgetting import print_forgetting
from yosegi.reporting.read import read
from yosegi.run import Run
from yosegi.tasks import load


def test_the_embedded_base_has_its_tables(nano, pair):
    asked, missing = probes(nano, [Arm("base"), Arm("adder", pair[:1])])
    assert [(task.name, split) for task, split in asked] == list(TABLES) and missing == []


def test_what_an_expert_learnt_is_not_general(nano, pair):
    learnt = Expert("mul", pair[0].factors, {"task": ["skills/mul"], "base_hash": nano.hash})
    asked, missing = probes(nano, [Arm("base"), Arm("mul", [learnt])])
    assert [task.name for task, _ in asked] == [name for name, _ in TABLES if name != "skills/mul"]
    assert missing == ["skills/mul is left out: an expert learnt it."]


def test_a_part_of_a_general_task_is_the_task(nano, pair, monkeypatch):
    monkeypatch.setattr("yosegi.evaluation.forgetting.TABLES", (("skills", "test"), ("skills/unit", "test")))
    asked, missing = probes(nano, [Arm("base"), Arm("adder", pair[:1])])
    assert [task.name for task, _ in asked] == ["skills/unit"] and len(missing) == 1


def test_without_data_it_says_what_to_fetch(nano, tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    monkeypatch.setattr("yosegi.evaluation.forgetting.TABLES", PROBES)
    with pytest.raises(NoData, match="No general task can be asked here. mmlu is left out: .*jsonl"):
        probes(nano, [Arm("base")])


def test_rows_are_marked_and_the_report_finds_them(nano, pair, tmp_path, capsys):
    run, arms = Run(tmp_path), [Arm("base"), Arm("adder", pair[:1]), Arm("oracle", pair, "oracle")]
    asked = [(load("skills/mul"), "test"), (load("skills/capital"), "validation")]
    rows = forgetting(nano, arms, run, asked, limit=10)
    assert rows and all(row["general"] is True for row in run.results())
    assert {row["model"] for row in rows} == {"base", "adder"}, "the oracle knows only what was learnt"
    assert forgetting(nano, arms, run, asked, limit=10) == rows and len(run.results()) == len(rows)
    found = read([tmp_path])
    (adder,) = kept(found, found.models)
    assert (adder.model, [c.questions for c in adder.changes]) == ("adder", [10, 10])
    print_forgetting(tmp_path)
    assert capsys.readouterr().out.startswith("General knowledge, adder: ")


@pytest.mark.data
def test_real(nano, monkeypatch):
    monkeypatch.setattr("yosegi.evaluation.forgetting.TABLES", PROBES)
    asked, missing = probes(nano, [Arm("base")])
    assert [(task.name, split) for task, split in asked] == list(PROBES) and not missing
