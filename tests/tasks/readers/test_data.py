import gzip
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from yosegi.errors import Corrupt, Invalid, NoData
from yosegi.tasks.readers import data, records
from yosegi.tasks.readers.data import Hub


def upper(row):
    return {"text": row["text"].upper()}


HUB = Hub("someone/something", "0" * 40, upper, "test", "main", ids="x")


def test_a_file_is_found_plain_or_zipped_under_either_name(write, tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write("a/plain.jsonl", [{"id": "1"}, {"id": "2"}])
    write("a/zipped.jsonl.gz", [{"id": "3"}])
    for name in ("a/plain", "a/plain.jsonl", "a/plain.jsonl.gz"):
        assert data.rows(name) == [{"id": "1"}, {"id": "2"}]
    assert data.rows("a/zipped.jsonl") == [{"id": "3"}]


def test_a_file_is_read_once_and_again_when_it_changes(write, tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    path = write("x.jsonl", [{"id": "1"}])
    first = data.rows("x")
    first.append("of the caller's own")
    assert data.rows("x") == [{"id": "1"}]
    assert data.rows("x")[0] is data.rows("x")[0]
    write("x.jsonl", [{"id": "2"}])
    os.utime(path, (1, 1))
    assert data.rows("x") == [{"id": "2"}]


def test_line_separators_of_unicode_and_a_byte_order_mark_do_no_harm(write, tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write("x.jsonl", '\ufeff{"id": "a\u2028b"}\r\n\r\n{"id": "c"}')
    assert data.rows("x") == [{"id": "a\u2028b"}, {"id": "c"}]


def test_the_folder_is_the_named_one_then_the_neighbour(tmp_path, monkeypatch):
    monkeypatch.delenv("YOSEGI_DATA", raising=False)
    (tmp_path / "repo").mkdir()
    monkeypatch.chdir(tmp_path / "repo")
    assert data.folder() is None
    (tmp_path / "shared" / "data").mkdir(parents=True)
    assert data.folder() == Path("..") / "shared" / "data"
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    assert data.folder() == tmp_path


def test_set_folder_reaches_child_processes_wherever_they_work(tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_DATA", "")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    data.set_folder("mine")
    ask = "import os; print(os.environ['YOSEGI_DATA'])"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, cwd="/", check=True).stdout
    assert Path(told.strip()) == (tmp_path / "mine").resolve()


def test_a_folder_asked_for_by_name_has_to_exist(tmp_path, monkeypatch):
    with pytest.raises(NoData, match="data folder '.*absent' does not exist"):
        data.set_folder(tmp_path / "absent")
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path / "absent"))
    with pytest.raises(NoData, match="does not exist"):
        data.rows("x", HUB)


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        ('{"id": "1"}\n{"id": \n{"id": "3"}\n', Corrupt, r"x\.jsonl, line 2, is not a valid row"),
        ('{"id": "1"}\n{"id": "2', Corrupt, r"x\.jsonl, line 2, is not a valid row"),
        ('{"id": "1"}\n[1, 2]\n', Corrupt, r"line 2, .* one JSON object"),
        ("[" * 100_000, Corrupt, r"x\.jsonl is not valid JSON"),
        ('{"id": ' + "9" * 5000 + "}", Corrupt, r"line 1, is not a valid row"),
        ("", Invalid, r"x\.jsonl is empty"),
        ("\n \n", Invalid, r"x\.jsonl is empty"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(write, tmp_path, monkeypatch, content, error, says):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write("x.jsonl", content)
    with pytest.raises(error, match=says):
        data.rows("x")


# With the time of day in it, no two processes would have the same test.
CUT = gzip.compress(b'{"id": "1"}\n' * 99, mtime=0)[:-9]


@pytest.mark.parametrize("content", [b"not gzip at all", CUT], ids=["no gzip", "cut off"])
def test_a_damaged_gzip_file_is_named(tmp_path, monkeypatch, content):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    (tmp_path / "x.jsonl.gz").write_bytes(content)
    with pytest.raises(Corrupt, match=r"x\.jsonl\.gz(, line 1, is not a valid row| cannot be read)"):
        data.rows("x")


def test_a_file_that_is_not_utf8_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    (tmp_path / "x.jsonl").write_bytes('{"id": "答"}'.encode("shift_jis"))
    with pytest.raises(Corrupt, match="not UTF-8"):
        data.rows("x")


def test_a_row_without_a_wanted_field_is_named(write, tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write("x.jsonl", [{"id": "1", "answer": "2"}, {"id": "2"}])
    with pytest.raises(Invalid, match=r"x\.jsonl: row 2 has no 'answer'"):
        data.rows("x", fields=("id", "answer"))


def test_without_a_folder_one_line_says_what_to_fetch(nowhere):
    with pytest.raises(NoData) as caught:
        data.rows("math_en/x_test.jsonl", title="The X test split")
    assert str(caught.value) == (
        "The X test split is not here: set YOSEGI_DATA or --data to a folder with math_en/x_test.jsonl."
    )


def test_a_folder_without_the_file_says_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    with pytest.raises(NoData, match=r"put math_en/x\.jsonl into the data folder"):
        data.rows("math_en/x")


def test_offline_the_hub_is_one_line_too(nowhere):
    with pytest.raises(NoData) as caught:  # the tests run with HF_HUB_OFFLINE=1
        data.rows("x", HUB)
    assert "someone/something could not be read from the Hugging Face Hub" in str(caught.value)
    assert "YOSEGI_DATA" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_hub_is_asked_for_the_pinned_revision_and_its_rows_become_ours(hub):
    asked = hub([{"text": "a"}, {"text": "b"}])
    fresh = Hub("someone/pinned", "1" * 40, upper, "test", "main", ids="x")
    assert data.rows("x", fresh) == [{"id": "x/0", "text": "A"}, {"id": "x/1", "text": "B"}]
    assert data.rows("x", fresh) and len(asked) == 1
    assert asked == [(("someone/pinned", "main"), {"split": "test", "revision": "1" * 40})]


def test_single_files_of_the_hub_are_pinned_by_their_address(hub):
    asked = hub([{"text": "a"}])
    data.rows("x", Hub("someone/files", "2" * 40, upper, files="a.tsv"))
    data.rows("x", Hub("someone/files", "2" * 40, upper, files="*/a.jsonl"))
    address = f"hf://datasets/someone/files@{'2' * 40}/"
    assert asked == [
        (("text",), {"data_files": {"train": address + "a.tsv"}, "split": "train"}),
        (("json",), {"data_files": {"train": address + "*/a.jsonl"}, "split": "train"}),
    ]


def test_without_a_network_nobody_waits_for_retries(nowhere, monkeypatch):
    from datasets import config

    def no_route(*_):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_route)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    with pytest.raises(NoData, match="could not be read"):
        data.rows("x", Hub("someone/unreachable", "3" * 40, upper))
    assert config.HF_HUB_OFFLINE is False
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://proxy"})
    with records.online():
        assert config.HF_HUB_OFFLINE is False


def test_carve_holds_out_the_same_rows_every_time_and_keeps_the_order():
    rows = [{"id": str(i)} for i in range(1000)]
    train, held = data.carve(rows, 200)
    assert (len(train), len(held)) == (800, 200)
    assert sorted(train + held, key=lambda row: int(row["id"])) == rows
    assert [int(row["id"]) for row in train] == sorted(int(row["id"]) for row in train)
    assert data.carve(rows[::-1], 200)[1] == held[::-1]
    assert [len(part) for part in data.carve(rows[:10], 200)] == [8, 2]
    assert data.carve(rows[:4], 200) == (rows[:4], [])


def test_deal_gives_a_twentieth_to_each_side_and_never_splits_a_key():
    keys = [(str(i % 100), "") for i in range(300)]
    dealt = data.deal(keys)
    assert [dealt.count(split) for split in ("train", "validation", "test")] == [270, 15, 15]
    assert all(dealt[i] == dealt[i + 100] == dealt[i + 200] for i in range(100))
    assert sorted(data.deal([("a", ""), ("b", ""), ("c", "")])) == ["test", "train", "validation"]
    assert data.deal([("a", ""), ("b", "")]) == ["train", "train"]
    assert data.deal([("a", "test"), ("a", ""), ("b", "")]) == ["test", "test", "train"]


def test_hashes_do_not_depend_on_the_process():
    assert data.hashed("yosegi") == 13689601183879529971
    assert data.hashed("\ud800") >= 0


def test_in_turn_gives_each_value_its_share_of_any_beginning():
    rows = [{"id": str(i), "kind": "abc"[i % 3 if i < 9 else 0]} for i in range(20)]
    turned = data.in_turn(rows, "kind")
    assert sorted(turned, key=lambda row: int(row["id"])) == rows and turned == data.in_turn(rows[::-1], "kind")
    for turn in range(3):
        assert {row["kind"] for row in turned[3 * turn : 3 * turn + 3]} == {"a", "b", "c"}
    assert {row["kind"] for row in turned[9:]} == {"a"}
