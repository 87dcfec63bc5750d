"""JMMLU: MMLU in Japanese, translated by hand, with questions about Japan of its own; four choices.

Yin et al. 2024, "Should We Respect LLMs? A Cross-Lingual Study on the Influence of Prompt Politeness", arXiv:2402.14531
(https://github.com/nlp-waseda/JMMLU). CC BY-SA 4.0: the three subjects under another licence are not in the data.
Data: knowledge_ja/jmmlu_test, in the data folder only (on the Hub it is a script, which is not run).

`jmmlu` is all subjects in turn, so that the first few hundred questions are a fair sample; `jmmlu/anatomy` is one; `en` tells it
in English. There is only a test split and nothing else to show, so there are no worked examples. Three metrics: choices.py.
"""

from yosegi.errors import NoData
from yosegi.tasks.readers import data
from yosegi.tasks.readers.choices import Choices

FIELDS = ("id", "question", "choices", "answer_index", "subject")
FILE = "knowledge_ja/jmmlu_test"


class Jmmlu(Choices):
    """Scored by the letter."""

    kind = "jmmlu"
    language = "ja"

    @classmethod
    def subsets(cls) -> list[str] | None:
        """The subjects in the data folder."""
        try:
            return sorted({row["subject"] for row in data.rows(FILE, None, "", FIELDS)})
        except NoData:
            return None

    def rows(self, split: str) -> list[data.Row]:
        """The questions: one of each subject, then another of each …"""
        data.known(split, ("test",))
        rows = data.rows(FILE, None, "JMMLU", FIELDS)
        return data.in_turn([row for row in rows if self.form.subset in ("", row["subject"])], "subject")
