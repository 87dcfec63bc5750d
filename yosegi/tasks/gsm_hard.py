"""GSM-Hard: the test problems of GSM8K with large numbers in them, answered with a program (PAL).

Gao et al. 2023, "PAL: Program-aided Language Models", arXiv:2211.10435. Apache-2.0 (its problems are GSM8K's, MIT). Data:
math_en/gsm_hard_test, in the data folder only. There is nothing to train on: a model that has learnt mathematics (`gsm8k`)
and programs (`mbpp`, `thealgorithms`) is asked for both at once (LoRA Soups, arXiv:2410.13025).

The model writes a Python function `solution`; the sandbox runs it, and the number that it returns is compared with the gold
one. It is right within 1e-3, as in PAL, or within 1e-12 of gold where gold is so large that sums of floats differ by more.
(PAL's own second rule, 1e-3 of gold, would forgive forgetting three eggs of five million.) A number without a program is no
answer. `gsm_hard/few_shot` shows four worked examples first, for models that have not learnt the form.
Some gold numbers are absurd (negative eggs), and 329 of the 1,319 questions are GSM8K's, word for word: upstream is so.
"""

from collections.abc import Sequence
from math import inf, isfinite

from yosegi.errors import UnknownName
from yosegi.tasks import Example, Score
from yosegi.tasks.readers import data
from yosegi.tasks.readers.programs import CLOSE, OPEN, Programs, bare, outcomes

INSTRUCTION = "Write a Python function solution() that returns the answer."
TOLERANCE, RELATIVE = 1e-3, 1e-12


class GsmHard(Programs):
    """Args:
    part: "" or "few_shot".
    """

    source = data.Source("GSM-Hard", {"test": "math_en/gsm_hard_test"}, ("id", "question", "answer", "code"))
    metric = "solved"
    stop = (CLOSE, "\nQuestion:")

    def __init__(self, part: str = ""):
        UnknownName.check("part of gsm_hard", filter(None, [part]), self.parts())
        self.name = f"gsm_hard/{part}" if part else "gsm_hard"
        self.head = "".join(f"{_prompt(question)}\n{code}{CLOSE}\n\n" for question, code in SHOTS) if part else ""

    @classmethod
    def parts(cls) -> list[str]:
        """Returns the part with worked examples."""
        return ["few_shot"]

    def example(self, row: data.Row) -> Example:
        """Returns a problem; the answer is PAL's program."""
        code = bare(row["code"])
        return Example(row["id"], self.head + _prompt(row["question"]), f"\n{code}", (code,), {"answer": row["answer"]})

    def scores(self, examples: Sequence[Example], predictions: Sequence[str]) -> list[Score]:
        """Returns 1 where the program returns the right number."""
        results = outcomes(predictions, [None] * len(predictions), "solution()")
        golds = [float(example.meta["answer"]) for example in examples]
        return [_score(gold, one.value) for gold, one in zip(golds, results, strict=True)]


def _prompt(question: str) -> str:
    return f"Question: {question}\n{INSTRUCTION}{OPEN}"


def _score(gold: float, value: object) -> Score:
    """Compares what a program returned. A text counts if it is nothing but a number."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else inf
    except (ValueError, OverflowError):
        number = inf
    right = abs(number - gold) <= max(TOLERANCE, RELATIVE * abs(gold))
    return Score(float(right), str(value)) if isfinite(number) else Score(0.0)


SHOTS = (
    (
        "A baker fills 12 trays with 15 buns each and sells 131 of the buns. How many buns are left?",
        """def solution():
    trays = 12
    buns_per_tray = 15
    sold = 131
    return trays * buns_per_tray - sold""",
    ),
    (
        "Mika reads 20 pages a day on weekdays and twice as many on each day of the weekend. "
        "How many pages does she read in three weeks?",
        """def solution():
    weekday = 20
    weekend_day = 2 * weekday
    per_week = 5 * weekday + 2 * weekend_day
    return 3 * per_week""",
    ),
    (
        "A coat of $80 is sold at 25% off. Tax of 8% is added to the lower price. What does the coat cost?",
        """def solution():
    price = 80
    reduced = price * (1 - 0.25)
    return reduced * 1.08""",
    ),
    (
        "Three friends share a bill of $57 and a tip of $6 equally. Ben had already paid $10. What does he still owe?",
        """def solution():
    total = 57 + 6
    share = total / 3
    return share - 10""",
    ),
)
"""Worked examples, written for this file; none of them is in GSM8K."""
