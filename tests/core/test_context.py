"""What routers know, and what they decided."""

import torch

from yosegi.core.context import Context


def test_nothing_is_recorded_unless_asked():
    context, w = Context(), torch.rand(1, 3)
    assert context.record("q", w) is w
    assert context.weights is None


def test_the_second_forward_overwrites():
    context, first, second = Context(weights={}), torch.rand(1, 3), torch.rand(1, 3)
    context.record("q", first)
    assert context.record("q", second) is second
    context.record("k", first)
    assert list(context.weights) == ["q", "k"]
    assert context.weights["q"] is second
