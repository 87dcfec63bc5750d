"""MAWPS in Japanese: easy word problems, translated by hand and moved to Japan.

The chain-of-thought-ja-dataset of Waseda University (https://github.com/nlp-waseda/chain-of-thought-ja-dataset), Apache-2.0,
after Koncel-Kedziorski et al. 2016, "MAWPS: A Math Word Problem Repository", doi:10.18653/v1/N16-1136.
Data, in the data folder only: math_ja/mawps_ja_test and math_ja/mawps_ja_exemplars. There is only a test split.

Parts: `en` (told in English), `Kshot`: up to eight worked examples, the authors' own, solved in words. Twelve questions come
twice upstream and one three times. Decimals that were cut count as the fraction they stand for, if six places or more are left.
"""

from yosegi.tasks.readers import data
from yosegi.tasks.readers.numbers import Numbers

FIELDS = ("id", "question", "answer")


class MawpsJa(Numbers):
    """Scored by the final number alone: 答えは４２円です and 42 are the same answer."""

    kind = "mawps_ja"
    language = "ja"

    def rows(self) -> list[data.Row]:
        """The problems."""
        return data.rows("math_ja/mawps_ja_test", None, "The Japanese MAWPS", FIELDS)

    def shots(self) -> list[data.Row]:
        """The authors' eight."""
        return data.rows(
            "math_ja/mawps_ja_exemplars", None, "The examples of the Japanese MAWPS", (*FIELDS, "solution")
        )
