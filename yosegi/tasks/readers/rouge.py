"""Rouge-L: how much of a reference a text contains, in order. The best of several references counts.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", computed by the package rouge-score.
F1 = 2PR / (P + R), with P and R the longest common subsequence over the length of the prediction and of the reference.

The package's own tokenizer drops everything but a-z and 0-9, so it scores identical Japanese texts 0. Ours is equal to it in
English (lower case, words, Porter's stemmer, as Super-NaturalInstructions is scored) and splits scripts that are written
without spaces into characters. It does not depend on what is installed.
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
    """Returns the best Rouge-L F1 of a prediction. An empty prediction is no answer."""
    prediction = fold(prediction)
    if not prediction:
        return Score(0.0)
    references = [fold(reference) for reference in references]
    if prediction in references:  # also when it is all punctuation and has no tokens
        return Score(1.0, prediction)
    values = [_scorer().score(reference, prediction)["rougeL"].fmeasure for reference in references]
    return Score(max(values, default=0.0), prediction)


def fold(text: str) -> str:
    """Returns a text in NFKC, without the spaces around it."""
    return unicodedata.normalize("NFKC", text).strip()


def tokens(text: str) -> list[str]:
    """Returns words, and single characters of scripts without spaces, each letter with its marks; punctuation is left out."""
    text = fold(text).lower()
    if text.isascii() or not any(unicodedata.category(char)[0] == "M" for char in text):
        return TOKEN.findall(text)
    pieces: list[str] = []  # characters, each with the marks on it
    for char in text:
        if unicodedata.category(char)[0] == "M" and pieces and pieces[-1][0].isalnum():
            pieces[-1] += char
        else:
            pieces.append(char)
    starts = TOKEN.finditer("".join(piece[0] for piece in pieces))
    return ["".join(pieces[match.start() : match.end()]) for match in starts]


def words(text: str) -> float:
    """Returns the length of a text in words; two characters of Japanese count as one."""
    return sum(0.5 if re.match(f"[{UNSPACED}]", token) else 1 for token in tokens(text))


class Tokenizer:
    """The tokenizer that rouge-score uses."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stemmer = PorterStemmer()

    def tokenize(self, text: str) -> list[str]:
        """Returns the tokens, with English words of more than three letters cut to their stems."""
        return [self.stemmer.stem(token) if token.isascii() and len(token) > 3 else token for token in tokens(text)]


@lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # slow to import, and only needed once something is scored

    return RougeScorer(["rougeL"], tokenizer=Tokenizer())
