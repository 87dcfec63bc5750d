"""PIQA: which of two ways reaches a goal of everyday life? In English.

Bisk et al. 2020, "PIQA: Reasoning about Physical Commonsense in Natural Language", arXiv:1911.11641. AFL 3.0. Data:
lighteval/piqa on the Hub (the authors' own is a script, which is not run), or knowledge_en/{piqa_train, piqa_test} in the
data folder. Upstream's validation split is the test here, as everywhere; 500 training rows are the validation split.
Metrics of choices.py.
"""

from yosegi.tasks.readers import data
from yosegi.tasks.readers.choices import FIELDS, Choices
from yosegi.tasks.readers.data import Row

REVISION = "41782e6bf0ef7de82a2ca8a9feb1dca042837fae"


def _from_hub(row: Row) -> Row:
    return {"question": row["goal"], "choices": [row["sol1"], row["sol2"]], "answer_index": int(row["label"])}


class Piqa(Choices):
    """Scored by the likelier way."""

    kind = "piqa"
    headline, most_shots = "accuracy", 20
    source = data.source(
        "PIQA", "knowledge_en/piqa", FIELDS, "lighteval/piqa", REVISION, _from_hub,
        splits={"train": "train", "test": "validation"}, held_out=500,
    )  # fmt: skip
