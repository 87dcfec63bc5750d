"""What the entry-wise merges share: blocks do not show, and memory does not grow with the number of experts."""

import pytest
import torch

from tests.conftest import each
from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid
from yosegi.merges import _entries, merge
from yosegi.merges._entries import Entries
from yosegi.merges._layers import Layers


@pytest.mark.parametrize("method", ["ties", "dare", "dare_ties", "magnitude_prune", "knots"])
@pytest.mark.parametrize("block", [1, 30, 2**18])
def test_the_size_of_a_block_does_not_show(make, monkeypatch, method, block):
    experts = [make("a"), make("b"), make("c", 3)]
    want = merge(experts, method, rank="full")
    monkeypatch.setattr(_entries, "BLOCK", block)
    got = merge(experts, method, rank="full")
    for layer in want.factors:
        torch.testing.assert_close(got.delta(layer), want.delta(layer), atol=1e-5, rtol=0)


def held(experts):
    """The most that one merge held at once, in bytes, as torch's allocator counted it."""
    with torch.profiler.profile(profile_memory=True) as profiler:
        merge(experts, "ties", measure=False)
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def test_memory_grows_by_factors_and_counts_and_not_by_deltas():
    O = I = 1024
    many = [Expert(str(e), {n: Factors(torch.randn(1, I), torch.randn(O, 1)) for n in "xy"}) for e in range(24)]
    few, more = held(many[:4]), held(many)
    delta = 4 * O * I
    assert few > delta and more < 5 * delta and more - few < 1.5 * delta, (few, more)


def test_a_trim_looks_at_all_layers_and_only_a_trim_does(make):
    experts = [make("a"), make("b")]
    for density, passes in ((0.5, 2), (1.0, 0)):
        layers = Layers(experts, [1.0, 1.0])
        Entries(density=density).look(layers)
        assert layers._begun == passes


@each("argument, wrong", [("density", 0), ("drop", 1.0), ("seed", "x"), ("rank", -3)])
def test_what_cannot_be_is_refused_before_any_work(argument, wrong):
    with pytest.raises(Invalid, match=f"{argument}={wrong!r}"):
        Entries(**{argument: wrong})
