"""JCommonsenseQA: everyday knowledge in Japanese, five choices.

Kurihara et al. 2022, "JGLUE: Japanese General Language Understanding Evaluation" (LREC), CC BY-SA 4.0, version 1.3.
Data, in the data folder only: knowledge_ja/{jcommonsenseqa_train, jcommonsenseqa_valid}. Upstream's validation set is the test
here, as everywhere; the validation split is carved out of the training set.

Measured three ways (`accuracy`, `letter`, `likelihood`: choices.py). Parts: `en` (told in English), `Kshot` (at most 20).
"""

from yosegi.tasks.readers import data
from yosegi.tasks.readers.choices import Choices

FIELDS = ("id", "question", "choices", "answer_index")
VALIDATION = 300


class Jcommonsenseqa(Choices):
    """Scored by the letter."""

    kind = "jcommonsenseqa"
    language = "ja"
    most_shots = 20

    def rows(self, split: str) -> list[data.Row]:
        """The questions of a split."""
        file = "valid" if data.known(split) == "test" else "train"
        rows = data.rows(f"knowledge_ja/jcommonsenseqa_{file}", None, f"JCommonsenseQA ({file})", FIELDS)
        return rows if file == "valid" else data.carve(rows, VALIDATION)[split == "validation"]
