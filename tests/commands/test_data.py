"""`yosegi data check`, and the same file given to train and eval."""

import json

import pytest


@pytest.fixture
def table(tmp_path):
    (tmp_path / "sums.csv").write_text("ask,say\n" + "".join(f"{i}+1=,{i + 1}\n" for i in range(60)))
    return tmp_path


COLUMNS = ("--columns", "prompt=ask,completion=say")


def test_a_file_is_described(yosegi, refused, table):
    code, out, _ = yosegi("data", "check", "sums.csv", *COLUMNS, "--base", "nano", "--max-length", 4)
    assert code == 0 and "60 rows, read as prompts and completions (60), scored by number" in out
    assert "Splits: train 54" in out and "of 60 rows lost the beginning of their prompt" in out and "1+1=«2" in out
    assert "Then: yosegi train --task 'file{path=sums.csv,columns={prompt=ask,completion=say}}'" in out
    found = json.loads(yosegi("data", "check", "sums.csv", *COLUMNS, "--json")[1])
    assert (found["metric"], found["splits"]["test"], len(found["examples"])) == ("number", 3, 3)
    assert "line 2, has none of the accepted shapes" in refused("data", "check", "sums.csv")
    assert "There is no file" in refused("data", "check", "none.csv")
    assert "the form is prompt=THEIRS" in refused("data", "check", "sums.csv", "--columns", "prompt")


def test_the_file_is_learnt_and_asked(yosegi, refused, table):
    code, _, err = yosegi("train", "--data-file", "sums.csv", *COLUMNS, "--max-steps", 1)
    assert code == 0 and "54 rows to learn from" in err and (table / "library" / "sums" / "expert.json").exists()
    code, out, err = yosegi("eval", "--data-file", "sums.csv", *COLUMNS, "--limit", 2, "--json")
    assert code == 0 and "scored by number" in err and {row["n"] for row in json.loads(out)} == {2}
    assert "there is none" in refused("eval", *COLUMNS)
    (table / "run.yaml").write_text(
        "data_file: sums.csv\ncolumns: {prompt: ask, completion: say}\ntask: skills/add\nlimit: 2\n"
    )
    code, out, _ = yosegi("eval", "--config", "run.yaml", "--json")
    assert code == 0 and len({row["task"] for row in json.loads(out)}) == 2


def test_a_task_of_the_current_folder(yosegi, refused, tmp_path):
    (tmp_path / "a_task_of_mine.py").write_text(
        "from yosegi.tasks import Example, Score, Task\n"
        "class Plus(Task):\n"
        "    def __init__(self, part='1'): self.n = int(part)\n"
        "    def examples(self, split): return [Example(f'{i}', f'{i}+{self.n}=', f'{i + self.n}') for i in (10, 20)]\n"
        "    def score(self, example, prediction): return Score(float(prediction == example.target), prediction)\n"
    )
    code, out, _ = yosegi("eval", "--task", "a_task_of_mine:Plus", "--task", "a_task_of_mine:Plus{part=3}", "--json")
    assert code == 0 and {row["task"] for row in json.loads(out)} == {
        "a_task_of_mine:Plus",
        "a_task_of_mine:Plus{part=3}",
    }
    assert "Cannot reach" in refused("eval", "--task", "a_task_of_mine:Minus")
