import json

import pytest

from tests.conftest import each
from yosegi.errors import Corrupt, Invalid
from yosegi.scores.keywords import Keywords


def test_so_many_in_a_thousand_characters():
    text = "鉄道は軌道の上を走る。鉄道。" + "あ" * 86
    assert len(text) == 100 and Keywords("鉄道,軌道").of([text]) == [30.0]


def test_the_longest_word_of_a_place_counts_once():
    score = Keywords("鉄道,鉄道事業法,事業")
    assert score.of(["鉄道事業法" + "あ" * 5]) == [100.0]


@each(
    "text, result",
    [
        ("rail", 1), ("RAIL!", 1), ("ｒａｉｌ", 1), ("trail", 0), ("rails", 0), ("rail2", 0), ("鉄道railとrail", 2),
        ("mono-rail", 1), ("a rail.", 1),
    ],
)  # fmt: skip
def test_latin_words_stand_alone_whatever_their_case_and_width(text, result):
    (value,) = Keywords("rail").of([text])
    assert value == pytest.approx(1000 * result / len(text.replace(" ", "")))


def test_weights_and_unwanted_words(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps({"鉄道": 2, "はじめに": -5}))
    score = Keywords(str(tmp_path / "w.json"))
    assert score.of(["鉄道の話はじめに" + "あ" * 2, "鉄道の" + "あ" * 7]) == [-300.0, 200.0]
    assert score.about()["words"] == {"鉄道": 2.0, "はじめに": -5.0}


def test_words_from_a_file(tmp_path):
    (tmp_path / "w.txt").write_text("﻿鉄道\n\n ＲＡＩＬ \n", encoding="utf-8")
    assert Keywords(str(tmp_path / "w.txt")).weights == {"鉄道": 1.0, "rail": 1.0}
    (tmp_path / "w.json").write_text('["a.b", "c"]')
    assert Keywords(str(tmp_path / "w.json")).of(["a.b axb c"]) == [pytest.approx(2000 / 7)]


def test_what_is_no_list_of_words(tmp_path):
    for bad in ("", ",", " , "):
        with pytest.raises(Invalid, match="no word"):
            Keywords(bad)
    with pytest.raises(Invalid, match="no file nowhere.txt"):
        Keywords("nowhere.txt")
    for content in ("3", '{"a": "b"}', '{"a": true}', "[1]", '{"a": NaN}'):
        (tmp_path / "w.json").write_text(content)
        with pytest.raises(Invalid, match="JSON list of words"):
            Keywords(str(tmp_path / "w.json"))
    (tmp_path / "w.json").write_text('["a')
    with pytest.raises(Corrupt):
        Keywords(str(tmp_path / "w.json"))


def test_words_in_another_encoding_are_one_line(tmp_path):
    (tmp_path / "w.txt").write_bytes("鉄道\n".encode("cp932"))
    with pytest.raises(Corrupt, match="is not UTF-8 text"):
        Keywords(str(tmp_path / "w.txt"))
