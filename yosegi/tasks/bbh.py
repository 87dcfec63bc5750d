"""BIG-Bench Hard: tasks on which language models were far below people, each solved after three worked chains of thought.

Suzgun et al. 2022, "Challenging BIG-Bench Tasks and Whether Chain-of-Thought Can Solve Them", arXiv:2210.09261. MIT
licence. Data, in the data folder only: instruct/bbh_test and instruct/bbh_cot_prompts (the authors' own prompts). For
evaluation only: the data carries a canary and must not be trained on.

`bbh` asks all tasks in turn, so that the first few hundred questions are a fair sample; `bbh/word_sorting` asks one. An
answer is what follows "the answer is", word for word but for case and the full stop.
"""

import re

from yosegi.errors import NoData, UnknownName
from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import data
from yosegi.tasks.readers.data import Row, Source

PROMPTS = "instruct/bbh_cot_prompts"
ANSWER = re.compile(r".*answer is:?\s*(.*?)\s*(?:\.(?=\s|$).*)?$", re.IGNORECASE | re.MULTILINE)


class Bbh(Task):
    """Args:
    part: one of the tasks, or all.
    """

    metric = "exact_match"
    max_new_tokens = 512
    stop = ("\n\nQ:",)
    shuffled = True
    source = Source(
        "BIG-Bench Hard", {"test": "instruct/bbh_test"}, ("id", "task", "input", "outputs"), evaluation_only=True
    )

    def __init__(self, part: str = ""):
        UnknownName.check("part of bbh", filter(None, [part]), self.parts() or [part])
        self.name, self.part = f"bbh/{part}" if part else "bbh", part

    @classmethod
    def parts(cls) -> list[str]:
        """Returns the tasks in the data folder."""
        try:
            return sorted(_prompts())
        except NoData:
            return []

    def rows(self, split: str) -> list[Row]:
        """Returns the questions, one of each task, then another of each …"""
        return data.in_turn([row for row in self.source.rows(split) if self.part in ("", row["task"])], "task")

    def example(self, row: Row) -> Example:
        """Returns a question after the worked examples of its task."""
        answer = row["outputs"][0].strip()
        prompt = f"{_prompts()[row['task']]}\n\nQ: {row['input'].strip()}\nA: Let's think step by step."
        return Example(
            row["id"], prompt, f"\nSo the answer is {answer}.", (answer,), {"subject": row["task"]}, chat=False
        )

    def score(self, example: Example, prediction: str) -> Score:
        """Returns 1 if the answer that is announced last, or else the last line, is the right one."""
        announced = ANSWER.findall(prediction.strip())
        lines = prediction.strip().split("\n")
        answer = (announced or lines)[-1].strip().rstrip(".").strip("*")
        return Score(float(answer.casefold() == example.answers[0].casefold()), answer or None)


def _prompts() -> dict[str, str]:
    """Returns each task's instruction and worked examples, without the canary above them."""
    rows = data.rows(PROMPTS, None, "The worked examples of BIG-Bench Hard", ("task", "text"))
    return {row["task"]: row["text"].split("-----\n")[-1].strip() for row in rows}
