"""MBPP: short Python functions from a sentence and three asserts.

Austin et al. 2021, "Program Synthesis with Large Language Models", arXiv:2108.07732. CC BY 4.0.
Data: code/mbpp_train (official train and validation) and code/mbpp_test, else google-research-datasets/mbpp on the Hub.

The asserts stand in the prompt, as upstream, and judge the program in the sandbox: all must hold. The form is that of
`gsm_hard`, so an expert trained here has learnt to answer with a fenced program. Training problems that are word for
word in the test are left out. The base `house` has read none of it.
"""

from collections.abc import Sequence
from functools import partial

from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import data
from yosegi.tasks.readers.data import Hub, Row
from yosegi.tasks.readers.programs import CLOSE, OPEN, passed

FIELDS = ("id", "split", "instruction", "solution", "tests")


class Mbpp(Task):
    """Scored by running the program with its asserts."""

    name = "mbpp"
    metric = "passed"
    max_new_tokens = 400
    stop = (CLOSE,)

    def examples(self, split: str) -> list[Example]:
        """The problems of a split, in upstream order."""
        rows = _rows(data.known(split))
        if split != "test":
            asked = {row["instruction"] for row in _rows("test")}
            rows = [row for row in rows if row["instruction"] not in asked]
        return [_example(row) for row in rows]

    def score(self, example: Example, prediction: str) -> Score:
        """1 if every assert holds."""
        return self.scores([example], [prediction])[0]

    def scores(self, examples: Sequence[Example], predictions: Sequence[str]) -> list[Score]:
        """All programs are run side by side."""
        return passed(predictions, [example.meta["tests"] for example in examples])


def _rows(split: str) -> list[Row]:
    file = f"code/mbpp_{'test' if split == 'test' else 'train'}"
    return [row for row in data.rows(file, HUB[split], f"MBPP ({split})", FIELDS) if row["split"] == split]


def _example(row: Row) -> Example:
    code, tests = row["solution"].replace("\r\n", "\n").strip(), row["tests"].strip()
    prompt = f"{row['instruction'].strip()}\nYour code should pass these tests:\n\n{tests}{OPEN}"
    return Example(row["id"], prompt, f"\n{code}", (code,), {"tests": tests})


def _from_hub(split: str, number: int, raw: Row) -> Row:
    tests = "\n".join([raw["test_setup_code"], *raw["test_list"]]).strip()
    row = {"id": f"mbpp/{raw['task_id']}", "split": split, "tests": tests}
    return row | {"instruction": raw["text"], "solution": raw["code"]}


HUB = {
    split: Hub(
        "google-research-datasets/mbpp",
        "4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        partial(_from_hub, split),
        split,
        "full",
    )
    for split in ("train", "validation", "test")
}
