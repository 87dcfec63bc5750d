r"""Signs, words and looks, each by itself."""

from tests.conftest import each
from yosegi.tasks.readers.symbols import fold, in_symbols, is_math, spelt


@each(
    "text, folded",
    [
        ("√3", r"\sqrt{3}"),
        ("2√(x+1)", r"2\sqrt{x+1}"),
        ("∛{8}", r"\sqrt[3]{8}"),
        ("√2.5x", r"\sqrt{2.5}x"),
        ("−５", "-5"),
        ("1 4/5", r"1\frac{4}{5}"),
        ("x ≥ 3", r"x \ge  3"),
        ("cm²", "cm^2"),
    ],
)
def test_signs(text, folded):
    assert fold(text) == folded


@each(
    "text, symbols",
    [
        ("3または5個", "3, 5"),
        ("マイナス5", "-5"),
        ("2と3分の1", r"2\frac{1}{3}"),
        ("3対2", "3:2"),
        ("x = 1 or x = -2", "1, -2"),
        ("x = 1, y = 2", "x = 1, y = 2"),
        ("3万5千円", "35000"),
        ("東", "東"),
        ("3以上", "3以上"),
        ("2時間30分", "2時間30分"),
        ("mean and median", "mean and median"),
    ],
)
def test_words(text, symbols):
    assert in_symbols(text) == symbols


def test_looks_do_not_count():
    assert spelt(r"\left( 1,\! 2 \right)") == spelt("(1, 2)")
    assert spelt(r"\text{East}.") == spelt("east")
    assert spelt("1,234") == "1234" and spelt("1,2") == "1,2" and spelt("(1,234)") == "(1,234)"


def test_mathematics_has_no_words_of_its_own():
    assert is_math(r"\frac{1}{2} \text{ apples}") and is_math("xy + 2")
    assert not is_math("we get 3") and not is_math("3個") and not is_math("-")
