"""Languages by real sentences; and what letters alone cannot tell is not told."""

from tests.conftest import each
from yosegi.curate.language import COMMON, KNOWN, LOOKED_AT, language

SENTENCES = {
    "ja": "寄木細工は、さまざまな木の色を組み合わせて模様を作る伝統工芸である。",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "en": "All human beings are born free and equal in dignity and rights.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren.",
    "cyrillic": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם",
    "arabic": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق",
    "devanagari": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता",
}


@each("code, text", SENTENCES.items())
def test_a_sentence_of_each(code, text):
    assert language(text) == code and code in KNOWN


def test_old_japanese_in_katakana_is_japanese():
    assert language("鉄道ノ運賃ハ主務大臣ノ認可ヲ受クヘシ") == "ja"


def test_the_script_where_the_language_is_unknown():
    assert language("Lorem ipsum dolor sit amet consectetur adipiscing elit") == "latin"
    assert language("1+2=3 …") == language("") == "none"
    assert language("漢字ばかり also English words 半分 half and half ほどある") in ("mixed", "ja", "en")
    assert language("кот cat 猫 고양이") == "mixed"
    assert language("株式会社ABC") == "ja", "a few kanji without kana are taken for a Japanese title"


def test_a_long_text_is_looked_at_in_four_places():
    japanese, english = SENTENCES["ja"], SENTENCES["en"] + " "
    assert language(english * 5 + japanese * 1000) == "ja", "a beginning in English is not the whole"
    assert language(japanese * 1000 + "the " * (LOOKED_AT // 16)) == "ja"
    assert language(english * 1000) == "en"


def test_no_common_word_is_of_most_languages():
    lists = [set(words.split()) for words in COMMON.values()]
    for word in set.union(*lists):
        assert sum(word in words for words in lists) <= 4, word


@each(
    "text, expected",
    [
        ("鉄道事業法施行規則", "ja"),
        ("東京都公安委員会規則", "ja"),
        ("国語辞典", "ja"),
        ("我们的铁路", "zh"),
        ("中华人民共和国铁路法", "zh"),
        ("我是學生，我在學校", "zh"),
        ("中國鐵路" * 8, "zh"),
        ("次のように書きます。\n```python\nfor i in range(10):\n    print(i)\nimport numpy as np\n```", "ja"),
        (
            "関数を呼びます。\ndef add(first, second):\n    return first + second\nresult = add(1, 2)\nprint(result)",
            "ja",
        ),
        ("The word 寿司 (すし) is Japanese for a dish, and it is known in all of the world.", "en"),
    ],
)
def test_titles_in_kanji_and_japanese_beside_code_are_japanese(text, expected):
    assert language(text) == expected
