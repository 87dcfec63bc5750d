"""WinoGrande: to which of two names does the gap in a sentence belong? In English.

Sakaguchi et al. 2020, "WinoGrande: An Adversarial Winograd Schema Challenge at Scale", arXiv:1907.10641. Apache-2.0. Data:
allenai/winogrande (xl) on the Hub, or knowledge_en/{winogrande_train, winogrande_test} in the data folder. Upstream's
validation split is the test here, as everywhere; 500 training rows are the validation split.

Scored as lm-eval does, after Trinh and Le 2018 (arXiv:1806.02847): the log-likelihood of what follows the gap, after the
beginning of the sentence with each name in it. The names themselves do not count. A model learns to go on with the right
name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from yosegi.tasks import Candidates, Example, LogProb, Score
from yosegi.tasks.readers import data
from yosegi.tasks.readers.choices import FIELDS, Choices
from yosegi.tasks.readers.data import Row

REVISION = "01e74176c63542e6b0bcb004dcdea22d94fb67b5"


def _from_hub(row: Row) -> Row:
    before, after = row["sentence"].split("_", 1)
    names = [row["option1"], row["option2"]]
    return {"question": before.strip(), "after": after, "choices": names, "answer_index": int(row["answer"]) - 1}


class Winogrande(Choices):
    """Scored by the likelier sentence."""

    kind = "winogrande"
    headline, labels_question, options = "accuracy", False, ()
    source = data.source(
        "WinoGrande", "knowledge_en/winogrande", (*FIELDS, "after"), "allenai/winogrande", REVISION, _from_hub, "winogrande_xl",
        {"train": "train", "test": "validation"}, held_out=500,
    )  # fmt: skip

    def meta(self, row: Row) -> dict[str, Any]:
        """Returns the sentence in its parts."""
        return {**super().meta(row), "after": row["after"]}

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """Returns what follows the gap, after the sentence with each name in it, the right one first."""
        names, right = example.meta["choices"], example.meta["answer_index"]
        rest = (example.meta["after"],)
        return {name: Candidates(rest, f"{example.prompt} {name}".strip()) for name in (names[right], names[1 - right])}

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """Returns 1 if the right name makes the rest of the sentence likelier, a half if both are alike."""
        names = list(logprobs)
        right, wrong = (logprobs[name][0].sum_logprob for name in names)
        return Score(0.5 if right == wrong else float(right > wrong), names[wrong > right])
