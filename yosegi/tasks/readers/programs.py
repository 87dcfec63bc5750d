"""Programs as answers: getting one out of a prediction, and having it run by the sandbox.

A prompt ends with an opened fence, "```python"; a model writes the program and closes the fence, which ends the answer.
"""

import ast
import re
from collections.abc import Iterable

from yosegi.sandbox import Job, Outcome, run
from yosegi.tasks import Score

OPEN = "\n\n```python"
CLOSE = "\n```"
FENCE = re.compile(r"^```\w*[ \t]*$", re.MULTILINE)


def read(prediction: str) -> str:
    """The program in a prediction: its first fenced part that defines something, else what stands before any fence."""
    parts = [part.strip("\n") for part in FENCE.split(prediction)]
    defining = (part for part in parts if re.search(r"^(?:def|class|async def) ", part, re.MULTILINE))
    return next(defining, parts[0]).rstrip()


def bare(program: str) -> str:
    """A program without the docstrings of its functions, which repeat the question."""
    lines = program.split("\n")
    for node in reversed(ast.parse(program).body):
        if (
            isinstance(node, ast.FunctionDef)
            and ast.get_docstring(node, clean=False) is not None
            and len(node.body) > 1
        ):
            said = node.body[0]
            del lines[said.lineno - 1 : said.end_lineno]
    return "\n".join(lines).strip("\n")


def outcomes(predictions: Iterable[str], then: Iterable[str], ask: str = "None") -> list[Outcome]:
    """What became of the program of each prediction and of the check after it. No program counts as a syntax error."""
    jobs = [Job(read(said), check, ask) for said, check in zip(predictions, then, strict=True)]
    unique = list(dict.fromkeys(job for job in jobs if job.program.strip()))  # the same job has the same end
    found = dict(zip(unique, run(unique), strict=True))
    return [found.get(job) or Outcome(error="syntax", message="no program") for job in jobs]


def passed(predictions: Iterable[str], checks: Iterable[str]) -> list[Score]:
    """1 where the check after the program raises nothing. A program that does not even compile is no answer."""
    return [
        Score(0.0) if one.error == "syntax" else Score(float(not one.error), one.error or "passed")
        for one in outcomes(predictions, checks)
    ]
