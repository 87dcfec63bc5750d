"""What could not be read, what was cut off, and what was right in another form."""

from yosegi.reporting.answers import Asked
from yosegi.reporting.audit import audit


def row(score, said, target="踏切", parsed=True, truncated=False):
    return {
        "score": score,
        "prediction": said,
        "target": target,
        "prompt": "問\n題",
        "parsed": parsed,
        "truncated": truncated,
    }


def look(*rows):
    return next(audit(Asked("t", None, None, {"x": [{f"q{i}": r | {"id": f"q{i}"} for i, r in enumerate(rows)}]})))


def test_counts_and_examples():
    found = look(
        row(1.0, "踏切"), row(0.0, "", parsed=False), row(0.0, "踏切です"), row(0.0, "索道", truncated=True),
        row(1.0, "踏切…", truncated=True), row(0.0, "索道"),
    )  # fmt: skip
    assert (found.n, found.unread, found.cut_off, found.contains, found.clean) == (6, 1, 1, 1, False)
    assert [(e.id, e.why) for e in found.examples] == [
        ("q1", "not readable"), ("q2", "contains the target"), ("q3", "cut off"),
    ]  # fmt: skip
    assert found.examples[1].said == "踏切です" and found.examples[0].prompt == "問 題"


def test_nothing_to_look_at():
    found = look(row(1.0, "踏切"), row(0.0, "索道"))
    assert found.clean and found.examples == []


def test_a_letter_or_a_whole_solution_is_not_looked_for():
    assert look(row(0.0, "A B C", target="B")).contains is None
    assert look(row(0.0, "x" * 80, target="x" * 70)).contains is None


def test_seeds_are_counted_together_and_three_examples_are_shown():
    one = {f"q{i}": row(0.0, "", parsed=False) | {"id": f"q{i}"} for i in range(5)}
    found = next(audit(Asked("t", None, None, {"x": [one, one]})))
    assert (found.n, found.unread, len(found.examples)) == (10, 10, 3)
