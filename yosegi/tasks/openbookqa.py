"""OpenBookQA: science questions that need one fact of an open book and common knowledge, in English, four choices.

Mihaylov et al. 2018, "Can a Suit of Armor Conduct Electricity?", arXiv:1809.02789. Apache-2.0.
Data: knowledge_en/{openbookqa_train, openbookqa_test} in the data folder, else allenai/openbookqa (main) on the Hub. 100 training
questions are the validation split. The book is not shown. Parts: `ja`, `Kshot` (up to 20), `written`; metrics of choices.py.
"""

from yosegi.tasks.readers import data
from yosegi.tasks.readers.choices import FIELDS, Choices, labelled

REVISION = "388097ea7776314e93a529163e0fea805b8a6454"


class Openbookqa(Choices):
    """Scored by the likeliest choice."""

    kind = "openbookqa"
    headline, most_shots = "accuracy", 20
    source = data.source(
        "OpenBookQA",
        "knowledge_en/openbookqa",
        FIELDS,
        "allenai/openbookqa",
        REVISION,
        labelled,
        "main",
        held_out=100,
        apart="question",
    )
