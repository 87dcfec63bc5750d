"""NIILC: short questions in Japanese about the world, answered from memory (closed-book).

Sekine et al., "NIILC-ECQA2015" (https://github.com/mynlp/niilc-qa), CC BY-SA 4.0. Data: knowledge_ja/niilc_dev, in the data
folder only. A tenth of the questions, by hash, is the test split, a tenth the validation.

Training here teaches an expert to answer with a word or two; combined with an expert that has read a corpus, it is asked
about that corpus (`terms`). Each of several answers is accepted, also where upstream wants all of them. Five questions to
which upstream has no answer ("-") are left out.
"""

from yosegi.tasks.readers import data, spans


class Niilc(spans.Spans):
    """Scored by exact match; the F1 of characters is a further metric."""

    name = "niilc"
    known_splits = ("train", "validation", "test")
    max_new_tokens = 48

    def rows(self, split: str) -> list[data.Row]:
        """Returns the questions of a split, in upstream order."""
        test = data.known(split) == "test"
        rows = data.rows("knowledge_ja/niilc_dev", None, "NIILC", ("id", "question", "answers"))
        rows = data.carve(rows, len(rows) // 10)[test]
        if not test:
            rows = data.carve(rows, len(rows) // 9)[split == "validation"]
        return [row for row in rows if row["answers"] != ["-"]]
