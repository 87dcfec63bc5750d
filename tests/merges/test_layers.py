"""Layers come stacked, padded and scaled, one at a time, and as often as asked."""

import torch

from yosegi.core.expert import Expert
from yosegi.merges._layers import Layers
from yosegi.progress import Bar


def test_each_layer_is_that_of_its_experts(make):
    experts = [make("a", 1), make("b", 3, layers=["v", "q"]), make("c", 2, layers=["q"], scale=2.0)]
    layers = Layers(experts, [0.5, -1.0, 2.0])
    assert len(layers) == 3 and layers.experts == ["a", "b", "c"]
    for _ in range(2):
        assert [layer.name for layer in layers] == ["q", "v", "k"]
    result = {layer.name: layer for layer in layers}
    assert [result[n].experts for n in "qvk"] == [("a", "b", "c"), ("a", "b"), ("a",)]
    assert result["q"].w_E.tolist() == [0.5, -1.0, 2.0] and result["k"].w_E.tolist() == [0.5]
    q = result["q"]
    assert q.A_ERI.shape == (3, 3, 7) and q.B_EOR.shape == (3, 9, 3) and not q.A_ERI[0, 1:].any()
    for e, expert in enumerate(experts):
        torch.testing.assert_close(q.B_EOR[e] @ q.A_ERI[e], expert.delta("q"))


def test_laying_the_factors_side_by_side_copies_nothing(make):
    layer = next(iter(Layers([make("a"), make("b")], [1, 1])))
    assert layer.B_EOR.movedim(0, 1).flatten(1).data_ptr() == layer.B_EOR.data_ptr()


def test_namesakes_are_told_apart(make):
    layers = Layers([make(name) for name in ("a", "a#2", "b", "a", "a")], [1] * 5)
    assert layers.experts == ["a", "a#2", "b", "a#3", "a#4"]


def test_the_bar_counts_every_pass(make):
    bar = Bar("merge", 0)
    layers = Layers([make("a")], [1.0], bar)
    for _ in range(3):
        list(layers)
    assert bar.done == bar.total == 9


def test_only_the_layer_in_turn_is_read(make):
    expert, read = make("a"), []

    class Watched(dict):
        def __getitem__(self, layer):
            read.append(layer)
            return super().__getitem__(layer)

    stream = iter(Layers([Expert("a", Watched(expert.factors))], [1.0]))
    assert read == []
    next(stream)
    assert read == ["q"]
