"""Rouge-L: how much of a reference a text has, in order. The best of several references counts.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"; the arithmetic is the package rouge-score's.
F1 = 2PR / (P + R), with P and R the longest common subsequence over the length of the prediction and of the reference.

The package's own tokenizer drops everything but a-z and 0-9, so it scores identical Japanese texts 0. Ours is the same
for English (lower case, words, Porter's stemmer, as Super-NaturalInstructions is scored) and takes scripts that are
written without spaces one character at a time. It never asks what is installed: a score is the same everywhere.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from yosegi.tasks import Score

# Thai and Lao, 々 and 〇, kana, kanji
UNSPACED = "\u0e00-\u0eff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
TOKEN = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")


def score(prediction: str, references: Iterable[str]) -> Score:
    """The best Rouge-L F1 of a prediction. An empty one answers nothing."""
    prediction = fold(prediction)
    if not prediction:
        return Score(0.0)
    references = [fold(reference) for reference in references]
    if prediction in references:  # also when it is all punctuation and has no tokens
        return Score(1.0, prediction)
    values = [_scorer().score(reference, prediction)["rougeL"].fmeasure for reference in references]
    return Score(max(values, default=0.0), prediction)


def fold(text: str) -> str:
    """A text without the differences that do not count: full-width forms, spaces around it."""
    return unicodedata.normalize("NFKC", text).strip()


def tokens(text: str) -> list[str]:
    """Words, and single characters where words are not spaced apart; punctuation is left out."""
    return TOKEN.findall(fold(text).lower())


def words(text: str) -> float:
    """How long a text is. Two characters of Japanese make a word."""
    return sum(0.5 if re.match(f"[{UNSPACED}]", token) else 1 for token in tokens(text))


class Tokenizer:
    """What rouge-score asks for: an object with `tokenize`."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stemmer = PorterStemmer()

    def tokenize(self, text: str) -> list[str]:
        """Tokens with English words of more than three letters cut to their stems."""
        return [self.stemmer.stem(token) if token.isascii() and len(token) > 3 else token for token in tokens(text)]


@lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # slow to import, and only needed once something is scored

    return RougeScorer(["rougeL"], tokenizer=Tokenizer())
