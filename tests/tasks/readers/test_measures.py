"""How answers are scored by name, and which name the fields of a file suggest."""

import pytest

from tests.conftest import each
from yosegi.errors import UnknownName
from yosegi.tasks import Example
from yosegi.tasks.readers.measures import check, guess, read_yes_no, score
from yosegi.tasks.readers.shapes import understand


@each(
    "metric, accepted, right, wrong",
    [
        ("number", ("51",), ["51", "51.", "$51", "51 dollars", "The answer is 51.0", "５１"], ["15", "", "fifty"]),
        ("number", ("#### 51", "52"), ["51", "52"], ["53"]),
        ("exact_match", ("Paris", "the city"), ["Paris", " the city\n"], ["paris", "Paris.", ""]),
        ("contains", ("Paris",), ["It is PARIS.", "Paris"], ["Rome", ""]),
        ("yes_no", ("yes",), ["Yes.", "yes, it is", "True", "はい", "I think the answer is yes"],
         ["No", "", "maybe", "no, not yes", "It may be yes or no"]),
        ("rougeL", ("one two three", "four"), ["four", "One, two three!"], ["five", ""]),
    ],
)  # fmt: skip
def test_right_and_wrong(metric, accepted, right, wrong):
    example = Example("1", "?", accepted[0], accepted)
    assert [text for text in right if score(metric, example, text).value != 1] == []
    assert [text for text in wrong if score(metric, example, text).value != 0] == []


def test_part_marks_are_the_best_over_all_accepted_answers():
    example = Example("1", "?", "red fox", ("red fox", "a quick brown fox"))
    assert score("f1", example, "brown fox").value == pytest.approx(2 * 2 / (2 + 4))
    exact = score("exact_match", example, "Brown fox")
    assert exact.value == 0 and exact.metrics == {"f1": pytest.approx(2 / 3)}
    assert score("f1", Example("1", "?", "東京都", ("東京都",)), "東京").value == pytest.approx(4 / 5)


def test_checks_need_no_answer():
    example = Example("1", "Name two colours.", "", (), {"contains": ["red", "Blue"], "regex": r"^\w+ and \w+$"})
    assert [score("checks", example, text).value for text in ("Red and blue", "red, blue", "red and green", "")] == [
        1,
        0,
        0,
        0,
    ]
    assert score("regex", Example("1", "?", ""), "a1", r"\d").value == 1
    assert score("regex", example, "x and y").value == 1, "the row's own pattern"


@each(
    "text, verdict",
    [("No. Yes would be wrong", "no"), ("答えは、はい", "yes"), ("yes or no", "yes"), ("unknown", None)],
)
def test_yes_and_no(text, verdict):
    assert read_yes_no(text) == verdict


@each(
    "rows, metric",
    [
        ([{"question": "?", "choices": ["a", "b"], "answer": "A"}], "accuracy"),
        ([{"prompt": "?", "tests": "assert f"}], "passed"),
        ([{"prompt": "?", "regex": "a"}], "checks"),
        ([{"question": "?", "answer": "$1,234.5"}, {"question": "?", "answer": 3}], "number"),
        ([{"question": "?", "answer": "3+4=7\n#### 7"}], "number"),
        ([{"question": "?", "answer": text} for text in ("51.", "-3/4", "1 1/2", "2.5e-06", "12%", "２３")], "number"),
        ([{"question": "?", "answer": "2024-05-01"}], "exact_match"),
        ([{"question": "?", "answer": True}, {"question": "?", "answer": False}], "yes_no"),
        ([{"question": "?", "answers": ["Paris", "the city of light"]}], "exact_match"),
        ([{"question": "?", "answer": "Paris"}], "exact_match"),
        ([{"text": "42"}], "exact_match"),
        ([{"prompt": "?", "completion": "a much longer answer than five words"}], "rougeL"),
    ],
)
def test_the_fields_suggest_a_metric(rows, metric):
    shapes = [understand(row) for row in rows]
    assert guess(shapes) == metric
    assert not any(check(metric, shape, None) for shape in shapes)


def test_a_row_that_a_metric_cannot_score_is_refused():
    shape = understand({"question": "?", "answer": "blue"})
    assert check("number", shape, None) == "its answer 'blue' is no number"
    assert check("yes_no", shape, None) == "its answer 'blue' is no yes or no"
    assert check("letter", shape, None) == "it has no choices" and check("passed", shape, None) == "it has no tests"
    assert check("rougeL", understand({"prompt": "?", "regex": "a"}), None) == "it has no answer"
    assert "there is no regex" in check("regex", shape, None) and not check("regex", shape, "a")
    with pytest.raises(UnknownName, match="Did you mean 'rougeL'"):
        check("rouge", shape, None)
