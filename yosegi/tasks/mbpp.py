"""MBPP: short Python functions from a sentence and three asserts.

Austin et al. 2021, "Program Synthesis with Large Language Models", arXiv:2108.07732. CC BY 4.0.
Data: code/mbpp_train (official train and validation) and code/mbpp_test, else google-research-datasets/mbpp on the Hub.

The asserts stand in the prompt, as upstream, and the sandbox runs them after the program: all must hold. The answer has the
form of `gsm_hard`, so an expert trained here has learnt to answer with a fenced program. Training problems that are word for
word in the test are left out.
"""

from yosegi.tasks import Example
from yosegi.tasks.readers.data import SPLITS, Hub, Row, Source
from yosegi.tasks.readers.programs import OPEN, Programs


def _hub(split: str) -> Hub:
    def convert(row: Row) -> Row:
        tests = "\n".join([row["test_setup_code"], *row["test_list"]]).strip()
        kept = {"instruction": row["text"], "solution": row["code"], "tests": tests}
        return {"id": f"mbpp/{row['task_id']}", "split": split, **kept}

    return Hub("google-research-datasets/mbpp", "4bb6404fdc6cacfda99d4ac4205087b89d32030c", convert, split, "full")


class Mbpp(Programs):
    """Scored by running the program with its asserts."""

    name = "mbpp"
    source = Source(
        "MBPP",
        {"train": "code/mbpp_train", "validation": "code/mbpp_train", "test": "code/mbpp_test"},
        ("id", "split", "instruction", "solution", "tests"),
        {split: _hub(split) for split in SPLITS},
        apart="instruction",
    )

    def example(self, row: Row) -> Example:
        """Returns the sentence and its asserts; the answer is the program."""
        code, tests = row["solution"].replace("\r\n", "\n").strip(), row["tests"].strip()
        prompt = f"{row['instruction'].strip()}\nYour code should pass these tests:\n\n{tests}{OPEN}"
        return Example(row["id"], prompt, f"\n{code}", (code,), {"tests": tests})
