"""Programs as answers: getting one out of a prediction, and running it in the sandbox.

A prompt ends with an opened fence, "```python"; a model writes the program and closes the fence, which ends the answer. In
`Completions` the prompt is the beginning of a function, and a model writes the rest.

With n answers for a problem, c of which are right, the unbiased estimate of the chance that one of k is right is
pass@k = 1 - C(n-c, k) / C(n, k) (Chen et al. 2021, arXiv:2107.03374).
"""

import ast
import re
from collections.abc import Iterable, Sequence
from math import comb

from yosegi.errors import Invalid
from yosegi.sandbox import Check, Job, Outcome, run
from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers.judged import judged

KS = (1, 5, 10, 50, 100)
OPEN = "\n\n```python"
CLOSE = "\n```"
FENCE = re.compile(r"^```\w*[ \t]*$", re.MULTILINE)


class Programs(Task):
    """A task whose answers are programs. They run side by side, so `scores` is the method to define."""

    metric = "passed"
    max_new_tokens = 400
    stop: tuple[str, ...] = (CLOSE,)

    def __init__(self, *, samples: int = 1, temperature: float = 0.8):
        if samples < 1 or temperature < 0:
            raise Invalid(f"There is no {'samples' if samples < 1 else 'temperature'} of {min(samples, temperature)}.")
        self.samples, self.temperature = samples, temperature

    def several(self, scores: Sequence[Score]) -> Score:
        """Returns pass@1 of several answers to one problem, with pass@k as further metrics."""
        right, answers = sum(score.value == 1 for score in scores), len(scores)
        further = {f"pass@{k}": pass_at(k, answers, right) for k in KS if k <= answers}
        return Score(right / answers, next((score.answer for score in scores if score.answer), None), further)

    def checks(self, example: Example) -> Check:
        """Returns the tests that judge a program: by default the "tests" of `meta`."""
        return judged(example.meta["tests"], example.answers[0] if example.answers else "")

    def scores(self, examples: Sequence[Example], predictions: Sequence[str]) -> list[Score]:
        """Returns 1 where the tests raise nothing. A program that does not even compile is no answer."""
        return [
            Score(0.0) if outcome.error == "syntax" else Score(float(not outcome.error), outcome.error or "passed")
            for outcome in outcomes(predictions, map(self.checks, examples))
        ]


class Completions(Programs):
    """A task whose prompt begins a function. `meta` has its tests and its name."""

    stop = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\nassert ", "\n```")

    def scores(self, examples: Sequence[Example], predictions: Sequence[str]) -> list[Score]:
        """Returns 1 where the tests pass after the prompt and what goes on from it, or after a fenced program."""
        return super().scores(examples, [_whole(*pair) for pair in zip(examples, predictions, strict=True)])

    def checks(self, example: Example) -> Check:
        """Returns the tests, with what the prompt has before the function."""
        name = example.meta["name"]
        before = example.prompt[: example.prompt.rfind(f"def {name}(")]
        return judged(example.meta["tests"], f"def {name}(): pass", before, name=name)


def _whole(example: Example, text: str) -> str:
    """Returns the prompt with what goes on from it. A first line that lost its indent has that of a body."""
    if not text.strip():
        return ""
    if f"def {example.meta['name']}(" in text:
        return f"{CLOSE}\n{example.prompt}\n    pass\n\n{read(text)}"
    return f"{example.prompt}{text}" if text[0].isspace() else f"{example.prompt}\n    {text}"


def pass_at(k: int, n: int, right: int) -> float:
    """Returns the unbiased estimate of the chance that one of k answers is right, from n answers."""
    return 1.0 if n - right < k else 1 - comb(n - right, k) / comb(n, k)


def read(prediction: str, defines: str = r"^(?:def|class|async def) ") -> str:
    """Returns the program in a prediction: its first fenced part that defines something, else what stands before any fence."""
    parts = [part.strip("\n") for part in FENCE.split(prediction)]
    defining = (part for part in parts if re.search(defines, part, re.MULTILINE))
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


def outcomes(predictions: Iterable[str], checks: Iterable[Check | None], ask: str = "None") -> list[Outcome]:
    """Returns what became of each prediction's program under its tests. No program counts as a syntax error."""
    jobs = [Job(read(prediction), check, ask) for prediction, check in zip(predictions, checks, strict=True)]
    unique = list(dict.fromkeys(job for job in jobs if job.program.strip()))  # the same job has the same outcome
    outcome_of = dict(zip(unique, run(unique), strict=True))
    return [outcome_of.get(job) or Outcome(error="syntax", message="no program") for job in jobs]
