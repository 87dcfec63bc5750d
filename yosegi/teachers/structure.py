"""Structure: counts the steps of the reference solution. No model, no network, no cost.

The offline substitute for the voting language models of LoRA-PAR, Huang et al. 2025, arXiv:2507.20999, where System 1 is "one
step" and System 2 a chain of several. It reads the reference solution only, so it is a rule and not a judgement.

A step is a calculation that results in a number ("48/2 = 24", "5+6=11。"); in a solution without any, sentences count. The
line that only repeats the answer ("#### 42", "答えは42です。") is no step. The slowest system takes what is above all
thresholds. Without thresholds the rows are cut at the counts that come nearest to equal shares, and `note` has them. On the
5300 training rows of GSM8K that is 3 steps or fewer (56 %); the paper's "one step" would leave System 1 with 0.3 %.
"""

import re
from collections.abc import Sequence

from yosegi.errors import Invalid
from yosegi.tasks import Example
from yosegi.teachers import Question, Teacher, Vote

EQUATION = re.compile(r"(?<![<>!=])=\s*[-−]?\s*[$¥€£]?\s*[-−]?[$¥€£]?\.?[\d０-９]")
ANSWER = re.compile(r"####[^\n]*|答えは[^。\n]*(?:。|$)|(?i:the (?:final )?answer is)[^.\n]*(?:\.\d+)?\.?")
SENTENCE = re.compile(r"[。！？\n]+|[.!?]+(?=\s|$)")


class Structure(Teacher):
    """Args:
    steps: the most steps of each system but the slowest, rising: (1,) gives System 1 up to one step; () is equal shares.
    """

    name = "structure"

    def __init__(self, steps: Sequence[int] = ()):
        super().__init__()
        self.steps = tuple(steps)
        if any(low >= high for low, high in zip(self.steps, self.steps[1:], strict=False)) or min((0, *self.steps)) < 0:
            raise Invalid(f"steps={','.join(map(str, self.steps))}: thresholds rise, and none is below 0.")

    def label(self, examples: Sequence[Example], question: Question) -> list[Vote]:
        """Votes by the number of steps."""
        k = len(question.systems)
        if self.steps and len(self.steps) != k - 1:
            raise Invalid(f"{k} systems have {k - 1} thresholds of steps between them; {len(self.steps)} were given.")
        counts = [count(example.target) for example in examples]
        steps = self.steps or shares(counts, k)
        how = "as given" if self.steps else "nearest to equal shares"
        self.note = (
            f"at most {', '.join(map(str, steps))} steps ({how}); it reads the reference solution and asks no model"
        )
        return [
            Vote(sum(n > most for most in steps), f"{n} step{'s' if n != 1 else ''} in the reference solution")
            for n in counts
        ]

    def about(self) -> dict[str, object]:
        """Returns the thresholds."""
        return {"name": self.name, "steps": list(self.steps)}


def count(target: str) -> int:
    """Returns the number of steps of a reference solution, at least 1."""
    solution = ANSWER.sub("", target)
    if equations := len(EQUATION.findall(solution)):
        return equations
    return max(1, sum(bool(re.search(r"\w", sentence)) for sentence in SENTENCE.split(solution)))


def shares(counts: Sequence[int], k: int) -> tuple[int, ...]:
    """Returns the k - 1 thresholds nearest to equal, non-empty shares; with too few different counts 1, 2 … k - 1."""
    distinct = sorted(set(counts))
    if len(distinct) < k:
        return tuple(range(1, k))
    below = {most: sum(n <= most for n in counts) for most in distinct}
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]  # the distance from equal shares, and the thresholds so far
    for j in range(1, k):
        best = [
            min((far + abs(below[most] - j * len(counts) / k), (*steps, most)) for far, steps in fit)
            for most in distinct[:-1]
            if (fit := [(far, steps) for far, steps in best if not steps or steps[-1] < most])
        ]
    return min(best)[1]
