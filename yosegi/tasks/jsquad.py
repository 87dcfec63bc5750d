"""JSQuAD: reading comprehension in Japanese. The answer is a piece of the text above the question.

Kurihara et al. 2022, "JGLUE: Japanese General Language Understanding Evaluation" (LREC), CC BY-SA 4.0.
Training and validation: JaQuAD, So et al. 2022, arXiv:2202.01764, CC BY-SA 3.0, which asks the same about other articles (an
article that the test asks about would be left out). JSQuAD's own training set is not in the data folder.
Data, in the data folder only: knowledge_ja/{jsquad_valid, jaquad_train, jaquad_dev}.
"""

from yosegi.tasks import Example
from yosegi.tasks.readers import spans
from yosegi.tasks.readers.data import Row, Source


class Jsquad(spans.Spans):
    """Scored by exact match; the F1 of characters is a further metric."""

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
    max_new_tokens = 64

    def example(self, row: Row) -> Example:
        """Returns a question after its text; JSQuAD writes the article's title before the text, and "[SEP]" between them."""
        return spans.example(row, row["context"].replace(" [SEP] ", "\n").strip() + "\n\n")
