r"""MATH: competition mathematics in five levels, answered with a derivation and a boxed expression.

Hendrycks et al. 2021, "Measuring Mathematical Problem Solving With the MATH Dataset", arXiv:2103.03874. Test: the 500 problems of
Lightman et al. 2023, "Let's Verify Step by Step", arXiv:2305.20050. MIT licence upstream; the problems' owner disputed in 2025
that they may be passed on, so they come with no release.
Data: math_en/math500_test and math_en/math_train in the data folder, else HuggingFaceH4/MATH-500 and EleutherAI/hendrycks_math
on the Hub. The folder's training set is of MATH's own test set without those 500, the Hub's is upstream's: both stay clear of it.

`math/level1` … `math/level5` and the subjects (`math/geometry`) are parts; so are `ja` (told in Japanese) and `Kshot` (at most 8,
from the training split): `math/level5/ja/4shot`. An answer is right if it is equal as mathematics (equal.py).
"""

from collections.abc import Sequence
from functools import partial

from yosegi.errors import NoData
from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import data, equal, final, forms
from yosegi.tasks.readers.answers import boxed
from yosegi.tasks.readers.data import Hub, Row

FIELDS = ("id", "question", "answer", "solution", "level", "subject")
VALIDATION = 200
SHOTS = 8
LEVELS = [f"level{level}" for level in range(1, 6)]
SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
TOLD = {
    "en": r"Solve the problem. Put the final answer in \boxed{}.",
    "ja": r"問題を解いてください。最後の答えは \boxed{} に入れてください。",
}


class Math(Task):
    """Args:
    part: a level or a subject, `en` or `ja`, `Kshot`, or several of them with "/" between.
    """

    max_new_tokens = 768
    stop = forms.NEXT

    def __init__(self, part: str = ""):
        self.form = forms.read("math", part, [*LEVELS, *SUBJECTS], "en", SHOTS)
        self.name = f"math/{part}" if part else "math"

    @classmethod
    def parts(cls) -> list[str]:
        """Levels, subjects, languages, and four worked examples."""
        return [*LEVELS, *SUBJECTS, *forms.LABELS, "4shot"]

    def examples(self, split: str) -> list[Example]:
        """The problems of a split, in upstream order."""
        rows = _rows(split)
        pool = forms.ranked(_rows("train")) if self.form.shots else []
        return [self._example(row, pool) for row in rows if self.form.subset in ("", *_kinds(row))]

    def score(self, example: Example, prediction: str) -> Score:
        """1 if the prediction ends up with the right answer."""
        return self.scores([example], [prediction])[0]

    def scores(self, examples: Sequence[Example], predictions: Sequence[str]) -> list[Score]:
        """Many at once."""
        said = [final.final(prediction) for prediction in predictions]
        pairs = [(answer or "", example.answers[0]) for answer, example in zip(said, examples, strict=True)]
        right = equal.same([pair for pair in pairs if pair[0]])
        return [Score(float(right.pop(0)), answer) if answer else Score(0.0) for answer in said]

    def _example(self, row: Row, pool: Sequence[Row]) -> Example:
        shown = [self._pair(shot) for shot in forms.shown(pool, self.form.shots, row["id"])]
        asked = self._pair(row)
        prompt = forms.after(TOLD[self.form.language], shown, asked.prompt)
        return Example(
            row["id"], prompt, asked.target, (row["answer"],), {"level": row["level"], "subject": row["subject"]}
        )

    def _pair(self, row: Row) -> Example:
        return Example(row["id"], self.form.render(row["question"].strip()), self.form.answer(row["solution"].strip()))


def _kinds(row: Row) -> tuple[str, str]:
    """The names under which a problem can be asked for."""
    return row["level"].lower().replace(" ", ""), row["subject"].lower().replace("&", "and").replace(" ", "_")


def _rows(split: str) -> list[Row]:
    if data.known(split) == "test":
        return data.rows("math_en/math500_test", TEST, "MATH-500", FIELDS)
    try:
        rows = data.rows("math_en/math_train", None, "MATH (train)", FIELDS)
    except NoData:
        rows = [row for hub in TRAIN for row in data.rows("math_en/math_train", hub, "MATH (train)", FIELDS)]
    return data.carve(rows, VALIDATION)[split == "validation"]


def _from_test(number: int, raw: Row) -> Row:
    kept = {key: raw[key] for key in ("answer", "solution", "subject")}
    return {"id": f"math500/test/{number}", "question": raw["problem"], "level": f"Level {raw['level']}", **kept}


def _from_train(subject: str, number: int, raw: Row) -> Row:
    return {
        "id": f"math/train/{subject}/{number}",
        "question": raw["problem"],
        "answer": (boxed(raw["solution"]) or [""])[0],
        "solution": raw["solution"],
        "level": raw["level"],
        "subject": raw["type"],
    }


TEST = Hub("HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", _from_test, "test")
TRAIN = [
    Hub(
        "EleutherAI/hendrycks_math",
        "21a5633873b6a120296cce3e2df9d5550074f4a3",
        partial(_from_train, subject),
        "train",
        subject,
    )
    for subject in SUBJECTS
]
