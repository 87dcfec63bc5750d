"""Keywords: how often the words of a list occur, per thousand characters.

C4 drops each page with a word of a list, Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified
Text-to-Text Transformer", arXiv:1910.10683; here words may also be wanted, and each may have a weight (negative for unwanted
words). Text and words are compared after NFKC and without case. A word in Latin letters must stand alone ("rail" is not in
"trail"); a Japanese word counts anywhere, and of several that start at one place the longest.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from yosegi import files
from yosegi.errors import Corrupt, Invalid
from yosegi.scores import Score, Values


class Keywords(Score):
    """Args:
    words: a list of words; or a file: JSON (a list, or words with their weights) or text with a word per line.
    """

    name = "keywords"

    def __init__(self, words: str | Sequence[str]):
        self.weights = {_plain(word): weight for word, weight in _read(words).items() if _plain(word)}
        if not self.weights:
            raise Invalid(f"keywords: there is no word in {words!r}.")
        longest = sorted(self.weights, key=lambda word: (-len(word), word))
        self._pattern = re.compile("|".join(_alone(word) for word in longest))

    def of(self, texts: Sequence[str]) -> Values:
        """Returns the sum of the weights of the words that occur, per thousand characters that are not blank."""
        return [self._one(_plain(text)) for text in texts]

    def about(self) -> dict[str, object]:
        """Returns the words."""
        return {"name": self.name, "words": self.weights}

    def _one(self, text: str) -> float | None:
        length = sum(map(len, text.split()))
        total = sum(self.weights[match[0]] for match in self._pattern.finditer(text))
        return 1000 * total / length if length else None


def _read(words: str | Sequence[str]) -> dict[str, float]:
    if not isinstance(words, str):
        return dict.fromkeys(words, 1.0)
    path = Path(words)
    if path.suffix not in (".json", ".txt"):
        return dict.fromkeys(words.split(","), 1.0)
    if not path.is_file():
        raise Invalid(f"keywords: there is no file {words}.")
    if path.suffix == ".txt":
        try:
            return dict.fromkeys(path.read_text(encoding="utf-8-sig").splitlines(), 1.0)
        except UnicodeDecodeError as error:
            raise Corrupt(f"{path} is not UTF-8 text.") from error
    content = files.read_json(path)
    if isinstance(content, list) and all(isinstance(word, str) for word in content):
        return dict.fromkeys(content, 1.0)
    if isinstance(content, dict) and all(files.is_finite(weight) for weight in content.values()):
        return {word: float(weight) for word, weight in content.items()}
    raise Invalid(f"{path} must be a JSON list of words, or words with their weights: {json.dumps({'rail': 1})}.")


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _alone(word: str) -> str:
    """Returns the pattern of a word; a word that starts or ends with a Latin letter or a digit must end there."""
    before = "(?<![a-z0-9])" if re.match("[a-z0-9]", word) else ""
    after = "(?![a-z0-9])" if re.search("[a-z0-9]$", word) else ""
    return before + re.escape(word) + after
