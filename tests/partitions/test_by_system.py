"""The vote against counting by hand, kappa against the paper's own table, and a folder that is the partition again."""

import json
from collections import Counter

import pytest

from tests.conftest import each
from yosegi import files, tasks
from yosegi.errors import Corrupt, Invalid, NoData
from yosegi.partitions import by_system as room
from yosegi.partitions.by_system import by_system, decide, fleiss
from yosegi.tasks import Example
from yosegi.teachers import Question, System, Teacher, Vote, load, scale
from yosegi.teachers.random import Random
from yosegi.teachers.structure import Structure

# Fleiss 1971, table 1: 30 patients, each put by 6 psychiatrists into one of 5 categories. He finds 0.430.
DIAGNOSES = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""


class Says(Teacher):
    """Votes as it was told, whatever it is asked."""

    def __init__(self, name, *systems, price=None):
        super().__init__()
        self.name, self.systems, self.price = name, systems, price

    def label(self, examples, question):
        assert isinstance(question, Question)
        return [
            Vote(s, f"{self.name} thinks", "raw", "", 1000, 10)
            if isinstance(s, int)
            else Vote(None, "", "raw words", s, 1000, 10)
            for s in self.systems
        ]


def data(*sizes):
    return {f"t{t}": [Example(str(n), f"t{t} q{n}", f"a{n}") for n in range(size)] for t, size in enumerate(sizes)}


@each(
    "votes, k, system, how",
    [
        ([0], 2, 0, "unanimous"),
        ([0, 0, 1], 2, 0, "majority"),
        ([1, 1, 0, 0, 1], 2, 1, "majority"),
        ([0, 1], 2, 1, "tie"),
        ([0, None, 1], 2, 1, "tie"),
        ([0, None, None], 2, 0, "unanimous"),
        ([None, None], 2, 1, "nobody"),
        ([None], 4, 3, "nobody"),
        ([0, 0, 1, 1, 3], 4, 1, "tie"),
        ([2, 0, 1], 4, 2, "tie"),
    ],
)
def test_decide(votes, k, system, how):
    assert decide(votes, k) == (system, how)


def test_kappa_is_that_of_fleiss():
    table = [[int(digit) for digit in row] for row in DIAGNOSES.split()]
    assert len(table) == 30 and [sum(column) for column in zip(*table, strict=True)] == [26, 26, 30, 55, 43]
    kappa, agreement = fleiss(table)
    assert round(kappa, 3) == 0.430 and round(agreement, 4) == 0.5556


def test_kappa_by_hand():
    """Two voters, four examples: three agreements. Chance: (5/8)² + (3/8)² = 34/64; kappa = (3/4 - 34/64) / (1 - 34/64)."""
    assert fleiss([[2, 0], [2, 0], [0, 2], [1, 1]]) == (pytest.approx((48 - 34) / (64 - 34)), 0.75)
    assert fleiss([[2, 0], [0, 2]]) == (1.0, 1.0)
    assert fleiss([[1, 1], [1, 1]]) == (-1.0, 0.0)
    assert fleiss([[3, 0], [3, 0]]) == (None, 1.0) and fleiss([]) == (None, None)
    for table in ([[1, 0]], [[2, 0], [1, 0]]):
        with pytest.raises(Invalid, match="same number of votes"):
            fleiss(table)


