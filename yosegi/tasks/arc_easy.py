"""ARC-Easy: questions of grade-school science exams, in English, three to five choices.

Clark et al. 2018, "Think you have Solved Question Answering? Try ARC, the AI2 Reasoning Challenge", arXiv:1803.05457.
CC BY-SA 4.0.
Data: knowledge_en/{arc_easy_train, arc_easy_test} in the data folder, else allenai/ai2_arc (ARC-Easy) on the Hub. 150 training
questions are the validation split; training questions that the test repeats are left out.

A model learns to write the right choice after the bare question; it is scored by log-likelihood: accuracy, acc_norm and letter
(choices.py). Parts: `ja` (labels in Japanese), `Kshot` (up to 20 training questions as worked examples), `written`.
"""

from yosegi.tasks.readers import data
from yosegi.tasks.readers.choices import FIELDS, Choices, labelled

REVISION = "210d026faf9955653af8916fad021475a3f00453"


class ArcEasy(Choices):
    """Scored by the likeliest choice."""

    kind = "arc_easy"
    headline, most_shots = "accuracy", 20
    source = data.source(
        "ARC-Easy",
        "knowledge_en/arc_easy",
        FIELDS,
        "allenai/ai2_arc",
        REVISION,
        labelled,
        "ARC-Easy",
        held_out=150,
        apart="question",
    )
