"""JSQuAD: reading comprehension in Japanese. The answer is a piece of the text above the question.

Kurihara et al. 2022, "JGLUE: Japanese General Language Understanding Evaluation" (LREC), CC BY-SA 4.0.
Training and validation: JaQuAD, So et al. 2022, arXiv:2202.01764, CC BY-SA 3.0: the same thing from other articles (an
article that the test asks about would be left out). JSQuAD's own training set is not in the data folder.
Data, in the data folder only: knowledge_ja/{jsquad_valid, jaquad_train, jaquad_dev}.

Exact match after `spans.normalise`, and the F1 of characters in a row beside it. The base `house` has read the training
texts and their answers, not the validation and not the test.
"""

from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import data, spans

FIELDS = ("id", "question", "context", "answers", "title")
FILES = {"train": "jaquad_train", "validation": "jaquad_dev", "test": "jsquad_valid"}


class Jsquad(Task):
    """Scored by exact match with the nearest accepted answer, and by F1."""

    name = "jsquad"
    metric = "exact_match"
    max_new_tokens = 64
    stop = ("\n",)

    def examples(self, split: str) -> list[Example]:
        """The questions of a split, in upstream order."""
        rows = _rows(FILES[data.known(split)])
        if split != "test":
            asked = {row["title"] for row in _rows(FILES["test"])}
            rows = [row for row in rows if row["title"] not in asked]
        return [_example(row) for row in rows]

    def score(self, example: Example, prediction: str) -> Score:
        """Exact match; F1 comes along."""
        found = spans.exact(prediction, example.answers)
        return Score(found.value, found.answer, {"f1": spans.f1(prediction, example.answers)})


def _rows(file: str) -> list[data.Row]:
    return data.rows(f"knowledge_ja/{file}", None, f"A part of the Japanese reading comprehension ({file})", FIELDS)


def _example(row: data.Row) -> Example:
    # JSQuAD writes the article's title before the text, and "[SEP]" between them
    context = row["context"].replace(" [SEP] ", "\n").strip()
    return Example(row["id"], spans.prompt(row["question"], f"{context}\n\n"), row["answers"][0], tuple(row["answers"]))
