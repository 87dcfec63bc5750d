"""The k-th largest of a stream is that of the sorted whole, to the last bit."""

import pytest
import torch

from tests.conftest import each
from yosegi.merges import _threshold
from yosegi.merges._threshold import kth_largest


def stream(vectors):
    """Blocks of different sizes, the vectors in turn."""
    pieces = [(e, piece) for e, v in enumerate(vectors) for piece in v.split([7, 13, len(v) - 20])]
    return lambda: iter(sorted(pieces, key=lambda piece: len(piece[1])))


@pytest.mark.parametrize("share", [1e-9, 0.01, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("counts", [2**19, 2**6])
def test_it_is_that_of_the_sorted_whole(monkeypatch, share, counts):
    monkeypatch.setattr(_threshold, "COUNTS", counts)
    vectors = [torch.randn(n) * scale for n, scale in ((1000, 1.0), (321, 1e-20), (50, 1e20))]
    got = kth_largest(stream(vectors), 3, share)
    for v, limit in zip(vectors, got, strict=True):
        k = max(1, int(share * len(v)))
        assert limit == v.abs().sort(descending=True).values[k - 1]


def test_equal_entries_and_zeros():
    v = torch.tensor([0.0] * 30 + [1.0] * 40 + [-1.0] * 10 + [2.0] * 5)
    for k, want in ((5, 2.0), (6, 1.0), (55, 1.0), (56, 0.0), (85, 0.0)):
        assert kth_largest(stream([v]), 1, (k + 0.5) / 85 if k < 85 else 1.0) == want


@each("vectors, passes", [(1, 2), (8, 2), (256, 3)])
def test_a_few_passes_are_enough(vectors, passes):
    seen = 0

    def blocks():
        nonlocal seen
        seen += 1
        return ((e, torch.randn(30, generator=torch.Generator().manual_seed(e))) for e in range(vectors))

    kth_largest(blocks, vectors, 0.5)
    assert seen == passes
