"""What is a definition sentence and what is not, and the drafts that come of them."""

import pytest

from tests.conftest import each
from yosegi.curate import definitions
from yosegi.curate.definitions import definition, drafts, sentences
from yosegi.curate.definitions import definitions as found
from yosegi.tasks.readers import data


@each(
    "sentence, word, text",
    [
        (
            "この法律において「索道」とは、空中に張つた索条に搬器をつるす設備をいう",
            "索道",
            "空中に張つた索条に搬器をつるす設備",
        ),
        ("「踏切」とは道路と線路とが平面で交わる所を指す", "踏切", "道路と線路とが平面で交わる所"),
        ("軌間とは、二本のレールの間の最短の距離のことである", "軌間", "二本のレールの間の最短の距離"),
        ("二　動力車　自ら動く力を持つ車両をいう", "動力車", "自ら動く力を持つ車両"),
        ('In these Rules, "points" means a pair of movable rails', "points", "a pair of movable rails"),
        (
            "The loading gauge is defined as the largest outline of a wagon",
            "loading gauge",
            "the largest outline of a wagon",
        ),
        ("A catenary means an overhead wire for electric trains", "catenary", "an overhead wire for electric trains"),
        ("Ballast refers to a bed of stones under sleepers", "Ballast", "a bed of stones under sleepers"),
    ],
)
def test_a_definition_is_read(sentence, word, text):
    assert definition(sentence)[:2] == (word, text)


@each(
    "sentence",
    [
        "これは索道とは関係がないという話をいう",
        "「索道」とは、次の各号に掲げる設備をいう",  # what follows is not there
        "「索道」とは、普通索道及び特殊索道をいう",  # it says its own name
        "「線」とは、二点を結ぶ最も短いものをいう",  # of one letter
        "これとは、全く別の場所にあるもののことである",
        "This means that nobody came to the meeting",
        "They are used by all means in the house",
        "He means the world to me and to others",
        "The law means that we have to stop",
        '"Rules" means the following rules and orders',
        "",
    ],
)
def test_other_sentences_are_not(sentence):
    assert definition(sentence) is None


def test_a_full_stop_in_brackets_does_not_end_a_sentence():
    text = "「駅」とは、人（荷物を除く。以下同じ。）が乗る所をいう。次の文。\nA wagon is 2.5 m wide. It stops!"
    assert list(sentences(text)) == [
        "「駅」とは、人（荷物を除く。以下同じ。）が乗る所をいう", "次の文", "A wagon is 2.5 m wide", "It stops",
    ]  # fmt: skip


def test_definitions_in_one_sentence_are_told_apart_and_the_first_of_a_term_counts():
    rows = [
        {"id": "a", "text": "「本線」とは、いつも使う線路をいい、「側線」とは、そのほかの線路をいう。"},
        {"id": "b", "title": "B", "text": "「本線」とは、別のことを書いた文章をいう。"},
    ]
    assert [(one.word, one.text, one.row) for one in found(rows)] == [
        ("本線", "いつも使う線路", "a"), ("側線", "そのほかの線路", "a"),
    ]  # fmt: skip


def made_up(n):
    return [
        {"id": f"r{i}", "text": f'"term{i} of kind{i % 3}" means the thing that has number {i} on it.'}
        for i in range(n)
    ]


def test_drafts_have_evidence_and_wait_for_a_person():
    rows = drafts(found(made_up(20)), choices=6, shots=3)
    assert len(rows) == 20 and sum(row["split"] == "fewshot" for row in rows) == 3
    for row in rows:
        assert row["checked"] is False and row["evidence"]["row"] in row["id"]
        assert row["answer"] in row["evidence"]["sentence"]
        assert len(set(row["choices"])) == 6 and row["choices"][row["answer_index"]] == row["answer"]
        assert row["answer"] not in row["question"] and row["statement_template"].count("{word}") == 1
    assert len({row["answer_index"] for row in rows}) > 2, "the right one has no place of its own"
    assert rows == drafts(found(made_up(20)), choices=6, shots=3)
    nearest = [row for row in rows if row["answer"].endswith("kind1")]
    assert nearest and all(sum(word.endswith("kind1") for word in row["choices"]) >= 2 for row in nearest)


def test_few_terms_give_few_examples_and_candidates():
    rows = drafts(found(made_up(4)), choices=8, shots=3)
    assert {row["split"] for row in rows} == {"test"} and {len(row["choices"]) for row in rows} == {4}


@pytest.mark.data
def test_the_terms_of_the_real_quiz_are_found():
    terms = {one.word: one.text for one in found(data.rows("corpus/ja_railway_law"))}
    quiz = data.rows("corpus/ja_railway_law_terms")
    same = [row for row in quiz if terms.get(row["answer"]) == row["raw"]["definition"]]
    assert len(quiz) == 33 and len(same) >= 30 and len(terms) > 60
    assert definitions.definition(quiz[0]["question"]) is None


def test_a_quiz_of_many_terms_looks_at_few_candidates_for_each(monkeypatch):
    """The time grows with the terms and not with their square: pairs are counted here."""
    pairs = []
    alike = definitions._alike
    monkeypatch.setattr(definitions, "_alike", lambda one, other: pairs.append(1) or alike(one, other))
    terms = [definitions.Definition(f"設備{n:03}", "説明", "ja", "文", "題", str(n // 5)) for n in range(600)]
    rows = definitions.drafts(terms)
    assert len(rows) == 600 and all(len(set(row["choices"])) == 8 for row in rows)
    assert len(pairs) <= 600 * definitions.MOST * 8 < 600 * 600
