"""Prompts without right answers: what a model writes is kept in the items, for people or a judge, and only counted."""

from yosegi.tasks import Example, Score, Task


class Unscored(Task):
    """A task whose answers nobody here can grade."""

    metric = "answered"
    max_new_tokens = 512
    has_gold = False

    def score(self, example: Example, prediction: str) -> Score:
        """Returns 1 if there is an answer at all."""
        return Score(float(bool(prediction.strip())), prediction.strip() or None)

    def note(self, split: str) -> str | None:
        """Returns that nothing is scored."""
        return "nothing is scored: `answered` is the share of prompts with any answer; read the answers in items/"
