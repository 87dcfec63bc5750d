"""Sentences, or pairs of sentences, with a label of a few: classification as a choice of words (choices.py)."""

from collections.abc import Mapping

from yosegi.tasks.readers.choices import Choices
from yosegi.tasks.readers.data import Row

FIELDS = ("id", "sentence1", "sentence2", "label")


class Labels(Choices):
    """A row has id, the fields that `wording` names, and a label.

    Attributes:
        labels: the words for upstream's labels, in the order of the choices.
        wording: the question, with the fields of a row.
    """

    headline = "accuracy"
    language = "ja"
    labels: Mapping[str, str]
    wording: str

    def rows(self, split: str) -> list[Row]:
        """Returns the rows as questions with choices."""
        names = list(self.labels)
        return [
            {
                "id": row["id"],
                "question": self.wording.format(**row),
                "choices": list(self.labels.values()),
                "answer_index": names.index(row["label"]),
            }
            for row in super().rows(split)
        ]


class Inference(Labels):
    """Natural language inference in Japanese."""

    labels = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立"}
    wording = "前提：{sentence1}\n仮説：{sentence2}\n前提と仮説の関係は、含意、矛盾、中立のどれですか。"
