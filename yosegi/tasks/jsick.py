"""JSICK: does one Japanese sentence follow from another? SICK, translated by hand.

Yanaka and Mineshima 2022, "Compositional Evaluation on Japanese Textual Entailment and Similarity", arXiv:2208.04826. CC
BY-SA 4.0.
Data, in the data folder only: nlu_ja/{jsick_train, jsick_test}. 200 training pairs are the validation split.
Parts: `en`, `Kshot` (up to 20 training pairs), `written`; metrics of choices.py.
"""

from yosegi.tasks.readers.data import Source
from yosegi.tasks.readers.pairs import FIELDS, Inference


class Jsick(Inference):
    """Scored by the likeliest label."""

    kind = "jsick"
    most_shots = 20
    source = Source(
        "JSICK",
        {"train": "nlu_ja/jsick_train", "test": "nlu_ja/jsick_test"},
        FIELDS,
        held_out=200,
        apart="sentence1+sentence2",
    )
