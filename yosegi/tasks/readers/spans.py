"""Short answers in words, Japanese or not: how two of them are compared, and the forms in which they are asked for.

Exact match: equal after `normalise`, which is part of the result and therefore written down and numbered. F1: characters
in common, as JGLUE measures JSQuAD (Kurihara et al. 2022): Japanese has no spaces to count words by.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable

from yosegi.tasks import Score

NORMALISER = 1
"""Raised whenever `normalise` changes: scores of different numbers are not compared."""

EDGES = " \t\u3000.,;:!?\"'`()[]{}<>*。、，．・；：！？「」『』（）〔〕［］｛｝〈〉《》【】“”‘’…"


RULE = f"normaliser {NORMALISER}"
"""What a task that compares so says of its scores."""

FORMS = {"ja": ("質問:", "回答:"), "en": ("Question: ", "Answer:")}


def prompt(question: str, before: str = "", lang: str = "ja") -> str:
    """質問:…, then 回答: for the model to go on from; Question: …, Answer: in English."""
    ask, answer = FORMS[lang]
    return f"{before}{ask}{question}\n{answer}"


def normalise(text: str) -> str:
    """The first line of a text in Unicode's NFKC, without punctuation and quotes around it. Case is kept."""
    lines = unicodedata.normalize("NFKC", text).strip().split("\n")
    return lines[0].strip(EDGES) or lines[0].strip()


def exact(prediction: str, answers: Iterable[str]) -> Score:
    """1 if the prediction is one of the accepted answers."""
    said = normalise(prediction)
    return Score(float(bool(said) and said in map(normalise, answers)), said or None)


def f1(prediction: str, answers: Iterable[str]) -> float:
    """The best F1 of a prediction's characters against an accepted answer's, spaces left out."""
    return max((_f1(_characters(prediction), _characters(answer)) for answer in answers), default=0.0)


def _characters(text: str) -> Counter[str]:
    return Counter("".join(normalise(text).split()))


def _f1(said: Counter[str], gold: Counter[str]) -> float:
    common = (said & gold).total()
    return 2 * common / (said.total() + gold.total()) if common else 0.0
