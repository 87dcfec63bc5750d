"""MGSM in Japanese: 250 problems of the GSM8K test set translated by hand, and a Japanese training set to go with it.

Shi et al. 2022, "Language Models are Multilingual Chain-of-Thought Reasoners", arXiv:2210.03057. CC BY 4.0.
Training questions: GSM8K's, machine-translated by Chen et al. 2023 (MathOctopus, arXiv:2310.20246).
Data: math_ja/mgsm_ja_test (else juletxara/mgsm on the Hub), and in the data folder only: math_ja/gsm8k_ja_train,
math_ja/mgsm_ja_exemplars and math_en/gsm8k_train, which the training rows are joined with.

The training rows have no Japanese solution. What a model learns to write is made of the calculator marks in the English
one: "48/2=24。48+24=72。答えは72です。" It is arithmetic without words; a solution without marks leaves 答えは72です。
The validation split holds the questions that validate GSM8K in English, so training on both languages leaks nothing.
"""

import re

from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import data
from yosegi.tasks.readers.answers import last_number, same_number
from yosegi.tasks.readers.data import Hub, Row

VALIDATION = 200  # as in gsm8k.py; a few of these have no translation


class MgsmJa(Task):
    """Scored by the final number alone: 答えは４２円です and 42 are the same answer."""

    name = "mgsm_ja"
    max_new_tokens = 256
    stop = ("\n問題",)

    def examples(self, split: str) -> list[Example]:
        """The problems of a split, in upstream order."""
        if data.known(split) == "test":
            return [_example(row) for row in _rows("math_ja/mgsm_ja_test", HUB)]
        english = _rows("math_en/gsm8k_train", None, "solution")
        marks = {row["id"]: re.findall(r"<<(.+?=.+?)>>", row["solution"]) for row in english}
        held = {row["id"] for row in data.carve(english, VALIDATION)[1]}
        rows = _rows("math_ja/gsm8k_ja_train", None, "gsm8k_train_index")
        pairs = [(row, f"gsm8k/train/{row['gsm8k_train_index']}") for row in rows]
        return [_example(row, marks.get(twin)) for row, twin in pairs if (twin in held) == (split == "validation")]

    def exemplars(self) -> list[Example]:
        """The eight official few-shot examples, solved in words."""
        return [_example(row) for row in _rows("math_ja/mgsm_ja_exemplars", None, "solution")]

    def score(self, example: Example, prediction: str) -> Score:
        """1 if the prediction ends up with the right number."""
        answer = last_number(prediction)
        return Score(float(same_number(answer or "", example.answers[0])), answer)


def _rows(name: str, hub: Hub | None, *more: str) -> list[Row]:
    return data.rows(name, hub, f"A part of the Japanese MGSM ({name})", ("id", "question", "answer", *more))


def _example(row: Row, marks: list[str] | None = None) -> Example:
    steps = "".join(f"{mark}。" for mark in marks or [])
    target = row.get("solution") or f"{steps}答えは{row['answer']}です。"
    return Example(row["id"], f"問題：{row['question']}\n答え：", target, (row["answer"],))


def _from_hub(number: int, raw: Row) -> Row:
    question, _, answer = raw["text"].rpartition("\t")
    return {"id": f"mgsm_ja/test/{number}", "question": question, "answer": answer.strip().replace(",", "")}


# The revision before the repository became Parquet: the authors' own file, one "question <tab> answer" a line.
HUB = Hub("juletxara/mgsm", "f52417ca77bd71e9888ddc29f92587660725d2b4", _from_hub, "test", files="mgsm_ja.tsv")
