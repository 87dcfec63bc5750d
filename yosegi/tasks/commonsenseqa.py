"""CommonsenseQA: everyday knowledge, in English, five choices.

Talmor et al. 2019, "CommonsenseQA: A Question Answering Challenge Targeting Commonsense Knowledge", arXiv:1811.00937. MIT
licence. Data: knowledge_en/{commonsenseqa_train, commonsenseqa_validation} in the data folder, else tau/commonsense_qa on
the Hub. Upstream's validation split is the test here, as everywhere; 150 training questions are the validation split.
Parts: `ja`, `Kshot` (up to 20), `written`; metrics of choices.py.
"""

from yosegi.tasks.readers import data
from yosegi.tasks.readers.choices import FIELDS, Choices, labelled

REVISION, SPLITS = "94630fe30dad47192a8546eb75f094926d47e155", {"train": "train", "test": "validation"}


class Commonsenseqa(Choices):
    """Scored by the likeliest choice."""

    kind = "commonsenseqa"
    headline, most_shots = "accuracy", 20
    source = data.source(
        "CommonsenseQA", "knowledge_en/commonsenseqa", FIELDS, "tau/commonsense_qa", REVISION, labelled,
        splits=SPLITS, held_out=150, apart="question", files=SPLITS,
    )  # fmt: skip
