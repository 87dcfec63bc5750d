"""GSM8K: grade-school word problems in English, answered with reasoning and one number.

Cobbe et al. 2021, "Training Verifiers to Solve Math Word Problems", arXiv:2110.14168. MIT licence. Data: math_en/gsm8k_train
and math_en/gsm8k_test in the data folder, else openai/gsm8k ("main") on the Hub. 200 training problems are the validation
split.

A model learns to write the official solution without its <<48/2=24>> calculator marks, then "#### answer". The score compares the
final number alone. Parts: `Kshot` (up to 8 training problems as worked examples), `ja` (labels in Japanese).
"""

import re

from yosegi.tasks.readers.data import Hub, Row, Source
from yosegi.tasks.readers.numbers import Numbers


def _from_hub(row: Row) -> Row:
    solution, _, answer = row["answer"].rpartition("####")
    return {"question": row["question"], "solution": solution.strip(), "answer": answer.strip().replace(",", "")}


REVISION, SPLITS = "740312add88f781978c0658806c59bc2815b9866", ("train", "test")


class Gsm8K(Numbers):
    """Scored by the final number, however it is written and however it was reached."""

    kind = "gsm8k"
    source = Source(
        "GSM8K",
        {split: f"math_en/gsm8k_{split}" for split in SPLITS},
        ("id", "question", "solution", "answer"),
        {split: Hub("openai/gsm8k", REVISION, _from_hub, split, "main", ids=f"gsm8k/{split}") for split in SPLITS},
        held_out=200,
    )
    most_shots = 8
    max_new_tokens = 400
    stop = ("\nQuestion:",)

    def question(self, row: Row) -> str:
        """Returns the question as upstream writes it, spaces included."""
        return row["question"]

    def target(self, row: Row) -> str:
        """Returns the solution without calculator marks, and the answer."""
        return re.sub(r"<<.*?>>", "", row["solution"]) + f"\n#### {row['answer']}"
