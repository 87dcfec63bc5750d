"""Japanese MT-Bench: eighty Japanese prompts in eight categories, without references. Answers are kept, nothing is scored.

After Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", arXiv:2306.05685; translated by Stability
AI (https://github.com/Stability-AI/FastChat). Apache-2.0. Data, in the data folder only: instruct/jmt_bench. The first turn
is asked; the second needs the model's own first answer and is kept in the items.
"""

from yosegi.tasks import Example
from yosegi.tasks.readers.data import Row, Source
from yosegi.tasks.readers.unscored import Unscored


class Jmt(Unscored):
    """Nothing is scored."""

    name = "jmt"
    source = Source(
        "Japanese MT-Bench", {"test": "instruct/jmt_bench"}, ("id", "turns", "category"), evaluation_only=True
    )

    def example(self, row: Row) -> Example:
        """Returns the first turn."""
        return Example(row["id"], row["turns"][0].strip(), "", (), {"subject": row["category"], "turns": row["turns"]})
