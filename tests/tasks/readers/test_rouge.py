import builtins

import pytest

from tests.conftest import each
from yosegi.tasks.readers.rouge import score, tokens, words

ENGLISH = [
    ("The cats were running home", "A cat runs home"),
    ("It's 3.5 km, snake_case and e-mail!", "it s 3 5 kilometres"),
    ("yes", "no"),
    ("to be or not to be", "to be is to do"),
]


@each("prediction, reference", ENGLISH)
def test_english_is_scored_as_the_package_does(prediction, reference):
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer(["rougeL"], use_stemmer=True).score(reference, prediction)["rougeL"].fmeasure
    assert score(prediction, [reference]).value == pytest.approx(theirs)


@each("text", ["東京は日本の首都です。", "サーバー", "한국어 문장", "ภาษาไทย", "Привет, мир", "😀", "{}?", "—"])
def test_identical_texts_score_one_in_any_script(text):
    from rouge_score.rouge_scorer import RougeScorer

    assert RougeScorer(["rougeL"]).score(text, text)["rougeL"].fmeasure == 0.0  # why we bring a tokenizer
    assert score(text, [text]).value == 1.0


@each(
    "text, expected",
    [
        ("caf\u00e9 cafe\u0301 cafe", ["café", "café", "cafe"]),
        ("か\u3099が", ["が", "が"]),
        ("か\u309a", ["か\u309a"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("x\u0302y, z", ["x\u0302y", "z"]),
        ("กำ", ["ก\u0e4d", "\u0e32"]),
    ],
)
def test_letters_keep_their_marks(text, expected):
    assert tokens(text) == expected


def test_japanese_is_compared_character_by_character():
    # 東京は首都です: 7 of 7 characters are found, in order, among the 10 of the reference
    assert score("東京は首都です", ["東京は日本の首都です。"]).value == pytest.approx(2 * 7 / (7 + 10))


def test_the_best_reference_counts():
    assert score("a b c d", ["x", "a b c d", "a"]).value == 1.0
    assert score("alpha beta", ["x", "alpha gamma"]).value == 0.5


@each("text", ["", "  \n", "\u3000"])
def test_an_empty_prediction_answers_nothing(text):
    got = score(text, ["x"])
    assert (got.value, got.parsed) == (0.0, False)


def test_punctuation_alone_is_an_answer_though_a_poor_one():
    got = score("...", ["x"])
    assert (got.value, got.parsed) == (0.0, True)


def test_width_and_case_do_not_count():
    assert score("ＡＢＣ　ﾃｽﾄ", ["abc テスト"]).value == 1.0


def test_scores_do_not_depend_on_a_japanese_tokenizer_being_installed(monkeypatch):
    real = builtins.__import__

    def spy(name, *args, **kwargs):
        assert name.split(".")[0] not in ("fugashi", "unidic_lite", "sudachipy", "MeCab", "janome")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", spy)
    score("東京タワー", ["東京都"])


def test_tokens_and_words():
    assert tokens("Café 東京2020、OK_go") == ["café", "東", "京", "2020", "ok", "go"]
    assert words("two words") == 2
    assert words("東京都庁") == 2
