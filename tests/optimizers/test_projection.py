"""Projections against the dense SVD."""

import pytest
import torch

from tests.conftest import each
from yosegi.optimizers._projection import KINDS, REFRESHES, Projection, best_energy, energy, find, sides

TALL, WIDE, SQUARE = (12, 7), (7, 12), (9, 9)


def gradient(shape, decay=0.6):
    """Singular values that fall, so that the leading directions are well apart from the others."""
    U, V = (torch.linalg.qr(torch.randn(n, min(shape), dtype=torch.float64)).Q for n in shape)
    return ((U * decay ** torch.arange(min(shape))) @ V.mT).float()


def truncated(G, rank):
    U, S, V = torch.linalg.svd(G.double(), full_matrices=False)
    return (U[..., :rank] * S[..., None, :rank]) @ V[..., :rank, :]


@each(
    "kind, shape, low",
    [
        ("std", TALL, (12, 3)), ("std", WIDE, (3, 12)), ("std", SQUARE, (9, 3)),
        ("reverse_std", TALL, (3, 7)), ("reverse_std", WIDE, (7, 3)), ("reverse_std", SQUARE, (3, 9)),
        ("left", TALL, (3, 7)), ("left", WIDE, (3, 12)), ("right", TALL, (12, 3)), ("right", WIDE, (7, 3)),
        ("full", TALL, (3, 3)), ("full", WIDE, (3, 3)),
    ],
)  # fmt: skip
def test_which_side_is_reduced(kind, shape, low):
    G = gradient(shape)
    assert find(G, 3, kind).project(G).shape == low
    assert sides(kind, *shape) == (low[0] == 3, low[1] == 3)


@each("shape", [TALL, WIDE, SQUARE])
@each("kind", KINDS)
@each("rank", [1, 3, 7, 50])  # reverse_std of a wide matrix at full rank is where the reference crashes
def test_there_and_back_is_the_best_approximation_of_that_rank(kind, shape, rank):
    G = gradient(shape)
    found = find(G, rank, kind)
    torch.testing.assert_close(found.lift(found.project(G)).double(), truncated(G, rank), atol=1e-6, rtol=0)
    for side in filter(lambda s: s is not None, found):
        assert side.shape[-1] == min(rank, *shape)
        torch.testing.assert_close(side.mT @ side, torch.eye(side.shape[-1]), atol=1e-5, rtol=0)


@each("shape", [TALL, WIDE])
@each("kind", KINDS)
def test_iteration_ends_where_the_svd_is(kind, shape):
    G = gradient(shape)
    found = find(G, 3, kind, "subspace", steps=20)
    torch.testing.assert_close(found.lift(found.project(G)).double(), truncated(G, 3), atol=1e-5, rtol=0)


def test_a_step_from_where_it_was_gets_closer_and_costs_no_svd(monkeypatch):
    G = gradient((40, 60), decay=0.9)
    best = best_energy(G, 8)
    monkeypatch.setattr(torch.linalg, "svd", None)
    start = find(torch.randn(40, 60), 8, refresh="subspace")
    shares = [energy(start.project(G), G)]
    for _ in range(4):
        start = find(G, 8, refresh="subspace", before=start)
        shares.append(energy(start.project(G), G))
    assert shares == sorted(shares) and shares[0] < 0.5 * best and 0.99 * best < shares[-1] <= best + 1e-6


@each("refresh", REFRESHES)
def test_a_direction_keeps_its_sign(refresh):
    G = gradient(WIDE)
    before = find(G, 3)
    for turned in (G, -G, G.roll(1, 1)):
        after = find(turned, 3, refresh=refresh, before=before)
        assert bool(((after.left_MR * before.left_MR).sum(0) >= 0).all())


def test_without_aligning_it_is_what_the_svd_gives():
    G = gradient(WIDE)
    before = find(-G, 3)
    free, kept = (find(G, 3, before=before, align=align) for align in (False, True))
    assert torch.equal(free.left_MR, find(G, 3).left_MR)
    torch.testing.assert_close(free.left_MR.abs(), kept.left_MR.abs())


@each("refresh", REFRESHES)
@each("kind", KINDS)
def test_a_stack_is_its_matrices(refresh, kind):
    G = torch.stack([gradient(WIDE) for _ in range(3)])
    found = find(G, 3, kind, refresh, steps=20)
    for e in range(3):
        one = find(G[e], 3, kind, refresh, steps=20)
        torch.testing.assert_close(found.lift(found.project(G))[e], one.lift(one.project(G[e])), atol=1e-5, rtol=0)


@each("shape", [(2, *TALL), TALL, WIDE])
@each("kind", KINDS)
def test_adding_in_one_pass(shape, kind):
    G, W = torch.randn(shape), torch.randn(shape)
    found = find(G, 3, kind)
    low = torch.randn(found.project(G).shape)
    want = 0.9 * W - 0.25 * found.lift(low)
    found.add(W, low, 0.9, -0.25)
    torch.testing.assert_close(W, want)


def test_a_moment_turns_as_the_gradient_does():
    """Of a gradient that lies in both sets of directions the turned projection is the projection by the new ones."""
    G = truncated(gradient(WIDE), 3).float()
    Q = torch.linalg.qr(torch.randn(3, 3)).Q
    for kind in ("left", "right", "full"):
        old = find(G, 3, kind)
        new = Projection(*(None if side is None else side @ Q for side in old))
        torch.testing.assert_close(new.turned(old, old.project(G)), new.project(G), atol=1e-6, rtol=0)
        assert bool((new.turned(old, old.project(G).square(), squares=True) >= 0).all())


def test_squares_turn_as_the_squares_of_independent_numbers_do():
    old, new = (Projection(torch.linalg.qr(torch.randn(6, 4)).Q, None) for _ in range(2))
    variance = torch.rand(4, 1) * 4
    samples = torch.randn(4, 200_000) * variance.sqrt()
    seen = (new.left_MR.mT @ old.left_MR @ samples).square().mean(1, keepdim=True)
    torch.testing.assert_close(new.turned(old, variance, squares=True), seen, rtol=0.02, atol=0.005)


@each("refresh", REFRESHES)
def test_a_gradient_of_zeros_has_directions_too(refresh):
    G = torch.zeros(5, 8)
    found = find(G, 3, refresh=refresh)
    torch.testing.assert_close(found.left_MR.mT @ found.left_MR, torch.eye(3))
    assert energy(found.project(G), G) == best_energy(G, 3) == 1


def test_the_energy_is_of_the_largest_singular_values():
    G = gradient(WIDE)
    S = torch.linalg.svdvals(G.double()).square()
    assert best_energy(G, 3) == pytest.approx(float(S[:3].sum() / S.sum()), abs=1e-6)
    assert energy(find(G, 3).project(G), G) == pytest.approx(best_energy(G, 3), abs=1e-6)


def test_bf16_stays_bf16():
    G = gradient(WIDE).bfloat16()
    assert find(G, 3).left_MR.dtype == torch.bfloat16 and find(G, 3).project(G).isfinite().all()


def test_it_leaves_the_random_numbers_of_others_alone():
    state = torch.get_rng_state()
    find(torch.ones(5, 8), 3, refresh="subspace")
    assert torch.equal(torch.get_rng_state(), state)
