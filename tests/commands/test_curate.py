"""`yosegi curate` as a user meets it: from a folder of texts to a corpus, with labels made by hand."""

import json
import random

import pytest

from yosegi import files

KANJI = "".join(chr(0x4E00 + i) for i in range(400))


@pytest.fixture
def texts(tmp_path):
    """Thirty texts: every third one is about rails."""
    draw = random.Random(0)
    (tmp_path / "texts").mkdir()
    for i in range(30):
        words = "".join(draw.choice(KANJI) + draw.choice("のはを") for _ in range(100))
        word = "鉄道と軌道。" if i % 3 == 0 else "鍋と料理。"
        (tmp_path / "texts" / f"{i:02}.txt").write_text(words + word * 9)
    (tmp_path / "texts" / "copy.md").write_text((tmp_path / "texts" / "00.txt").read_text() + "。")
    (tmp_path / "texts" / "en.txt").write_text("The train is late, and it is not the first of the day to be so. " * 4)
    return tmp_path


LINE = ("curate", "texts", "--lang", "ja", "--min-chars", 50, "--near-duplicates", 0.8, "--out", "runs/rails")


def test_from_a_folder_to_a_corpus(yosegi, texts):
    code, out, err = yosegi(*LINE, "--score", "keywords{words=[鉄道,軌道]}", "--threshold", 5)
    assert (code, err) == (0, "")
    assert "near_duplicate" in out and "kept.jsonl" in out and "curate.html" in out
    kept = files.read_jsonl(texts / "runs" / "rails" / "kept.jsonl")
    assert [row["id"] for row in kept] == [f"texts/{i:02}.txt" for i in range(0, 30, 3)]
    html = (texts / "runs" / "rails" / "curate.html").read_text()
    assert "near_duplicate" in html and "<script" not in html and "http" not in html.replace("http://www.w3.org", "")
    code, out, _ = yosegi(*LINE, "--score", "keywords{words=[鉄道,軌道]}", "--keep", 0.2, "--json")
    summary = json.loads(out)
    assert code == 0 and summary["before"]["pages"] == 32 and summary["after"]["pages"] == 6
    assert [rule["rule"] for rule in summary["rules"]] == ["language", "near_duplicate", "score keywords"]


def test_pages_are_drawn_labelled_and_learnt_from(yosegi, texts):
    code, out, _ = yosegi("curate", "texts", "--lang", "ja", "--sample", 12, "--out", "runs/labels")
    path = texts / "runs" / "labels" / "sample.jsonl"
    rows = files.read_jsonl(path)
    assert code == 0 and len(rows) == 12 and "labelled{path=runs/labels/sample.jsonl}" in out
    path.write_text("".join(json.dumps(row | {"label": int("鉄道" in row["text"])}) + "\n" for row in rows))
    code, out, err = yosegi(*LINE, "--score", "labelled{path=runs/labels/sample.jsonl}", "--threshold", 0.5)
    assert (code, err) == (0, "") and "12 labelled pages are classified correctly when left out" in out
    kept = {row["id"] for row in files.read_jsonl(texts / "runs" / "rails" / "kept.jsonl")}
    assert kept == {f"texts/{i:02}.txt" for i in range(0, 30, 3)}
    code, _, _ = yosegi(*LINE[:-1], "runs/again", "--score", "labelled{path=runs/rails}", "--threshold", 0.5)
    assert code == 0 and {row["id"] for row in files.read_jsonl(texts / "runs" / "again" / "kept.jsonl")} == kept


def test_several_scores_each_with_its_rule(yosegi, texts, refused):
    two = ("--score", "keywords{words=鉄道}", "--score", "length", "--threshold", "keywords=5", "--keep", "length=0.5")
    code, out, _ = yosegi(*LINE, *two, "--json")
    assert code == 0 and [rule["pages"] for rule in json.loads(out)["rules"]] == [1, 1, 20, 5]
    assert "another curation (min_chars differ)" in refused(*LINE, *two, "--min-chars", 60)
    yosegi("curate", "texts", "--sample", 3, "--out", "runs/labels")
    assert "is there already" in refused("curate", "texts", "--sample", 3, "--out", "runs/labels")


def test_ties_at_the_cut_are_said(yosegi, texts):
    code, out, _ = yosegi(*LINE, "--score", "keywords{words=鉄道}", "--keep", 0.5)
    assert (
        code == 0 and "Warning: 20 pages have the keywords of the last page kept; the first 5 of them were kept" in out
    )
