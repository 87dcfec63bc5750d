"""Programs as answers: getting one out of a prediction, and running it in the sandbox.

A prompt ends with an opened fence, "```python"; a model writes the program and closes the fence, which ends the answer.
"""

import ast
import re
from collections.abc import Iterable, Sequence

from yosegi.sandbox import Job, Outcome, run
from yosegi.tasks import Example, Score, Task

OPEN = "\n\n```python"
CLOSE = "\n```"
FENCE = re.compile(r"^```\w*[ \t]*$", re.MULTILINE)


class Programs(Task):
    """A task whose answers are programs. They run side by side, so `scores` is the method to define."""

    metric = "passed"
    max_new_tokens = 400
    stop: tuple[str, ...] = (CLOSE,)

    def checks(self, example: Example) -> str:
        """Returns the Python code that runs after a program and raises if the program is wrong."""
        raise NotImplementedError

    def scores(self, examples: Sequence[Example], predictions: Sequence[str]) -> list[Score]:
        """Returns 1 where the check after the program raises nothing. A program that does not even compile is no answer."""
        return [
            Score(0.0) if outcome.error == "syntax" else Score(float(not outcome.error), outcome.error or "passed")
            for outcome in outcomes(predictions, map(self.checks, examples))
        ]


def read(prediction: str) -> str:
    """Returns the program in a prediction: its first fenced part that defines something, else what stands before any fence."""
    parts = [part.strip("\n") for part in FENCE.split(prediction)]
    defining = (part for part in parts if re.search(r"^(?:def|class|async def) ", part, re.MULTILINE))
    return next(defining, parts[0]).rstrip()


def bare(program: str) -> str:
    """Returns a program without the docstrings of its functions, which repeat the question."""
    lines = program.split("\n")
    for node in reversed(ast.parse(program).body):
        if not isinstance(node, ast.FunctionDef) or len(node.body) < 2:
            continue
        if ast.get_docstring(node, clean=False) is not None:
            del lines[node.body[0].lineno - 1 : node.body[0].end_lineno]
    return "\n".join(lines).strip("\n")


def outcomes(predictions: Iterable[str], checks: Iterable[str], ask: str = "None") -> list[Outcome]:
    """Returns what became of each prediction's program and the check after it. No program counts as a syntax error."""
    jobs = [Job(read(prediction), check, ask) for prediction, check in zip(predictions, checks, strict=True)]
    unique = list(dict.fromkeys(job for job in jobs if job.program.strip()))  # the same job has the same outcome
    outcome_of = dict(zip(unique, run(unique), strict=True))
    return [outcome_of.get(job) or Outcome(error="syntax", message="no program") for job in jobs]