def test_the_vote_and_its_account():
    teachers = [
        Says("a", 0, 0, 1, 0, "unparsable", price=(2.0, 50.0)),
        Says("b", 0, 1, 1, "abstained", "failed"),
        Says("c", 0, 0, 0, 1, "unparsable"),
    ]
    result = by_system(data(3, 2), teachers, target_model="a model")
    assert {name: [e.prompt for e in rows] for name, rows in result.groups.items()} == {
        "system1": ["t0 q0", "t0 q1"],
        "system2": ["t0 q2", "t1 q0", "t1 q1"],
    }
    assert result.tasks == {"system1": ("t0",), "system2": ("t0", "t1")}
    summary, rows = result.evidence["summary"], result.evidence["rows"]
    assert summary["decided"] == {"unanimous": 1, "majority": 2, "tie": 1, "nobody": 1}
    assert [row["how"] for row in rows] == ["unanimous", "majority", "majority", "tie", "nobody"]
    assert rows[1]["votes"]["b"] == {"system": "system2", "rationale": "b thinks"}
    assert rows[4]["votes"]["b"] == {"system": None, "lost": "failed", "rationale": "", "raw": "raw words"}
    a, b = summary["teachers"]["a"], summary["teachers"]["b"]
    assert (a["votes"], a["unparsable"], a["abstained"]) == ({"system1": 3, "system2": 1}, 1, 0)
    assert (b["abstained"], b["failed"], b["cost"]) == (1, 1, None)
    assert (a["tokens_in"], a["tokens_out"]) == (5000, 50)
    assert a["cost"] == pytest.approx((5000 * 2 + 50 * 50) / 1e6)
    assert summary["complete"] == 3 and summary["agreement"] == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)
    assert summary["target_model"] == "a model" and summary["note"] == ""
    assert json.loads(json.dumps(result.evidence, allow_nan=False)) == result.evidence


def test_without_teachers_the_structure_votes_and_says_so():
    result = by_system({"t": [Example("1", "q", "1+1=2"), Example("2", "q", "1+1=2,2+2=4")]})
    assert {name: [e.id for e in rows] for name, rows in result.groups.items()} == {"system1": ["1"], "system2": ["2"]}
    assert "no teacher was given" in result.evidence["summary"]["note"]
    assert result.evidence["summary"]["kappa"] is None and list(result.evidence["summary"]["teachers"]) == ["structure"]


def test_more_systems_with_names_of_their_own():
    systems = [System(name, f"about {name}") for name in ("recall", "read", "reckon")]
    result = by_system(data(4), [Says("a", 2, 0, "failed", 2)], systems=systems)
    assert {name: len(rows) for name, rows in result.groups.items()} == {"recall": 1, "reckon": 3}, (
        "nobody learns nothing"
    )
    assert {name: s["examples"] for name, s in result.evidence["summary"]["systems"].items()} == {
        "recall": 1,
        "read": 0,
        "reckon": 3,
    }


@each(
    "arguments, says",
    [
        ({"k": 1}, "2 to 9 systems"),
        ({"systems": [System("a", "x")]}, "at least two"),
        ({"systems": [System("a", "x"), System("a", "y")]}, "its own name"),
        ({"teachers": [Structure(), Structure((1,))]}, "'structure' was given twice"),
        ({"teachers": [Says("short", 1)]}, "'short' gave 1 votes on 2 examples"),
    ],
)
def test_what_is_refused(arguments, says):
    with pytest.raises(Invalid, match=says):
        by_system(data(2), **arguments)


def test_nothing_to_label():
    with pytest.raises(Invalid, match="no examples"):
        by_system({"t": []})


CONFIG = {"tasks": ["skills/chain", "skills/add"], "split": "test", "limit": 30}


@pytest.fixture
def kept(tmp_path):
    examples = {task: tasks.load(task).examples("test")[:30] for task in CONFIG["tasks"]}
    result = by_system(examples, [Structure((1,)), Random(1), Random(2)])
    room.write(tmp_path / "labels", result, CONFIG)
    return tmp_path / "labels", result


def test_read_is_what_was_written(kept):
    path, result = kept
    again = room.read(path)
    assert again == result and list(again.groups) == list(result.groups)
    examples = {task: tasks.load(task).examples("test") for task in reversed(CONFIG["tasks"])}
    given = room.read(path, examples)
    assert given.groups == result.groups, "those that were not labelled are left out, and order follows the labels"


