"""Keywords: how often the words of a list occur, per thousand characters.

C4 drops each page with a word of a list, Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified
Text-to-Text Transformer", arXiv:1910.10683; here words may also be wanted, and each may have a weight (below 0 it is not
wanted). Text and words are compared after NFKC and without case. A word in Latin letters has to stand alone ("rail" is not in
"trail"); a Japanese one counts wherever it stands, and where several begin at one place the longest does.
"""

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from yosegi import files
from yosegi.errors import Corrupt, Invalid
from yosegi.scores import Score, Values


class Keywords(Score):
    """Args:
    words: a list of words; or a file: JSON (a list, or words with their weights) or text, a word a line.
    """

    name = "keywords"

    def __init__(self, words: str | Sequence[str]):
        self.weights = {_plain(word): weight for word, weight in _read(words).items() if _plain(word)}
        if not self.weights:
            raise Invalid(f"keywords: there is no word in {words!r}.")
        longest = sorted(self.weights, key=lambda word: (-len(word), word))
        self._pattern = re.compile("|".join(_alone(word) for word in longest))

    def of(self, texts: Sequence[str]) -> Values:
        """The weights of the words that occur, added up, per thousand characters that are not blank."""
        return [self._one(_plain(text)) for text in texts]

    def about(self) -> dict[str, object]:
        """The words."""
        return {"name": self.name, "words": self.weights}

    def _one(self, text: str) -> float | None:
        length = sum(map(len, text.split()))
        found = sum(self.weights[match[0]] for match in self._pattern.finditer(text))
        return 1000 * found / length if length else None


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
    found = files.read_json(path)
    if isinstance(found, list) and all(isinstance(word, str) for word in found):
        return dict.fromkeys(found, 1.0)
    if isinstance(found, dict) and all(_is_weight(weight) for weight in found.values()):
        return {word: float(weight) for word, weight in found.items()}
    raise Invalid(f"{path} has to be a JSON list of words, or words with their weights: {json.dumps({'rail': 1})}.")


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _alone(word: str) -> str:
    """A word that begins or ends with a Latin letter or a figure does not go on there."""
    before = "(?<![a-z0-9])" if re.match("[a-z0-9]", word) else ""
    after = "(?![a-z0-9])" if re.search("[a-z0-9]$", word) else ""
    return before + re.escape(word) + after
