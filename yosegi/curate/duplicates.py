"""Near-duplicates: pages whose sets of character n-grams overlap by a threshold or more, found without comparing all pairs.

Broder 1997, "On the resemblance and containment of documents", doi.org/10.1109/SEQUEN.1997.666900, and for training data Lee
et al. 2022, "Deduplicating Training Data Makes Language Models Better", arXiv:2107.06499. A page is a set of n-grams of its
characters (after NFKC, without case, blanks and punctuation, so that it works for Japanese); MinHash (the library `rensa`)
makes of it P numbers, of which two pages share a part that is on average their Jaccard similarity. Numbers are bundled into
bands of R; pages that agree in a whole band are candidates, and are held against each other by all P numbers.

Of two such pages the first stays. The index of what stayed is a table on disk (`ledger.py`), not in memory.
"""

import re
import unicodedata
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from yosegi.errors import Invalid, MissingExtra

NUMBERS = 128
SEED = 1
FOUND = 0.97
"""Least probability that a pair right at the threshold shares a band."""
CHUNK = 1 << 16
"""Characters at a time whose n-grams are in memory."""


@dataclass(frozen=True)
class Signature:
    """A page as numbers: `numbers` [P] and one key a band."""

    numbers: np.ndarray
    keys: list[int]

    def similarity(self, other: np.ndarray) -> float:
        """The estimate of the Jaccard similarity; its standard error at 0.8 is 0.035."""
        return float((self.numbers == other).mean())


class Duplicates:
    """Args:
    threshold: the Jaccard similarity from which a page is a near-duplicate, above 0 and up to 1.
    grams: characters of one n-gram.
    """

    def __init__(self, threshold: float, grams: int = 5):
        if not 0 < threshold <= 1:
            raise Invalid(f"near_duplicates={threshold:g}: a similarity is above 0 and at most 1.")
        if grams < 1:
            raise Invalid(f"grams={grams}: an n-gram has at least one character.")
        try:
            from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]
        except ImportError as error:
            raise MissingExtra("Near-duplicates need 'rensa', which is not installed: pip install rensa.") from error
        self._make = RMinHash
        self.threshold, self.grams, self.rows = threshold, grams, rows_of(threshold)

    def signature(self, text: str) -> Signature | None:
        """None of a text without any letter or figure."""
        text = plain(text)
        if not text:
            return None
        minhash = self._make(NUMBERS, SEED)
        for start in range(0, max(1, len(text) - self.grams + 1), CHUNK):
            part = text[start : start + CHUNK + self.grams - 1]
            last = max(1, len(part) - self.grams + 1)
            minhash.update(list({part[i : i + self.grams] for i in range(last)}))
        numbers = np.array(minhash.digest(), dtype=np.uint32)
        keys = []
        for start in range(0, NUMBERS - self.rows + 1, self.rows):
            band = numbers[start : start + self.rows]
            keys.append(hash_of(band.tobytes()))
        return Signature(numbers, keys)


def rows_of(threshold: float) -> int:
    """The most numbers a band can have so that a pair at the threshold is still found."""
    for rows in range(NUMBERS, 1, -1):
        if 1 - (1 - threshold**rows) ** (NUMBERS // rows) >= FOUND:
            return rows
    return 1


def hash_of(content: bytes) -> int:
    """A number that fits a signed column of 64 bits, the same everywhere."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big", signed=True)


def plain(text: str) -> str:
    """What is left of a text for comparing: NFKC, no case, letters and figures alone."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())
