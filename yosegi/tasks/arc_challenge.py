"""ARC-Challenge: the harder questions of grade-school science exams, in English, three to five choices.

Clark et al. 2018, "Think you have Solved Question Answering? Try ARC, the AI2 Reasoning Challenge", arXiv:1803.05457. CC
BY-SA 4.0. Data: knowledge_en/{arc_challenge_train, arc_challenge_test} in the data folder, else allenai/ai2_arc
(ARC-Challenge) on the Hub. 100 training questions are the validation split; training questions that the test repeats are
left out.

A model learns to write the right choice after the bare question; it is scored by log-likelihood: accuracy, acc_norm and letter
(choices.py). Parts: `ja` (labels in Japanese), `Kshot` (up to 20 training questions as worked examples), `written`.
"""

from yosegi.tasks.readers import data
from yosegi.tasks.readers.choices import FIELDS, Choices, labelled

REVISION = "210d026faf9955653af8916fad021475a3f00453"


class ArcChallenge(Choices):
    """Scored by the likeliest choice."""

    kind = "arc_challenge"
    headline, most_shots = "accuracy", 20
    source = data.source(
        "ARC-Challenge",
        "knowledge_en/arc_challenge",
        FIELDS,
        "allenai/ai2_arc",
        REVISION,
        labelled,
        "ARC-Challenge",
        held_out=100,
        apart="question",
    )
