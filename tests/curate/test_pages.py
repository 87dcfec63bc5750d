"""Reading: every kind of file, in order, with what is wrong said page by page."""

import gzip
import json
import os

import pytest

from yosegi.curate.pages import Pages
from yosegi.errors import Invalid, NoData


def jsonl(*rows):
    return "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)


def test_a_row_is_a_page_and_keeps_its_fields(tmp_path):
    rows = (
        {"id": "a", "text": "鉄道", "title": "法", "split": "valid", "raw": {"credit": "x"}},
        "",
        {"text": "b", "id": 7},
    )
    (tmp_path / "c.jsonl").write_text("﻿" + jsonl(*rows), encoding="utf-8")
    one, two = Pages([tmp_path / "c.jsonl"])
    assert (one.id, one.text, one.title, one.split, one.line, one.row) == ("a", "鉄道", "法", "valid", 1, rows[0])
    assert (two.id, two.title, two.split, two.line, two.source) == ("7", "", None, 3, "c.jsonl")
    assert one.size + two.size == (tmp_path / "c.jsonl").stat().st_size


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    for name, content in {
        "x/b.txt": "txt", "x/a.md": "md", "x/sub/c.jsonl": jsonl({"text": "row"}), ".x/h.txt": "hidden",
        "x/.h.txt": "hidden", "x/z.html": "no", "x/y.jsonl.gz": gzip.compress(jsonl({"text": "zip"}).encode()),
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    pages = Pages([tmp_path / "x", tmp_path / "x" / "b.txt"])
    assert [(page.id, page.text) for page in pages] == [
        ("x/a.md", "md"),
        ("x/b.txt", "txt"),
        ("x/sub/c.jsonl/1", "row"),
        ("x/y.jsonl.gz/1", "zip"),
        ("b.txt", "txt"),
    ]
    assert [page.title for page in pages][:2] == ["a", "b"] and list(pages) == list(pages)
    assert pages.about()["files"] == 5


def test_a_long_text_is_cut_between_lines(tmp_path):
    (tmp_path / "a.txt").write_text("一行目\n二行目\n三行目はとても長い\n四\n")
    pieces = list(Pages([tmp_path / "a.txt"], page_chars=8))
    assert [piece.text for piece in pieces] == ["一行目\n二行目\n", "三行目はとても長", "い\n四\n"]
    assert [(piece.id, piece.line) for piece in pieces] == [("a.txt/0", 1), ("a.txt/1", 3), ("a.txt/2", 3)]
    (one,) = Pages([tmp_path / "a.txt"], page_chars=100)
    assert one.id == "a.txt" and "".join(piece.text for piece in pieces) == one.text
    assert sum(piece.size for piece in pieces) == (tmp_path / "a.txt").stat().st_size


def test_other_encodings_are_read_when_they_are_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("鉄道の話".encode("cp932"))
    (fault,) = Pages([tmp_path / "a.txt"])
    assert fault.text == "" and "not utf-8 text (say --encoding" in fault.fault
    (page,) = Pages([tmp_path / "a.txt"], encoding="cp932")
    assert page.text == "鉄道の話" and not page.fault
    (tmp_path / "a.txt").write_bytes("﻿鉄道".encode())
    assert [page.text for page in Pages([tmp_path / "a.txt"])] == ["鉄道"]


def test_a_bad_row_says_so_and_the_rest_goes_on(tmp_path):
    rows = [
        b'{"text": "good"}',
        b'{"text": "half',
        b'{"text": 3}',
        b"[1]",
        b'{"text": "\\ud800"}',
        b"\xff\xfe",
        b'{"text":"last"}',
    ]
    (tmp_path / "c.jsonl").write_bytes(b"\n".join(rows))
    pages = list(Pages([tmp_path / "c.jsonl"]))
    assert [bool(page.fault) for page in pages] == [False, True, True, True, True, True, False]
    assert [page.fault.split(":")[0] for page in pages[1:6]] == [
        "not JSON",
        "no field 'text' with a text in it",
        "no field 'text' with a text in it",
        "not valid Unicode",
        "not valid Unicode",
    ]


def test_half_a_gzip_file_gives_what_it_has(tmp_path):
    rows = [{"text": os.urandom(200).hex()} for _ in range(300)]
    packed = gzip.compress(jsonl(*rows).encode())
    (tmp_path / "c.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    *pages, last = Pages([tmp_path / "c.jsonl.gz"])
    assert [page.text for page in pages] == [row["text"] for row in rows[: len(pages)]] and 10 < len(pages) < 290
    assert "cannot be read beyond line" in last.fault
    (tmp_path / "c.jsonl.gz").write_bytes(b"no gzip at all")
    (only,) = Pages([tmp_path / "c.jsonl.gz"])
    assert only.fault


def test_a_change_is_seen_in_what_it_says_of_itself(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    before = Pages([tmp_path]).about()
    assert Pages([tmp_path]).about() == before
    (tmp_path / "a.txt").write_text("two, longer")
    assert Pages([tmp_path]).about()["hash"] != before["hash"]


def test_what_is_no_corpus(tmp_path):
    with pytest.raises(NoData, match="no file or folder"):
        Pages([tmp_path / "nowhere"])
    with pytest.raises(NoData, match=r"no \.jsonl"):
        Pages([tmp_path])
    (tmp_path / "a.html").write_text("x")
    with pytest.raises(Invalid, match="is not one of"):
        Pages([tmp_path / "a.html"])
    with pytest.raises(Invalid, match="No encoding is called 'sjiss'"):
        Pages([tmp_path], encoding="sjiss")
    with pytest.raises(Invalid, match="page_chars=0"):
        Pages([tmp_path], page_chars=0)
