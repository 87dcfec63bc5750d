"""JNLI: does one Japanese sentence follow from another? Entailment, contradiction or neutral.

Kurihara et al. 2022, "JGLUE: Japanese General Language Understanding Evaluation" (LREC), CC BY-SA 4.0. Data, in the data
folder only: nlu_ja/jnli_valid. Upstream's validation set is the test here, as everywhere; its training set is not in the
folder, so there is nothing to train on. Parts: `en`, `written`; metrics of choices.py.
"""

from yosegi.tasks.readers.data import Source
from yosegi.tasks.readers.pairs import FIELDS, Inference


class Jnli(Inference):
    """Scored by the likeliest label."""

    kind = "jnli"
    source = Source("JNLI", {"test": "nlu_ja/jnli_valid"}, FIELDS)
