"""GSM8K: grade-school word problems in English, answered with reasoning and one number.

Cobbe et al. 2021, "Training Verifiers to Solve Math Word Problems", arXiv:2110.14168. MIT licence.
Data: math_en/gsm8k_train and math_en/gsm8k_test in the data folder, else openai/gsm8k ("main") on the Hub.

A model learns to write the official solution without its <<48/2=24>> calculator marks, and "#### answer" at the end.
"""

import re
from functools import partial

from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import data
from yosegi.tasks.readers.answers import last_number, same_number
from yosegi.tasks.readers.data import Hub, Row

FIELDS = ("id", "question", "solution", "answer")
VALIDATION = 200  # training rows, those whose ids hash highest, that are the validation split and never trained on


class Gsm8K(Task):
    """Scored by the final number alone, however it is written and however it was reached."""

    name = "gsm8k"
    max_new_tokens = 400
    stop = ("\nQuestion:",)

    def examples(self, split: str) -> list[Example]:
        """The problems of a split, in upstream order."""
        file = "test" if data.known(split) == "test" else "train"
        rows = data.rows(f"math_en/gsm8k_{file}", HUB[file], f"GSM8K ({file})", FIELDS)
        if file == "train":
            rows = data.carve(rows, VALIDATION)[split == "validation"]
        return [_example(row) for row in rows]

    def score(self, example: Example, prediction: str) -> Score:
        """1 if the prediction ends up with the right number."""
        answer = last_number(prediction)
        return Score(float(same_number(answer or "", example.answers[0])), answer)


def _example(row: Row) -> Example:
    solution = re.sub(r"<<.*?>>", "", row["solution"])
    prompt, target = f"Question: {row['question']}\nAnswer:", f" {solution}\n#### {row['answer']}"
    return Example(row["id"], prompt, target, (row["answer"],))


def _from_hub(split: str, number: int, raw: Row) -> Row:
    solution, _, answer = raw["answer"].rpartition("####")
    return {
        "id": f"gsm8k/{split}/{number}",
        "question": raw["question"],
        "solution": solution.strip(),
        "answer": answer.strip().replace(",", ""),
    }


HUB = {
    split: Hub("openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866", partial(_from_hub, split), split, "main")
    for split in ("train", "test")
}
