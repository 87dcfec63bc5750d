"""BoolQ: yes/no questions that people asked a search engine, in English, closed-book: the passage is not shown.

Clark et al. 2019, "BoolQ: Exploring the Surprising Difficulty of Natural Yes/No Questions", arXiv:1905.10044. CC BY-SA 3.0.
Data: knowledge_en/{boolq_train, boolq_test} in the data folder, else google/boolq on the Hub, whose validation split is the test
here, as everywhere. 150 training questions are the validation split. Three of five answers are yes.

Scored by log-likelihood: accuracy, acc_norm and letter (choices.py). Parts: `ja` (labels in Japanese), `Kshot` (up to 20
training questions as worked examples), `written`.
"""

from yosegi.tasks.readers.choices import Choices
from yosegi.tasks.readers.data import Hub, Row, Source


def _from_hub(row: Row) -> Row:
    return {"question": f"{row['question']}?", "choices": ["no", "yes"], "answer_index": int(row["answer"])}


REVISION = "35b264d03638db9f4ce671b711558bf7ff0f80d5"
UPSTREAM = {"train": "train", "test": "validation"}


class Boolq(Choices):
    """Scored by the likelier of yes and no."""

    kind = "boolq"
    source = Source(
        "BoolQ",
        {split: f"knowledge_en/boolq_{split}" for split in UPSTREAM},
        ("id", "question", "answer_index"),
        {
            split: Hub("google/boolq", REVISION, _from_hub, name, ids=f"boolq/{split}")
            for split, name in UPSTREAM.items()
        },
        held_out=150,
        apart="question",
    )
    headline, most_shots = "accuracy", 20

    def rows(self, split: str) -> list[Row]:
        """Returns the questions, to be answered with no and yes; upstream writes false and true."""
        return [{**row, "choices": ["no", "yes"]} for row in super().rows(split)]
