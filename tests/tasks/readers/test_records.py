"""Files as people have them, whatever they are called; and what cannot be read is one line."""

import gzip
import json

import pytest

from tests.conftest import each
from yosegi.errors import Corrupt, Invalid, NoData
from yosegi.tasks.readers.records import names, read

ROWS = [{"q": "1+1?", "a": "2"}, {"q": "a, \"b\"\nc", "a": "三"}]  # fmt: skip


def _parquet(path, rows):
    import pyarrow
    from pyarrow.parquet import write_table

    write_table(pyarrow.Table.from_pylist(rows), path)


LINES = "\n".join(map(json.dumps, ROWS))
TABLE = 'q,a\n1+1?,2\n"a, ""b""\nc",三\n'


@each(
    "name, text",
    [
        ("x.jsonl", LINES),
        ("x.json", LINES),
        ("named.otherwise", LINES),
        ("x.txt", LINES),
        ("x.json", json.dumps(ROWS)),
        ("x.jsonl", json.dumps(ROWS, indent=2)),
        ("x.json", json.dumps({"version": 1, "data": ROWS}, indent=1)),
        ("x.csv", TABLE),
        ("x.csv", "\ufeff" + TABLE.replace(",", ";").replace("a; ", "a, ")),
        ("x.tsv", TABLE.replace(",", "\t").replace("a\t ", "a, ")),
    ],
)
def test_one_content_in_many_forms(tmp_path, name, text):
    for content, ending in ((text.encode(), ""), (gzip.compress(text.encode()), ".gz")):
        (tmp_path / (name + ending)).write_bytes(content)
        assert [record.row for record in read(tmp_path / (name + ending))] == ROWS
    (tmp_path / name).write_bytes(text.lstrip("\ufeff").encode("utf-16"))
    assert [record.row for record in read(tmp_path / name)] == ROWS, "as Excel writes it"


def test_parquet(tmp_path):
    _parquet(tmp_path / "x.data", [*ROWS, {"q": "?", "a": None}])
    assert [record.row for record in read(tmp_path / "x.data")] == [*ROWS, {"q": "?"}]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(Corrupt, match=r"bad\.parquet cannot be read"):
        read(tmp_path / "bad.parquet")


def test_nothing_is_the_same_however_it_is_written(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": null, "b": NaN, "c": 0, "d": ""}')
    assert read(tmp_path / "x.jsonl")[0].row == {"c": 0, "d": ""}


def test_a_text_that_begins_with_a_bracket_is_a_text(tmp_path):
    (tmp_path / "x.txt").write_text("[1] A note.\n\n{as it is}\n")
    assert [record.row["text"] for record in read(tmp_path / "x.txt")] == ["[1] A note.", "{as it is}"]


@each(
    "name, content, message",
    [
        ("x.jsonl", b'{"a": 1}\n{"a": \n', r"x\.jsonl, line 2, is not a valid row"),
        ("x.json", b'[{"a": 1}, 2]', r"x\.json, row 2, is not a valid row \(a row is one JSON object"),
        ("x.json", b'[{"a": 1},', r"x\.json is not valid JSON"),
        ("x.csv", b"a,b\n1,2,3\n", r"x\.csv, line 2, has 3 cells, and there are 2 columns"),
        ("x.csv", b'a,b\n1,"2\n', r"x\.csv, line \d, is not a valid row"),
        ("x.csv", b"a,a\n1,2\n", r"two columns have one name"),
        ("x.csv", b"a\n\xff\n", r"x\.csv is not UTF-8 text \(line 2\)"),
        ("x.xlsx", b"PK\x03\x04rest", r"x\.xlsx is a spreadsheet or an archive: save the sheet as CSV"),
        ("x.dat", b"hello", r"x\.dat is not understood: rows are JSON Lines"),
        ("x.gz", b"\x1f\x8bnot gzip", r"x\.gz cannot be read"),
        ("x.csv", b"a,b\n", r"x\.csv is empty"),
        ("x.jsonl", b" \n", r"x\.jsonl is empty"),
        ("x.jsonl", b'{"a": "fine"}\n{"a": "\\ud83d"}', r"line 2, is not a valid row \(it holds half a character"),
        ("x.json", b'[{"a": "\\ud83d"}]', r"x\.json, row 1, is not a valid row \(it holds half a character"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((Corrupt, Invalid), match=message) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_whole_emoji_is_no_half_character(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": "\\ud83d\\ude00"}')
    assert read(tmp_path / "x.jsonl")[0].row == {"a": "😀"}


@each(
    "ids, expected",
    [
        ([2, ...], ["2", "2'"]),
        ([None, None, ""], ["1", "2", "3"]),
        (["b", ..., 0], ["b", "2", "0"]),
        ([..., "1", "1'"], ["1''", "1", "1'"]),
    ],
)
def test_ids_that_are_not_given_are_nobody_elses(ids, expected):
    rows = [(f"line {n}", {} if one is ... else {"id": one}) for n, one in enumerate(ids, 1)]
    assert names(rows, "x.jsonl") == expected
    with pytest.raises(Invalid, match=r"x\.jsonl, line 2: the id '5' is taken"):
        names([("line 1", {"id": 5}), ("line 2", {"id": "5"})], "x.jsonl")


def test_a_data_set_of_the_hub(hub):
    asked = hub([{"question": "1+1?", "answer": "2", "hint": None}] * 2)
    assert [record.row for record in read("hf:some/sums/main:train")] == [{"question": "1+1?", "answer": "2"}] * 2
    assert asked == [(("some/sums", "main"), {"split": "train"})]
    hub({"train": [{"text": "a"}], "validation": [{"text": "b"}]})
    assert [record.row for record in read("hf:plain")] == [
        {"split": "train", "text": "a"},
        {"split": "validation", "text": "b"},
    ]
    hub([])
    with pytest.raises(Invalid, match="hf:plain:train is empty"):
        read("hf:plain:train")


def test_datasets_itself_reads_the_splits(local_hub):
    local_hub("some/sums", None, train=[{"q": "1+1?", "a": 2, "n": None}] * 3, test=[{"q": "2+2?", "a": 4, "n": None}])
    rows = [record.row for record in read("hf:some/sums")]
    assert rows == [{"split": "test", "q": "2+2?", "a": 4}] + [{"split": "train", "q": "1+1?", "a": 2}] * 3
    assert [record.row for record in read("hf:some/sums:test")] == [{"q": "2+2?", "a": 4}]
    with pytest.raises(NoData, match="some/sums could not be read from the Hugging Face Hub"):
        read("hf:some/sums:validation")


def test_a_data_set_that_is_out_of_reach_is_one_line(nowhere, monkeypatch):
    import datasets

    def gone(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", gone)
    with pytest.raises(NoData, match=r"some/sums could not be read from the Hugging Face Hub \(no route\)"):
        read("hf:some/sums:train")
