"""Short answers in words, in Japanese or English: their prompts and how two of them are compared.

Exact match means equal after `normalise`. The normaliser is part of the result, so it has a number. F1 counts characters in
common: Japanese has no spaces between words.

Reading comprehension (`Reading`) is compared as JGLUE's own script does (Kurihara et al. 2022; the patch of squad_metrics.py in
https://github.com/yahoojapan/JGLUE/tree/main/fine-tuning/patch): in lower case, without 。 at the end, with runs of white space
as one space, and with quotes, the width of characters and all else as they are.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable

from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers.data import Row

NORMALISER = 1
"""Raised whenever `normalise` changes: scores under different numbers are not compared."""
RULE = f"normaliser {NORMALISER}"

EDGES = " \t\u3000.,;:!?\"'`()[]{}<>*。、，．・；：！？「」『』（）〔〕［］｛｝〈〉《》【】“”‘’…"
LABELS = {"ja": ("質問:", "回答:"), "en": ("Question: ", "Answer:")}


class Spans(Task):
    """A task whose answers are short spans of text: exact match, with F1 as a further metric."""

    metric = "exact_match"
    stop = ("\n",)

    def example(self, row: Row) -> Example:
        """Returns a question, after the text that it is about if there is one, and its accepted answers."""
        text = row.get("context")
        return example(row, text.replace(" [SEP] ", "\n").strip() + "\n\n" if text else "")

    def score(self, example: Example, prediction: str) -> Score:
        """Returns the exact match, and F1."""
        matched = exact(prediction, example.answers)
        return Score(matched.value, matched.answer, {"f1": f1(prediction, example.answers)})


class Reading(Spans):
    """A question about a text, of which the answer is a piece, scored as JGLUE scores JSQuAD."""

    rule = "JGLUE"
    max_new_tokens = 64

    def score(self, example: Example, prediction: str) -> Score:
        """Returns the exact match, and F1."""
        answer, golds = as_jglue(prediction.strip().split("\n")[0]), list(map(as_jglue, example.answers))
        best = max(_f1(Counter(answer), Counter(gold)) for gold in golds)
        return Score(float(bool(answer) and answer in golds), answer or None, {"f1": best})


def as_jglue(text: str) -> str:
    """Returns a text as JGLUE's script compares it."""
    return " ".join(text.lower().rstrip("。").split())


def example(row: Row, before: str = "") -> Example:
    """Returns a row of id, question and answers as an example; `before` stands before the question."""
    return Example(row["id"], prompt(row["question"], before), row["answers"][0], tuple(row["answers"]))


def prompt(question: str, before: str = "", lang: str = "ja") -> str:
    """Returns 質問:… and 回答: for the model to go on from; in English Question: … and Answer:."""
    ask, answer = LABELS[lang]
    return f"{before}{ask}{question}\n{answer}"


def normalise(text: str) -> str:
    """Returns the first line of a text in Unicode's NFKC, without punctuation and quotes around it. Case is kept."""
    lines = unicodedata.normalize("NFKC", text).strip().split("\n")
    return lines[0].strip(EDGES) or lines[0].strip()


def exact(prediction: str, answers: Iterable[str]) -> Score:
    """Returns 1 if the prediction is one of the accepted answers."""
    answer = normalise(prediction)
    return Score(float(bool(answer) and answer in map(normalise, answers)), answer or None)


def f1(prediction: str, answers: Iterable[str]) -> float:
    """Returns the best F1 of the prediction's characters against an accepted answer's, spaces left out."""
    return max((_f1(_characters(prediction), _characters(answer)) for answer in answers), default=0.0)


def _characters(text: str) -> Counter[str]:
    return Counter("".join(normalise(text).split()))


def _f1(predicted: Counter[str], gold: Counter[str]) -> float:
    shared = (predicted & gold).total()
    return 2 * shared / (predicted.total() + gold.total()) if shared else 0.0
