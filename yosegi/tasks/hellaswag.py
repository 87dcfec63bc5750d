"""HellaSwag: which ending goes on from a description of an everyday scene? In English, four choices.

Zellers et al. 2019, "HellaSwag: Can a Machine Really Finish Your Sentence?", arXiv:1905.07830. MIT licence. Data:
Rowan/hellaswag on the Hub, or knowledge_en/{hellaswag_train, hellaswag_test} in the data folder. Upstream's validation
split is the test here, as everywhere; 500 training rows are the validation split. There are no labels around the text.
Metrics of choices.py.
"""

import re

from yosegi.tasks.readers import data
from yosegi.tasks.readers.choices import FIELDS, Choices
from yosegi.tasks.readers.data import Row

REVISION = "218ec52e09a7e7462a5400043bb9a69a41d06b76"


def _from_hub(row: Row) -> Row:
    texts = [f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}", *row["endings"]]
    scene, *endings = (
        re.sub(r"\s+", " ", re.sub(r"\[.*?\]", "", text.replace(" [title]", ". "))).strip() for text in texts
    )
    return {"question": scene, "choices": endings, "answer_index": int(row["label"])}


class Hellaswag(Choices):
    """Scored by the likeliest ending."""

    kind = "hellaswag"
    headline, labels_question = "accuracy", False
    source = data.source(
        "HellaSwag", "knowledge_en/hellaswag", FIELDS, "Rowan/hellaswag", REVISION, _from_hub,
        splits={"train": "train", "test": "validation"}, held_out=500,
    )  # fmt: skip
