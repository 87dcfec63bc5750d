"""JSQuAD: reading comprehension in Japanese. The answer is a piece of the text above the question.

Kurihara et al. 2022, "JGLUE: Japanese General Language Understanding Evaluation" (LREC), CC BY-SA 4.0.
Training and validation: JaQuAD (jaquad.py), which asks the same about other articles (an article that the test asks about would
be left out). JSQuAD's own training set is not in the data folder.
Data, in the data folder only: knowledge_ja/{jsquad_valid, jaquad_train, jaquad_dev}. JSQuAD writes the article's title before the
text and "[SEP]" between them; here it is a line of its own.
"""

from yosegi.tasks.readers import spans
from yosegi.tasks.readers.data import Source


class Jsquad(spans.Reading):
    """Scored by exact match, as JGLUE's script compares; the F1 of characters is a further metric."""

    name = "jsquad"
    source = Source(
        "The Japanese reading comprehension",
        {
            "train": "knowledge_ja/jaquad_train",
            "validation": "knowledge_ja/jaquad_dev",
            "test": "knowledge_ja/jsquad_valid",
        },
        ("id", "question", "context", "answers", "title"),
        apart="title",
    )
