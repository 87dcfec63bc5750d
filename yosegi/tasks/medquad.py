"""MedQuAD: questions about diseases, answered by the US National Institutes of Health in a paragraph or two. In English.

Ben Abacha and Demner-Fushman 2019, "A Question-Entailment Approach to Question Answering", arXiv:1901.08079. CC BY 4.0.
Data, in the data folder only: domain_qa/medquad_train. A tenth of the questions, by hash, is the test split, 40 the validation.

The whole answer is written, and Rouge-L says how much of the reference it has; the log-likelihood of the reference is the
row "logp".
"""

from yosegi.tasks import Example, Score
from yosegi.tasks.readers import data, rouge
from yosegi.tasks.readers.forms import Questions


class Medquad(Questions):
    """Scored by Rouge-L."""

    kind = "medquad"
    known_splits = ("train", "validation", "test")
    metric = "rougeL"
    max_new_tokens = 256
    most_shots = 3

    def rows(self, split: str) -> list[data.Row]:
        """Returns the questions of a split, in upstream order."""
        test = data.known(split) == "test"
        rows = data.rows("domain_qa/medquad_train", None, "MedQuAD", ("id", "question", "answers"))
        rows = data.carve(rows, len(rows) // 10)[test]
        return rows if test else data.carve(rows, 40)[split == "validation"]

    def target(self, row: data.Row) -> str:
        """Returns the answer."""
        return row["answers"][0].strip()

    def answers(self, row: data.Row) -> tuple[str, ...]:
        """Returns the answer."""
        return tuple(row["answers"])

    def score(self, example: Example, prediction: str) -> Score:
        """Returns the Rouge-L F1 against the reference."""
        return rouge.score(prediction, example.answers)
