"""JCoLA: is a Japanese sentence acceptable? Examples of linguistics papers and textbooks.

Someya et al. 2023, "JCoLA: Japanese Corpus of Linguistic Acceptability", arXiv:2309.12676. CC BY-SA 4.0. Data, in the data
folder only: nlu_ja/{jcola_train, jcola_valid}. Upstream's validation set (in domain) is the test here, as everywhere; 200
training sentences are the validation split. Parts: `en`, `Kshot` (up to 20), `written`; metrics of choices.py, and the
Matthews correlation `mcc` over all sentences, since five of six sentences are acceptable: a model that always says so has
an mcc of 0.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from yosegi.tasks import Example
from yosegi.tasks.readers.data import Source
from yosegi.tasks.readers.pairs import Labels


class Jcola(Labels):
    """Scored by the likelier judgement."""

    kind = "jcola"
    most_shots = 20
    labels = {"unacceptable": "不自然", "acceptable": "自然"}
    wording = "次の文は日本語として自然ですか、不自然ですか。\n{sentence1}"
    source = Source(
        "JCoLA",
        {"train": "nlu_ja/jcola_train", "test": "nlu_ja/jcola_valid"},
        ("id", "sentence1", "label"),
        held_out=200,
        apart="sentence1",
    )

    def overall(self, examples: Sequence[Example], items: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Returns the Matthews correlation of the judgements with the labels; 0 where all judgements are the same."""
        right = [bool(example.meta["answer_index"]) for example in examples]
        judged = [truth == (item["score"] == 1) for truth, item in zip(right, items, strict=True)]
        counts = [
            sum(pair == cell for pair in zip(right, judged, strict=True)) for cell in ((1, 1), (0, 0), (0, 1), (1, 0))
        ]
        tp, tn, fp, fn = counts
        size = sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return {"mcc": (tp * tn - fp * fn) / size if size else 0.0}
