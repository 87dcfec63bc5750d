"""Passages of a corpus as a task whose score is their likelihood: nothing is written, so a thousand cost what one answer does."""

from collections.abc import Mapping, Sequence
from math import exp, log

from yosegi import tasks
from yosegi.tasks import Candidates, Example, LogProb, Score, Task


class Passages(Task):
    """The texts of another task, each with its prompt before it.

    Args:
        name: of that task.
        split: of it, whichever split is asked for.
        most: at most so many passages, evenly taken from all.
        after: leave out those that `most=after` takes, so that nothing is asked of both.
    """

    metric = "token_probability"
    generates = False

    def __init__(self, name: str, split: str = "validation", most: int | None = None, after: int | None = None):
        self.task, self.split, self.most, self.after = tasks.load(name), split, most, after
        self.name = self.task.name

    def examples(self, split: str) -> list[Example]:
        """Returns the passages."""
        every = self.task.examples(self.split)
        taken = {example.id for example in spread(every, self.after)} if self.after else set()
        return spread([example for example in every if example.id not in taken], self.most)

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """Returns the passage with its prompt."""
        return {"passage": Candidates((example.prompt + example.target,))}

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """Returns the geometric mean of the token probabilities, and `bits_per_character` (lower is better)."""
        (passage,) = logprobs["passage"]
        bits = -passage.sum_logprob / log(2) / len(example.prompt + example.target)
        return Score(exp(passage.mean), example.id, {"bits_per_character": bits})


def spread(examples: Sequence[Example], most: int | None) -> list[Example]:
    """Returns at most so many, evenly taken from all: the first ones would be of one text."""
    step = max(1, -(-len(examples) // most)) if most else 1
    return list(examples[::step])
