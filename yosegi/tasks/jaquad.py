"""JaQuAD: reading comprehension in Japanese, over articles of Wikipedia. The answer is a piece of the text above the question.

So et al. 2022, "JaQuAD: Japanese Question Answering Dataset for Machine Reading Comprehension", arXiv:2202.01764. CC BY-SA 3.0.
Data, in the data folder only: knowledge_ja/{jaquad_train, jaquad_dev}. Upstream's development set is the test here; 60 training
questions are the validation split.
"""

from yosegi.tasks.readers import spans
from yosegi.tasks.readers.data import Source


class Jaquad(spans.Reading):
    """Scored by exact match, as JGLUE's script compares; the F1 of characters is a further metric."""

    name = "jaquad"
    source = Source(
        "JaQuAD",
        {"train": "knowledge_ja/jaquad_train", "test": "knowledge_ja/jaquad_dev"},
        ("id", "question", "context", "answers"),
        held_out=60,
        apart="context",
    )
