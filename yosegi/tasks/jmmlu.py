"""JMMLU: MMLU in Japanese, translated by hand, with its own questions about Japan; four choices.

Yin et al. 2024, "Should We Respect LLMs? A Cross-Lingual Study on the Influence of Prompt Politeness", arXiv:2402.14531
(https://github.com/nlp-waseda/JMMLU). CC BY-SA 4.0: the three subjects under another licence are not in the data.
Data: knowledge_ja/jmmlu_test, in the data folder only (on the Hub it is a script, which is not run).

`jmmlu` asks all subjects in turn, so that the first few hundred questions are a fair sample; `jmmlu/anatomy` asks one
subject; `en` gives the instruction in English. There is only a test split, so there are no worked examples. The metrics are
those of choices.py.
"""

from yosegi.tasks.readers.choices import Choices
from yosegi.tasks.readers.data import Source


class Jmmlu(Choices):
    """Scored by the likeliest letter."""

    kind = "jmmlu"
    shuffled = True  # subject by subject in turn
    source = Source(
        "JMMLU",
        {"test": "knowledge_ja/jmmlu_test"},
        ("id", "question", "choices", "answer_index", "subject"),
        evaluation_only=True,
    )
    language = "ja"