def test_labels_that_do_not_fit_the_data_are_refused(kept, tmp_path):
    path, _ = kept
    examples = {task: tasks.load(task).examples("test")[:30] for task in CONFIG["tasks"]}
    with pytest.raises(Invalid, match="which the data does not have"):
        room.read(path, {"skills/chain": examples["skills/chain"]})
    first = examples["skills/add"][0]
    examples["skills/add"][0] = Example(first.id, first.prompt, "another answer")
    with pytest.raises(Invalid, match="which has changed since"):
        room.read(path, examples)
    with pytest.raises(NoData, match="yosegi label --out"):
        room.read(tmp_path / "nowhere")


def test_a_damaged_folder_is_named(kept):
    path, _ = kept
    rows, summary = (path / room.VOTES).read_text().splitlines(), (path / room.SUMMARY).read_text()
    for broken in (rows[:-1], [*rows[:-1], rows[0]], [*rows[:-1], rows[-1].replace('"system": "', '"system": "x', 1)]):
        (path / room.VOTES).write_text("\n".join(broken) + "\n")
        with pytest.raises(Corrupt, match="do not belong together"):
            room.read(path)
    (path / room.VOTES).write_text('{"id": 3}\n')
    with pytest.raises(Corrupt, match="is not a labelling"):
        room.read(path)
    (path / room.VOTES).write_text("\n".join(rows) + "\n")
    (path / room.SUMMARY).write_text("{}" if summary else "")
    with pytest.raises(Corrupt, match="is not a labelling"):
        room.read(path)


def test_labels_can_be_trained_on(kept):
    """A partition's groups are what `fleet` takes: names to examples."""
    from yosegi.bases import load as load_base
    from yosegi.engine.rows import tokenise

    base = load_base("nano")
    for examples in room.read(kept[0]).groups.values():
        assert len(tokenise(base, examples, 64)) == len(examples)


@pytest.mark.data
def test_real_gsm8k_by_its_structure_and_by_endpoints(served, tmp_path):
    """Three models that judge by the length of the solution, one of them badly; 120 problems, nothing asked twice."""
    examples = {"gsm8k": tasks.load("gsm8k").examples("train")[:120]}

    def behave(number, body):
        lines = body["messages"][1]["content"].split("Correct answer:\n")[1].split("\n\nHow")[0].count("\n")
        if body["model"] == "babbler" and lines % 3 == 0:
            return "Well. It depends."
        if number % 40 == 39:
            return {"status": 500}
        return json.dumps(
            {"system": 1 if lines <= (3 if body["model"] == "strict" else 2) else 2, "because": f"{lines}"}
        )

    served.behave = behave
    path = tmp_path / "answers.jsonl"
    names = [f"{served.url}#{model}" for model in ("strict", "lax", "babbler")]
    teachers = [load(name, answers=path, backoff=0.01) for name in names] + [Structure()]
    result = by_system(examples, teachers, target_model="a model of 0.5B")
    summary = result.evidence["summary"]
    assert sum(map(len, result.groups.values())) == 120 and all(len(rows) > 12 for rows in result.groups.values())
    assert 0.3 < summary["kappa"] < 1 and summary["complete"] < 120
    assert summary["teachers"][names[2]]["unparsable"] == 120 - summary["complete"] > 12
    assert teachers[0].spent["retries"] > 0 and not summary["teachers"][names[0]]["failed"]
    asked = len(served.bodies)
    again = by_system(
        examples, [load(name, answers=path) for name in names] + [Structure()], target_model="a model of 0.5B"
    )
    assert again == result and len(served.bodies) == asked, "also what it says of tokens and cost"
    assert all("#### " in e.target for e in result.groups["system1"])
    assert Counter(row["how"] for row in again.evidence["rows"]) == Counter(summary["decided"]) - Counter()
    room.write(tmp_path / "labels", result, {"tasks": ["gsm8k"], "split": "train", "limit": 120})
    assert room.read(tmp_path / "labels").groups == result.groups
    assert files.read_json(tmp_path / "labels" / room.SUMMARY)["kappa"] == summary["kappa"]


def test_default_systems_are_those_of_k():
    result = by_system(data(6), [Random(0)], 3)
    assert list(result.groups) == [s.name for s in scale(3)] and {len(rows) for rows in result.groups.values()} == {2}
