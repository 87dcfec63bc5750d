"""JCommonsenseQA: everyday knowledge in Japanese, five choices.

Kurihara et al. 2022, "JGLUE: Japanese General Language Understanding Evaluation" (LREC), CC BY-SA 4.0, version 1.3.
Data, in the data folder only: knowledge_ja/{jcommonsenseqa_train, jcommonsenseqa_valid}. Upstream's validation set is the test
here, as everywhere; 300 training questions are the validation split.

Parts: `en` (instruction in English), `Kshot` (up to 20 training questions as worked examples). The metrics are those of
choices.py.
"""

from yosegi.tasks.readers.choices import Choices
from yosegi.tasks.readers.data import Source


class Jcommonsenseqa(Choices):
    """Scored by the likeliest letter."""

    kind = "jcommonsenseqa"
    source = Source(
        "JCommonsenseQA",
        {"train": "knowledge_ja/jcommonsenseqa_train", "test": "knowledge_ja/jcommonsenseqa_valid"},
        ("id", "question", "choices", "answer_index"),
        held_out=300,
    )
    language = "ja"
    most_shots = 20
