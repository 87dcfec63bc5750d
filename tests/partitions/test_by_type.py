"""What type each example is of, and who said so."""

import pytest

from tests.conftest import each
from yosegi.errors import Invalid
from yosegi.partitions.by_type import by_type, number, rule
from yosegi.tasks import Example

DATA = {
    "math": [Example(f"m{n}", f"p{n}", "t", meta={"level": f"Level {n}", "lang": "en"}) for n in range(1, 6)],
    "qa": [Example("q1", "p", "t", meta={"lang": "ja"}), Example("q2", "p", "t", meta={"lang": "en"})],
}


def ids(result):
    return {name: [e.id for e in examples] for name, examples in result.groups.items()}


def test_by_rules():
    result = by_type(DATA, rules=["knowledge: task == qa", "easy: level <= 2", "hard"])
    assert ids(result) == {"knowledge": ["q1", "q2"], "easy": ["m1", "m2"], "hard": ["m3", "m4", "m5"]}
    assert dict(result.tasks) == {"knowledge": ("qa",), "easy": ("math",), "hard": ("math",)}
    rows = {row["id"]: row for row in result.evidence["rows"]}
    assert rows["m2"] == {
        "task": "math",
        "id": "m2",
        "type": "easy",
        "by": {"rule": "easy: level <= 2", "level": "Level 2"},
    }
    assert rows["m3"]["by"] == {"rule": "hard"} and rows["q1"]["by"]["task"] == "qa"
    assert result.evidence["summary"]["types"]["easy"] == {"examples": 2, "tasks": ["math"]}


def test_by_field_by_task_and_by_example():
    assert ids(by_type(DATA, field="lang")) == {"en": ["m1", "m2", "m3", "m4", "m5", "q2"], "ja": ["q1"]}
    result = by_type(DATA, {"math": "task", "qa": "knowledge", ("qa", "q2"): "task"})
    assert ids(result) == {"task": ["m1", "m2", "m3", "m4", "m5", "q2"], "knowledge": ["q1"]}
    assert [row["by"] for row in result.evidence["rows"]][-2:] == [{"task": "qa"}, {"example": "q2"}]


def test_the_first_that_speaks():
    everything = by_type(DATA, {"qa": "task", ("math", "m1"): "own"}, rules=["rule: level == 2"], field="lang")
    assert ids(everything) == {"rule": ["m2"], "own": ["m1"], "en": ["m3", "m4", "m5", "q2"], "ja": ["q1"]}
    assert everything.evidence["summary"]["empty"] == ["task"]


@each(
    "text, holds",
    [
        ("t: level == Level 2", {2}),
        ("t: level != 2", {1, 3, 4, 5}),
        ("t: level < 2", {1}),
        ("t: level>=4", {4, 5}),
        ("t: level > 4.5", {5}),
        ("t: nothing == 2", set()),
        ("t: lang != en", set()),
        ("t: id == m3", {3}),
    ],
)
def test_operators(text, holds):
    result = ids(by_type({"math": DATA["math"]}, rules=[text, "rest"]))
    assert {int(id[1:]) for id in result.get("t", [])} == holds


@each("message, value", [("Level 2", 2), ("-1.5", -1.5), (3, 3), (True, None), ("Level ?", None), (None, None)])
def test_numbers(message, value):
    assert number(message) == value


@each("text", ["", "easy: level", "easy: level ~ 2", "easy: level <= few", "a b"])
def test_what_is_not_a_rule(text):
    with pytest.raises(Invalid):
        rule(text)


def test_an_example_without_a_type_is_an_error():
    with pytest.raises(Invalid, match="2 examples have no type; the first is 'q1' of qa"):
        by_type(DATA, rules=["easy: level <= 2", "hard: level > 2"])


@each("place", ["maths", ("qa", "q3"), ("maths", "m1")])
def test_labels_of_what_is_not_there(place):
    with pytest.raises(Invalid, match="does not have"):
        by_type(DATA, {"math": "a", "qa": "b", place: "c"})


@each(
    "text, message, holds",
    [
        ("a: task == gsm8k", "gsm8k", True), ("a: task == gsm8k", "gsm8k/ja", False), ("a: task != gsm8k", "gsm8k/ja", True),
        ("a: source == wiki2023", "news2023", False), ("a: level == 2", "Level 2", True), ("a: level != 2", "Level 2", False),
        ("a: level == Level 2", 2, True), ("a: level == Level 2", "Level 3", False), ("a: level == 2", 2.0, True),
    ],
)  # fmt: skip
def test_names_with_numbers_in_them_are_names(text, message, holds):
    assert rule(text).holds(message) is holds


@each(
    "message, value",
    [("1,000", 1000), ("Level-2", 2), ("grade-3", 3), ("10-20", 20), ("-3", -3), ("from -3", -3), ("1,2", 2)],
)
def test_thousands_and_hyphens(message, value):
    assert number(message) == value
