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

from yosegi.tasks.readers.answers import boxed
from yosegi.tasks.readers.data import Hub, Row, Source
from yosegi.tasks.readers.derivations import FIELDS, SUBJECTS, Derivations, from_test
from yosegi.tasks.readers.forms import ranked


def _from_train(row: Row) -> Row:
    answer = (boxed(row["solution"]) or [""])[0]
    return {**row, "question": row["problem"], "subject": row["type"], "answer": answer}


TEST = Hub("HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", from_test, "test", ids="math500/test")
UPSTREAM = ("EleutherAI/hendrycks_math", "21a5633873b6a120296cce3e2df9d5550074f4a3", _from_train, "train")
TRAIN = [Hub(*UPSTREAM, subject, ids=f"math/train/{subject}") for subject in SUBJECTS]


class Math(Derivations):
    """Scored by the final expression, equal as mathematics."""

    kind = "math"
    source = Source(
        "MATH",
        {"train": "math_en/math_train", "test": "math_en/math500_test"},
        FIELDS,
        {"train": TRAIN, "test": TEST},
        held_out=200,
    )

    def shots(self) -> list[Row]:
        """Returns training problems of all levels and subjects."""
        return ranked(self.source.rows("train"))
