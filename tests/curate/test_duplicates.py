"""MinHash against the Jaccard similarity itself."""

import random

import numpy as np
import pytest

from tests.conftest import each
from yosegi.curate import duplicates
from yosegi.curate.duplicates import Duplicates, plain, rows_of
from yosegi.errors import Invalid

LETTERS = "".join(chr(0x4E00 + i) for i in range(500)) + "あいうえおかきくけこ"


def text(length, seed):
    return "".join(random.Random(seed).choices(LETTERS, k=length))


def grams(words, n=5):
    words = plain(words)
    return {words[i : i + n] for i in range(max(1, len(words) - n + 1))}


def jaccard(a, b):
    return len(grams(a) & grams(b)) / len(grams(a) | grams(b))


@each("shared", [0, 1200, 1700, 1900, 2000])
def test_the_share_of_equal_numbers_is_the_similarity(shared):
    seen = Duplicates(0.8)
    errors = []
    for trial in range(8):
        a = text(2000, 10 * trial)
        b = a[:shared] + text(2000 - shared, 10 * trial + 1)
        errors.append(seen.signature(a).similarity(seen.signature(b).numbers) - jaccard(a, b))
    assert abs(np.mean(errors)) < 0.04 and np.max(np.abs(errors)) < 0.15


@each("threshold", [0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_a_pair_at_the_threshold_shares_a_band(threshold):
    rows = rows_of(threshold)
    result = 1 - (1 - threshold**rows) ** (duplicates.NUMBERS // rows)
    assert (
        result >= duplicates.RECALL and len(Duplicates(threshold).signature("鉄道").keys) == duplicates.NUMBERS // rows
    )
    if rows < duplicates.NUMBERS:
        more = rows + 1
        assert 1 - (1 - threshold**more) ** (duplicates.NUMBERS // more) < duplicates.RECALL


def test_bands_find_what_they_promise():
    """Measured, not computed: signatures whose numbers agree with probability 0.8."""
    draw, seen = np.random.default_rng(0), Duplicates(0.8)
    result = 0
    for _ in range(400):
        a = draw.integers(0, 2**32, duplicates.NUMBERS, dtype=np.uint32)
        b = np.where(
            draw.random(duplicates.NUMBERS) < 0.8, a, draw.integers(0, 2**32, duplicates.NUMBERS, dtype=np.uint32)
        )
        bands = range(0, duplicates.NUMBERS - seen.rows + 1, seen.rows)
        result += any((a[s : s + seen.rows] == b[s : s + seen.rows]).all() for s in bands)
    assert result / 400 > 0.95


def test_case_width_blanks_and_marks_make_no_difference():
    seen = Duplicates(0.8)
    a, b = seen.signature("鉄道事業法（昭和六十一年）ＡＢＣ"), seen.signature("鉄道 事業法、\n昭和六十一年　abc。")
    assert a.keys == b.keys and a.similarity(b.numbers) == 1


def test_short_and_empty_pages():
    seen = Duplicates(0.8)
    assert seen.signature("。、 \n") is None
    assert seen.signature("鉄").keys == seen.signature("鉄。").keys != seen.signature("道").keys


def test_a_long_page_in_stretches_is_the_same_page(monkeypatch):
    page = text(3000, 5)
    whole = Duplicates(0.8).signature(page)
    monkeypatch.setattr(duplicates, "CHUNK", 7)
    assert Duplicates(0.8).signature(page).keys == whole.keys


def test_impossible_thresholds():
    for bad in (0, -1, 1.01):
        with pytest.raises(Invalid, match="near_duplicates"):
            Duplicates(bad)
    with pytest.raises(Invalid, match="grams=0"):
        Duplicates(0.8, 0)
