"""Experts as algebra: every operation against the dense delta."""

import pytest
import torch

from tests.conftest import each
from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName

SHAPES = {"q": (7, 5), "v": (4, 9)}


def make(rank=2, scale=0.5, **card):
    return Expert(
        "e", {n: Factors(torch.randn(rank, I), torch.randn(O, rank), scale) for n, (O, I) in SHAPES.items()}, card
    )


def dense(expert, layer):
    """Σ_r s B[:, r] A[r, :], one outer product at a time."""
    A, B, s = expert.factors[layer]
    return sum(s * torch.outer(B[:, r].double(), A[r].double()) for r in range(len(A)))


@each("layer", SHAPES)
def test_delta(layer):
    expert = make()
    assert expert.delta(layer).shape == SHAPES[layer]
    torch.testing.assert_close(expert.delta(layer).double(), dense(expert, layer), atol=1e-6, rtol=0)


def test_delta_is_fp32_even_of_bf16_factors():
    factors = Factors(torch.randn(2, 5).bfloat16(), torch.randn(7, 2).bfloat16(), 0.1)
    assert factors.dense().dtype == torch.float32
    torch.testing.assert_close(factors.dense(), 0.1 * factors.B_OR.float() @ factors.A_RI.float())


def test_delta_of_a_layer_it_does_not_have():
    with pytest.raises(UnknownName, match="No layer of expert 'e' is called 'k'. There are: q, v"):
        make().delta("k")


def test_pad_keeps_the_delta_to_the_bit():
    expert = make(rank=2)
    wide = expert.pad(5)
    assert wide.rank == 5 and expert.rank == 2
    for layer in SHAPES:
        A, B, s = wide.factors[layer]
        assert not A[2:].any() and not B[:, 2:].any()
        assert s == expert.factors[layer].scale
        torch.testing.assert_close(dense(wide, layer), dense(expert, layer), atol=0, rtol=0)


def test_pad_only_widens():
    assert make(rank=2).pad(2).rank == 2
    with pytest.raises(Invalid, match="Cannot pad expert 'e' of rank 3 to rank 2"):
        make(rank=3).pad(2)


def test_pad_levels_layers_of_different_rank():
    factors = {"q": Factors(torch.randn(1, 5), torch.randn(7, 1)), "v": Factors(torch.randn(3, 9), torch.randn(4, 3))}
    expert = Expert("e", factors)
    assert expert.rank == 3
    assert [f.rank for f in expert.pad(4).factors.values()] == [4, 4]


@each("by", [0.0, -1.0, 2.5])
def test_scale(by):
    expert = make()
    for layer in SHAPES:
        torch.testing.assert_close(dense(expert.scale(by), layer), by * dense(expert, layer))
    assert expert.scale(by).factors["q"].A_RI is expert.factors["q"].A_RI  # nothing is copied


def test_operations_leave_the_expert_as_it_was():
    expert = make(task="t")
    before = {layer: dense(expert, layer) for layer in SHAPES}
    assert expert.scale(3).pad(6).card == {"task": "t"}
    for layer in SHAPES:
        torch.testing.assert_close(dense(expert, layer), before[layer], atol=0, rtol=0)


@each("rank", [1, 3, 4, 50])
def test_from_delta_is_the_truncated_svd(rank):
    deltas = {layer: torch.randn(shape) for layer, shape in SHAPES.items()}
    expert = Expert.from_delta("e", deltas, rank, {"task": "t"})
    lost = total = 0.0
    for layer, delta in deltas.items():
        U, S, V = torch.linalg.svd(delta.double(), full_matrices=False)
        want = (U[:, :rank] * S[:rank]) @ V[:rank]
        torch.testing.assert_close(dense(expert, layer), want, atol=1e-5, rtol=0)
        lost += (delta - dense(expert, layer)).square().sum()
        torch.testing.assert_close((delta - want).square().sum(), S[rank:].square().sum())  # Eckart and Young
        total += delta.double().square().sum()
        kept = float(S[:rank].square().sum() / S.square().sum())
        assert expert.card["energy_kept"][layer] == pytest.approx(kept, abs=1e-5)
    assert expert.card["relative_error"] == pytest.approx(float((lost / total).sqrt()), abs=1e-5)
    assert expert.card["task"] == "t"


def test_from_delta_of_nothing_loses_nothing():
    expert = Expert.from_delta("e", {"q": torch.zeros(7, 5)}, 2)
    assert expert.card["relative_error"] == 0
    assert not expert.delta("q").any()


@each("rank", [0, -1])
def test_from_delta_needs_a_rank(rank):
    with pytest.raises(Invalid, match=f"rank={rank}"):
        Expert.from_delta("e", {"q": torch.randn(7, 5)}, rank)


@each(
    "card, tasks",
    [({}, ()), ({"task": None}, ()), ({"task": "gsm8k"}, ("gsm8k",)), ({"task": ["a", "b"]}, ("a", "b"))],
)
def test_tasks(card, tasks):
    assert Expert("e", {}, card).tasks == tasks


def test_an_expert_of_no_layers_has_rank_zero():
    assert Expert("e", {}).rank == 0
