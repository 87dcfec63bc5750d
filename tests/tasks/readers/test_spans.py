import pytest

from tests.conftest import each
from yosegi.tasks import Score
from yosegi.tasks.readers import spans


@each(
    "text, same",
    [
        ("踏切", "踏切"),
        (" 踏切。", "踏切"),
        ("「踏切」", "踏切"),
        ("『踏切』です", "踏切』です"),
        ("ＪＲ東日本", "JR東日本"),
        ("ﾃｽﾄ", "テスト"),
        ("５行", "5行"),
        ('"Kyoto."', "Kyoto"),
        ("kyoto", "kyoto"),
        ("踏切\n質問:次は", "踏切"),
        ("\n 踏切", "踏切"),
        ("1,000円", "1,000円"),
        ("", ""),
        ("。", "。"),  # a text of punctuation alone is kept
    ],
)
def test_the_normaliser(text, same):
    assert spans.normalise(text) == same
    assert spans.normalise(same) == spans.normalise(text)


def test_the_normaliser_has_a_number():
    """Whoever changes it has to change this line, and the number."""
    assert (spans.NORMALISER, spans.normalise("（Ａ b）、"), len(set(spans.EDGES))) == (1, "A b", 53)


def test_exact_match_takes_any_accepted_answer():
    accepted = ("踏切", "踏み切り")
    assert spans.exact("踏み切り。", accepted) == Score(1.0, "踏み切り")
    assert spans.exact("踏切り", accepted) == Score(0.0, "踏切り")
    assert spans.exact("Kyoto", ("kyoto",)).value == 0.0, "case counts"
    assert spans.exact(" \n", accepted) == Score(0.0, None)
    assert spans.exact("", ("",)) == Score(0.0, None)


def test_f1_counts_characters():
    assert spans.f1("小笠原諸島", ["小笠原諸島", "x"]) == 1.0
    assert spans.f1("東アジア", ["東アジアの広範囲"]) == pytest.approx(2 * 4 / (4 + 8))
    assert spans.f1("アア", ["ア"]) == pytest.approx(2 / 3), "each character once"
    assert spans.f1("猫", ["犬"]) == spans.f1("", ["犬"]) == spans.f1("猫", []) == 0.0


def test_the_form():
    assert spans.prompt("何？", "文\n\n") == "文\n\n質問:何？\n回答:"
