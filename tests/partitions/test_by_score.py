"""Kept and dropped by hand-made numbers."""

import pytest

from yosegi.errors import Invalid
from yosegi.partitions.by_score import by_score
from yosegi.scores import Score
from yosegi.tasks import Example


class Told(Score):
    """The number that stands in the text, or none."""

    name = "told"

    def of(self, texts):
        return [float(word) if (word := text.split()[-1]) != "none" else None for text in texts]


DATA = {
    "a": [Example(f"a{i}", "worth ", word) for i, word in enumerate(("3", "1", "none", "2"))],
    "b": [Example("b0", "worth ", "5")],
}


def ids(result):
    return {learner: [example.id for example in examples] for learner, examples in result.groups.items()}


def test_a_share_and_a_threshold():
    assert ids(by_score(DATA, Told())) == {"kept": ["a0", "b0"], "dropped": ["a1", "a2", "a3"]}
    assert ids(by_score(DATA, Told(), threshold=2)) == {"kept": ["a0", "a3", "b0"], "dropped": ["a1", "a2"]}
    assert ids(by_score(DATA, Told(), threshold="1..2"))["kept"] == ["a1", "a3"]
    low = Told()
    low.best = "low"
    assert ids(by_score(DATA, low, keep=0.25))["kept"] == ["a1"] and ids(by_score(DATA, low, threshold=2))["kept"] == [
        "a1",
        "a3",
    ]


def test_the_evidence_has_every_number():
    result = by_score(DATA, Told(), keep=0.25)
    assert result.evidence["rule"] == "the best 0.25 of the pages" and result.tasks == {
        "kept": ("b",),
        "dropped": ("a",),
    }
    assert [(row["id"], row["score"], row["learner"]) for row in result.evidence["rows"]] == [
        ("a0", 3.0, "dropped"),
        ("a1", 1.0, "dropped"),
        ("a2", None, "dropped"),
        ("a3", 2.0, "dropped"),
        ("b0", 5.0, "kept"),
    ]


def test_two_ways_to_say_how_much():
    with pytest.raises(Invalid, match="not both"):
        by_score(DATA, Told(), keep=0.5, threshold=2)
    assert list(by_score(DATA, Told(), threshold="0..9").groups) == ["kept", "dropped"]
    assert list(by_score({"b": DATA["b"]}, Told(), threshold=0).groups) == ["kept"]
