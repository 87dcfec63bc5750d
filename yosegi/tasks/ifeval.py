"""IFEval: does a response follow instructions that a program can check, such as "no commas" or "at least 300 words"?

Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models", arXiv:2311.07911. Apache-2.0.
Data, in the data folder only: instruct/ifeval_test. For evaluation only. The checks are in readers/instructions.py.

The score is the strict accuracy of prompts: all instructions of a prompt are followed. Beside it stand the loose one (also
without the first or the last line, and without asterisks) and both accuracies of instructions, each instruction counted
alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers.data import Row, Source
from yosegi.tasks.readers.instructions import followed, known, loosened


class Ifeval(Task):
    """Scored by the instructions that are followed."""

    name = "ifeval"
    metric = "strict"
    rule = "checks 1"
    max_new_tokens = 1024
    has_gold = False
    source = Source(
        "IFEval",
        {"test": "instruct/ifeval_test"},
        ("id", "prompt", "instruction_id_list", "kwargs"),
        evaluation_only=True,
    )

    def example(self, row: Row) -> Example:
        """Returns a prompt with its instructions, all of which have a check."""
        for name in row["instruction_id_list"]:
            known(name)
        asked = [list(pair) for pair in zip(row["instruction_id_list"], row["kwargs"], strict=True)]
        return Example(row["id"], row["prompt"].strip(), "", (), {"instructions": asked})

    def score(self, example: Example, prediction: str) -> Score:
        """Returns 1 if all instructions are followed."""
        strict, loose = _followed(example, prediction)
        return Score(float(all(strict)), prediction.strip() or None, {"loose": float(all(loose))})

    def overall(self, examples: Sequence[Example], items: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Returns the share of all instructions that are followed, strictly and loosely."""
        pairs = [_followed(example, item["prediction"]) for example, item in zip(examples, items, strict=True)]
        strict, loose = ([one for pair in pairs for one in pair[way]] for way in (0, 1))
        return {"instruction_strict": sum(strict) / len(strict), "instruction_loose": sum(loose) / len(loose)}


def _followed(example: Example, prediction: str) -> tuple[list[bool], list[bool]]:
    """Returns which instructions are followed strictly, and which loosely."""
    asked, ways = example.meta["instructions"], loosened(prediction)
    strict = [followed(name, arguments, prediction) for name, arguments in asked]
    loose = [any(followed(name, arguments, one) for one in ways) for name, arguments in asked]
    return strict, loose
