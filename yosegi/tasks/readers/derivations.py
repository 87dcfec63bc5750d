"""Problems that are answered with a derivation and a final expression, equal to the right one as mathematics (equal.py)."""

from collections.abc import Sequence
from typing import Any

from yosegi.tasks import Example, Score
from yosegi.tasks.readers import equal, final
from yosegi.tasks.readers.data import Row
from yosegi.tasks.readers.forms import Questions

SUBJECTS = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra", "precalculus",
)  # fmt: skip
FIELDS = ("id", "question", "answer", "solution", "level", "subject")


def from_test(row: Row) -> Row:
    """Returns a row of MATH-500 on the Hub as one of ours."""
    return {**row, "question": row["problem"], "level": f"Level {row['level']}"}


class Derivations(Questions):
    """A problem of MATH. A row has id, question, answer, solution, level and subject."""

    instruction = {
        "en": r"Solve the problem. Put the final answer in \boxed{}.",
        "ja": r"問題を解いてください。最後の答えは \boxed{} に入れてください。",
    }
    most_shots = 8
    max_new_tokens = 768

    @classmethod
    def subsets(cls) -> list[str] | None:
        """Returns the levels and the subjects."""
        return [*(f"level{level}" for level in range(1, 6)), *SUBJECTS]

    def subsets_of(self, row: Row) -> Sequence[str | None]:
        """Returns the level and the subject of a problem."""
        return row["level"].lower().replace(" ", ""), row["subject"].lower().replace("&", "and").replace(" ", "_")

    def meta(self, row: Row) -> dict[str, Any]:
        """Returns the level and the subject."""
        return {"level": row["level"], "subject": row["subject"]}

    def score(self, example: Example, prediction: str) -> Score:
        """Returns 1 if the prediction ends up with the right answer."""
        answer = final.final(prediction)
        return Score(float(equal.same(answer, example.answers[0])), answer) if answer else Score(0.0)
