r"""MATH: competition mathematics in five levels, answered with a derivation and a boxed expression.

Hendrycks et al. 2021, "Measuring Mathematical Problem Solving With the MATH Dataset", arXiv:2103.03874. Test: the 500 problems of
Lightman et al. 2023, "Let's Verify Step by Step", arXiv:2305.20050. MIT licence upstream; the problems' owner disputed in 2025
that they may be passed on, so no release contains them.
Data: math_en/math500_test and math_en/math_train in the data folder, else HuggingFaceH4/MATH-500 and EleutherAI/hendrycks_math
on the Hub. The folder's training set is MATH's own test set without those 500, the Hub's is upstream's training set: neither
overlaps with the test. 200 training problems are the validation split.

Parts: `level1` … `level5`, the subjects (`geometry`), `ja` (instruction in Japanese), `Kshot` (up to 8 training problems as
worked examples): `math/level5/ja/4shot`. An answer is right if it is equal as mathematics (equal.py).
"""

from collections.abc import Sequence
from typing import Any

from yosegi.tasks import Example, Score
from yosegi.tasks.readers import equal, final
from yosegi.tasks.readers.answers import boxed
from yosegi.tasks.readers.data import Hub, Row, Source
from yosegi.tasks.readers.forms import Questions, ranked

SUBJECTS = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra", "precalculus",
)  # fmt: skip


def _from_test(row: Row) -> Row:
    return {**row, "question": row["problem"], "level": f"Level {row['level']}"}


def _from_train(row: Row) -> Row:
    answer = (boxed(row["solution"]) or [""])[0]
    return {**row, "question": row["problem"], "subject": row["type"], "answer": answer}


TEST = Hub("HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", _from_test, "test", ids="math500/test")
UPSTREAM = ("EleutherAI/hendrycks_math", "21a5633873b6a120296cce3e2df9d5550074f4a3", _from_train, "train")
TRAIN = [Hub(*UPSTREAM, subject, ids=f"math/train/{subject}") for subject in SUBJECTS]


class Math(Questions):
    """Scored by the final expression, equal as mathematics."""

    kind = "math"
    source = Source(
        "MATH",
        {"train": "math_en/math_train", "test": "math_en/math500_test"},
        ("id", "question", "answer", "solution", "level", "subject"),
        {"train": TRAIN, "test": TEST},
        held_out=200,
    )
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

    def shots(self) -> list[Row]:
        """Returns training problems of all levels and subjects."""
        return ranked(self.source.rows("train"))

    def meta(self, row: Row) -> dict[str, Any]:
        """Returns the level and the subject."""
        return {"level": row["level"], "subject": row["subject"]}

    def score(self, example: Example, prediction: str) -> Score:
        """Returns 1 if the prediction ends up with the right answer."""
        answer = final.final(prediction)
        return Score(float(equal.same(answer, example.answers[0])), answer) if answer else Score(0.0)
