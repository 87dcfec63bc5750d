"""MMLU: what a model knows of 57 subjects, in English, four choices, with the errors that are known in it marked.

Hendrycks et al. 2021, "Measuring Massive Multitask Language Understanding", arXiv:2009.03300, MIT licence. Errors:
Gema et al. 2024, "Are We Done with MMLU?", arXiv:2406.04127 (MMLU-Redux), CC BY 4.0: 100 questions of each subject were read.
Data: knowledge_en/mmlu_redux_test (test) and knowledge_en/mmlu_val (validation, and worked examples: at most 5) in the data
folder, else cais/mmlu ("all") on the Hub, which marks no errors.

`mmlu` is all subjects in turn, in an order drawn by hash (errors crowd at the beginning of upstream's files), so that the first
few hundred questions are a fair sample; `mmlu/anatomy` is one; `ja` tells it
in Japanese. Each of the three metrics (choices.py) has a twin over the questions that were read and found without error:
`accuracy_ok`, `letter_ok`, `likelihood_ok`. Of the data folder's 4,300 questions, 230 have a known error and 29 no verdict.

It is for measuring, so there is no training split. Validation questions that the test repeats are left out.
"""

from functools import partial

from yosegi.errors import NoData
from yosegi.tasks.readers import data
from yosegi.tasks.readers.choices import Choices
from yosegi.tasks.readers.data import Hub, Row

FIELDS = ("id", "question", "choices", "answer_index", "subject")
FILES = {"test": "knowledge_en/mmlu_redux_test", "validation": "knowledge_en/mmlu_val"}


class Mmlu(Choices):
    """Scored by the letter."""

    kind = "mmlu"
    most_shots = 5

    @classmethod
    def subsets(cls) -> list[str] | None:
        """The subjects in the data folder."""
        try:
            return sorted({row["subject"] for row in data.rows(FILES["test"], None, "", FIELDS)})
        except NoData:
            return None

    def rows(self, split: str) -> list[Row]:
        """The questions of a split: one of each subject, then another of each …"""
        rows = _rows(data.known(split, FILES))
        if split == "validation":
            asked = {row["question"].strip() for row in _rows("test")}
            rows = [row for row in rows if row["question"].strip() not in asked]
        return data.in_turn([row for row in rows if self.form.subset in ("", row["subject"])], "subject")

    def shots(self) -> list[Row]:
        """Validation questions: of the subject itself, where it is one."""
        return self.rows("validation")


def _rows(split: str) -> list[Row]:
    return data.rows(FILES[split], HUB[split], f"MMLU ({split})", FIELDS)


def _from_hub(split: str, number: int, raw: Row) -> Row:
    kept = {key: raw[key] for key in ("question", "choices", "subject")}
    return {"id": f"mmlu/{split}/{number}", **kept, "answer_index": raw["answer"]}


HUB = {
    split: Hub("cais/mmlu", "c30699e8356da336a370243923dbaf21066bb9fe", partial(_from_hub, split), split, "all")
    for split in FILES
}
