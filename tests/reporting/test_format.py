import json
import math

import pytest

from yosegi.reporting import format


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.7125, "0.713"),
        (-1.5, "−1.500"),
        (-0.0001, "0.000"),
        (3, "3"),
        (1234567, "1,234,567"),
        (12345.6, "12,346"),
        (None, "–"),
    ],
)
def test_numbers(value, text):
    assert format.number(value) == text


def test_differences_have_a_sign_unless_they_are_none():
    assert [format.signed(v) for v in (0.25, -0.25, 0.0, 0.0001, None)] == ["+0.250", "−0.250", "0.000", "0.000", "–"]


def test_a_p_value_is_never_a_bare_zero():
    assert [format.probability(p) for p in (0.0, 0.00099, 0.012, 0.0499, 0.05, 0.5, 1.0)] == [
        "< 0.001", "< 0.001", "0.012", "0.050", "0.050", "0.50", "1.00",
    ]  # fmt: skip


def test_times():
    assert [format.seconds(s) for s in (1.25, 90, 7260, None)] == ["1.2 s", "1 min 30 s", "2 h 01 min", "–"]


def test_only_finite_numbers_are_known():
    assert [format.known(v) for v in (1, 0.5, True, "1", None, math.nan, math.inf)] == [
        1,
        0.5,
        None,
        None,
        None,
        None,
        None,
    ]


def test_a_cut_is_seen():
    assert format.cut("abcdef", 6) == "abcdef" and format.cut("abcdefg", 6) == "abcde…"


def test_a_nested_configuration_becomes_rows():
    value = {"a": {"b": 1, "c": [1, 2]}, "d": None, "e": {}}
    assert format.flat(value) == [("a.b", "1"), ("a.c", "1 2"), ("d", ""), ("e", "{}")]
    assert format.flat("only this") == [("value", "only this")]


def test_of_a_long_prompt_the_end_is_shown():
    assert format.one_line("a\n b", 9) == "a b" and format.one_line("p" + " x" * 99, 9) == "…" + ("p" + " x" * 99)[-9:]


def test_json_cannot_end_its_script():
    text = format.json_for_page({"a": "</script><!-- & 日本"})
    assert not set("<>&") & set(text) and json.loads(text) == {"a": "</script><!-- & 日本"} and "日本" in text
