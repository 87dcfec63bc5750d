"""What is in a file, counted by hand."""

import json

from tests.training.conftest import tiny_base
from yosegi.curate.rows import check_rows
from yosegi.tasks.file import File


def test_lengths_cuts_duplicates_and_examples(tmp_path):
    rows = [{"prompt": f"{i}+{i}=", "completion": str(2 * i), "split": "train"} for i in range(1, 5)]
    rows += [{**rows[0]}, {**rows[0], "completion": "3"}, {"prompt": "2+2=", "completion": "4", "split": "test"}]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = File(str(tmp_path / "x.jsonl"))
    plain = check_rows(task)
    assert (plain["rows"], plain["splits"], plain["unit"]) == (7, {"train": 6, "test": 1}, "characters")
    assert plain["lengths"]["prompt"] == {"median": 4, "95%": 4, "longest": 4}
    assert plain["examples"] == ["1+1=«2»", "2+2=«4»", "3+3=«6»"]
    assert plain["duplicates"] == {
        "repeated rows": 2,
        "questions with several answers": 1,
        "test questions that are learnt, too": 1,
    }
    counted = check_rows(task, tiny_base(), max_length=5)
    assert (counted["unit"], counted["lengths"]["row"]["longest"]) == ("tokens", 6), "four, the answer, its end"
    assert counted["cut"] == "7 of 7 rows lost the beginning of their prompt"
    assert counted["examples"][0] == "1+1=«2<eos>»".replace("1+1=", "1 + 1 =").replace("2<", "2 <")


def test_rows_without_answers_are_shown_as_they_are(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"prompt": "Say hi", "contains": "hi"}')
    result = check_rows(File(str(tmp_path / "x.jsonl")), tiny_base())
    assert (result["unit"], result["examples"], list(result["lengths"])) == ("characters", ["Say hi"], ["prompt"])
