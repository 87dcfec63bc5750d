"""MAWPS in Japanese: easy word problems, translated by hand and moved to Japan.

The chain-of-thought-ja-dataset of Waseda University (https://github.com/nlp-waseda/chain-of-thought-ja-dataset), Apache-2.0,
after Koncel-Kedziorski et al. 2016, "MAWPS: A Math Word Problem Repository", doi:10.18653/v1/N16-1136.
Data, in the data folder only: math_ja/mawps_ja_test and math_ja/mawps_ja_exemplars. There is only a test split; twelve questions
come twice upstream and one three times.

Parts: `en` (instruction in English), `Kshot` (up to eight worked examples, the authors' own, solved in words). A gold decimal
that was cut counts as the fraction it stands for, if six places or more are left.
"""

from yosegi.tasks.readers import data
from yosegi.tasks.readers.data import Row, Source
from yosegi.tasks.readers.numbers import INSTRUCTION, Numbers

FIELDS = ("id", "question", "answer")


class MawpsJa(Numbers):
    """Scored by the final number alone: 答えは４２円です and 42 are the same answer."""

    kind = "mawps_ja"
    source = Source("The Japanese MAWPS", {"test": "math_ja/mawps_ja_test"}, FIELDS)
    language = "ja"
    instruction = INSTRUCTION
    most_shots = 8

    def shots(self) -> list[Row]:
        """Returns the authors' worked examples."""
        title = "The worked examples of the Japanese MAWPS"
        return data.rows("math_ja/mawps_ja_exemplars", None, title, (*FIELDS, "solution"))
