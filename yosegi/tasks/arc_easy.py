"""ARC-Easy: questions of grade-school science exams, in English, three to five choices.

Clark et al. 2018, "Think you have Solved Question Answering? Try ARC, the AI2 Reasoning Challenge", arXiv:1803.05457.
CC BY-SA 4.0.
Data: knowledge_en/{arc_easy_train, arc_easy_test} in the data folder, else allenai/ai2_arc (ARC-Easy) on the Hub. 150 training
questions are the validation split; training questions that the test repeats are left out.

A model learns to write the right choice after the bare question; it is scored by log-likelihood: accuracy, acc_norm and letter
(choices.py). Parts: `ja` (labels in Japanese), `Kshot` (up to 20 training questions as worked examples), `written`.
"""

from yosegi.tasks.readers.choices import Choices, read_choices
from yosegi.tasks.readers.data import Hub, Row, Source


def _from_hub(row: Row) -> Row:
    choices, right = read_choices(row["choices"], row["answerKey"])
    return {"id": f"arc-easy/{row['id']}", "question": row["question"], "choices": choices, "answer_index": right}


REVISION, SPLITS = "210d026faf9955653af8916fad021475a3f00453", ("train", "test")


class ArcEasy(Choices):
    """Scored by the likeliest choice."""

    kind = "arc_easy"
    source = Source(
        "ARC-Easy",
        {split: f"knowledge_en/arc_easy_{split}" for split in SPLITS},
        ("id", "question", "choices", "answer_index"),
        {split: Hub("allenai/ai2_arc", REVISION, _from_hub, split, "ARC-Easy") for split in SPLITS},
        held_out=150,
        apart="question",
    )
    headline, most_shots = "accuracy", 20
