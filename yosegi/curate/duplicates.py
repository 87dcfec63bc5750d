"""Near-duplicates: pages whose sets of character n-grams overlap by a threshold or more, found without comparing all pairs.

Broder 1997, "On the resemblance and containment of documents", doi.org/10.1109/SEQUEN.1997.666900, and for training data Lee
et al. 2022, "Deduplicating Training Data Makes Language Models Better", arXiv:2107.06499. A page is a set of n-grams of its
characters (after NFKC, without case, blanks and punctuation, so that it works for Japanese); MinHash (the library `rensa`)
turns it into P numbers; the share of them that two pages have in common is on average their Jaccard similarity. Numbers are
grouped into bands of R; pages with an equal band are candidates, and are compared by all P numbers.

The first of two such pages is kept. The index of kept pages is a table on disk (`ledger.py`).
"""

import re
import unicodedata
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from yosegi.errors import Invalid, MissingExtra

NUMBERS = 128
SEED = 1
RECALL = 0.97
"""The least probability that a pair right at the threshold shares a band."""
CHUNK = 1 << 16
"""The number of characters whose n-grams are in memory at a time."""


@dataclass(frozen=True)
class Signature:
    """A page as `numbers` [P] and one key for each band."""

    numbers: np.ndarray
    keys: list[int]

    def similarity(self, other: np.ndarray) -> float:
        """Returns the estimate of the Jaccard similarity; its standard error at 0.8 is 0.035."""
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
        """Returns the signature of a text; None if it has no letter and no digit."""
        text = plain(text)
        if not text:
            return None
        minhash = self._make(NUMBERS, SEED)
        for start in range(0, max(1, len(text) - self.grams + 1), CHUNK):
            part = text[start : start + CHUNK + self.grams - 1]
            last = max(1, len(part) - self.grams + 1)
            minhash.update(list({part[i : i + self.grams] for i in range(last)}))
        numbers = np.array(minhash.digest(), dtype=np.uint32)
        starts = range(0, NUMBERS - self.rows + 1, self.rows)
        return Signature(numbers, [hash_of(numbers[start : start + self.rows].tobytes()) for start in starts])


def rows_of(threshold: float) -> int:
    """Returns the most numbers that a band can have so that a pair at the threshold is still found."""
    for rows in range(NUMBERS, 1, -1):
        if 1 - (1 - threshold**rows) ** (NUMBERS // rows) >= RECALL:
            return rows
    return 1


def hash_of(content: bytes) -> int:
    """Returns a number of 64 bits with a sign, the same on every machine."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big", signed=True)


def plain(text: str) -> str:
    """Returns the letters and digits of a text, in NFKC and without case."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())
