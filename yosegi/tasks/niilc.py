"""NIILC: short questions in Japanese about the world, answered from memory. It teaches the form of `terms`.

Sekine et al., "NIILC-ECQA2015" (https://github.com/mynlp/niilc-qa), CC BY-SA 4.0.
Data: knowledge_ja/niilc_dev, in the data folder only. By hash a tenth is the test split and a tenth the validation.

An expert trained here answers closed-book questions with a word or two; together with one that has read a corpus, it is
asked about that corpus (`terms`). The base `house` has not read it. Nothing is shown but the question: what is measured is
what the model knows. Of several answers each one counts, also where upstream wants them all. Five questions to which upstream
has no answer ("-") are left out.
"""

from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import data, spans

FIELDS = ("id", "question", "answers")


class Niilc(Task):
    """Scored by exact match, and by the F1 of characters."""

    name = "niilc"
    metric = "exact_match"
    max_new_tokens = 48
    stop = ("\n",)

    def examples(self, split: str) -> list[Example]:
        """The questions of a split, in upstream order."""
        test = data.known(split) == "test"
        rows = data.rows("knowledge_ja/niilc_dev", None, "NIILC", FIELDS)
        rows = data.carve(rows, len(rows) // 10)[test]
        if not test:
            rows = data.carve(rows, len(rows) // 9)[split == "validation"]
        rows = [row for row in rows if row["answers"] != ["-"]]
        return [
            Example(row["id"], spans.prompt(row["question"]), row["answers"][0], tuple(row["answers"])) for row in rows
        ]

    def score(self, example: Example, prediction: str) -> Score:
        """Exact match; F1 comes along."""
        found = spans.exact(prediction, example.answers)
        return Score(found.value, found.answer, {"f1": spans.f1(prediction, example.answers)})
