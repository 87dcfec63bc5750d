"""MGSM in Japanese: 250 problems of the GSM8K test set translated by hand, and a Japanese training set to go with it.

Shi et al. 2022, "Language Models are Multilingual Chain-of-Thought Reasoners", arXiv:2210.03057. CC BY 4.0.
Training questions: GSM8K's, machine-translated by Chen et al. 2023 (MathOctopus, arXiv:2310.20246).
Data: math_ja/mgsm_ja_test (else juletxara/mgsm on the Hub), and in the data folder only: math_ja/gsm8k_ja_train,
math_ja/mgsm_ja_exemplars and math_en/gsm8k_train, whose rows the training rows are joined with.

The training rows have no Japanese solution. The target is made of the calculator marks in the English one:
"48/2=24。48+24=72。答えは72です。" It is arithmetic without words; a solution without marks leaves 答えは72です。
The validation split holds the questions that validate GSM8K in English, so training on both languages leaks nothing.
Parts: `Kshot` (up to the eight official worked examples, solved in words), `en` (labels in English).
"""

import re

from yosegi.tasks.readers import data
from yosegi.tasks.readers.data import Hub, Row, Source
from yosegi.tasks.readers.numbers import Numbers

ENGLISH = Source("GSM8K", {"train": "math_en/gsm8k_train"}, ("id", "solution"), held_out=200)  # as in gsm8k.py
FIELDS = ("id", "question", "answer")


def _from_hub(row: Row) -> Row:
    question, _, answer = row["text"].rpartition("\t")
    return {"question": question, "answer": answer.strip().replace(",", "")}


# The revision before the repository became Parquet: the authors' own file, one "question <tab> answer" a line.
REVISION = "f52417ca77bd71e9888ddc29f92587660725d2b4"
HUB = Hub("juletxara/mgsm", REVISION, _from_hub, "test", ids="mgsm_ja/test", files="mgsm_ja.tsv")


class MgsmJa(Numbers):
    """Scored by the final number alone: 答えは４２円です and 42 are the same answer."""

    kind = "mgsm_ja"
    source = Source("The Japanese MGSM", {"test": "math_ja/mgsm_ja_test"}, FIELDS, {"test": HUB})
    language = "ja"
    most_shots = 8
    stop = ("\n問題",)

    def rows(self, split: str) -> list[Row]:
        """Returns the problems of a split, with a solution made of marks where there is one."""
        if data.known(split) == "test":
            return self.source.rows("test")
        english = {row["id"]: row["solution"] for row in ENGLISH.rows(split)}
        fields = (*FIELDS, "gsm8k_train_index")
        japanese = data.rows("math_ja/gsm8k_ja_train", None, "GSM8K in Japanese", fields)
        twins = [(row, f"gsm8k/train/{row['gsm8k_train_index']}") for row in japanese]
        return [_solved(row, english[twin]) for row, twin in twins if twin in english]

    def shots(self) -> list[Row]:
        """Returns the eight official worked examples."""
        return data.rows("math_ja/mgsm_ja_exemplars", None, "The worked examples of MGSM", (*FIELDS, "solution"))

    def question(self, row: Row) -> str:
        """Returns the question as upstream writes it, spaces included."""
        return row["question"]


def _solved(row: Row, english: str) -> Row:
    steps = "".join(f"{mark}。" for mark in re.findall(r"<<(.+?=.+?)>>", english))
    return {**row, "solution": f"{steps}答えは{row['answer']}です。"}
