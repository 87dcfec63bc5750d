"""APOLLO against the paper's algorithm written down plainly, and what it promises of memory and resumes."""

import math

import pytest
import torch
from torch import nn

from tests.conftest import each
from yosegi.errors import Invalid, UnknownName
from yosegi.optimizers.apollo import Apollo


def gradients(shape, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) * (1 + t % 3) for t in range(steps)]


def plain(W, grads, P_of, lr, scale, growth, decay, by):
    """Algorithm 1 of the paper for one matrix, column after column; P_of(t) has the directions of step t."""
    W, m, v, before = W.clone().double(), 0.0, 0.0, None
    wide = W.shape[0] <= W.shape[1]
    for t, G in enumerate(grads):
        G = G.double() if wide else G.double().mT
        R = P_of(t).double() @ G
        m, v = 0.9 * m + 0.1 * R, 0.999 * v + 0.001 * R**2
        N = (m / (1 - 0.9 ** (t + 1))) / ((v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)
        step = G.clone()
        for j in range(G.shape[1]):
            step[:, j] *= scale * (N.norm() / R.norm() if by == "tensor" else N[:, j].norm() / R[:, j].norm())
        if before is not None and step.norm() > growth * before:
            step *= growth * before / step.norm()
        before = step.norm()
        W = (1 - lr * decay) * W - lr * (step if wide else step.mT)
    return W.float()


@each("by", ["channel", "tensor"])
@each("shape", [(6, 10), (10, 6)])
@each("growth", [1.01, None])
def test_it_is_the_papers_algorithm(shape, by, growth):
    W, grads = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(1))), gradients(shape, 7)
    start, seen = W.detach().clone(), []
    optimizer = Apollo([W], lr=0.03, weight_decay=0.1, rank=3, update_gap=3, scale=2.0, by=by, growth=growth)
    project = optimizer._project

    def watched(G, *rest):
        low = project(G, *rest)
        # of the identity the projection is the directions themselves
        seen.append(project(torch.eye(6), *rest[:-1], True))
        return low

    optimizer._project = watched
    for G in grads:
        W.grad = G.clone()
        optimizer.step()
    expected = plain(start, grads, lambda t: seen[t], 0.03, 2.0, growth or math.inf, 0.1, by)
    torch.testing.assert_close(W.detach(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(seen[0], seen[2]) and not torch.equal(seen[2], seen[3]), "drawn anew every third step"


def test_without_a_rank_it_is_adamw():
    ps = [nn.Parameter(torch.ones(5)) for _ in range(2)]
    ours = Apollo([{"params": ps[:1], "rank": None}], lr=0.1, weight_decay=0.2)
    torchs = torch.optim.AdamW(ps[1:], lr=0.1, weight_decay=0.2)
    for G in gradients(5, 6):
        for p, optimizer in zip(ps, (ours, torchs), strict=True):
            p.grad = G.clone()
            optimizer.step()
    torch.testing.assert_close(*ps)


def test_it_remembers_little_and_resumes_in_half_precision():
    def fresh():
        return nn.Parameter(torch.ones(64, 96, dtype=torch.bfloat16))

    grads = [G.bfloat16() for G in gradients((64, 96), 8)]
    straight, resumed = fresh(), fresh()
    optimizer, again = Apollo([straight], lr=0.1, rank=4, update_gap=3), Apollo([resumed], lr=0.1, rank=4, update_gap=3)
    for t, G in enumerate(grads):
        if t == 5:
            state = again.state_dict()
            again = Apollo([resumed], lr=0.1, rank=4, update_gap=3)
            again.load_state_dict(state)
        for p, one in ((straight, optimizer), (resumed, again)):
            p.grad = G.clone()
            one.step()
    assert torch.equal(straight, resumed)
    numbers = sum(x.numel() for x in optimizer.state[straight].values())
    assert numbers == 2 * 4 * 96 + 2, "two moments, a count and a length: no directions"


def test_no_step_is_much_longer_than_the_one_before():
    W, lengths = nn.Parameter(torch.zeros(4, 8)), []
    optimizer = Apollo([W], lr=1.0, rank=2, growth=1.5)
    for G in [torch.zeros(4, 8), *gradients((4, 8), 9)]:  # nothing at first: it may begin anywhere
        before = W.detach().clone()
        W.grad = G
        optimizer.step()
        lengths.append(float((W.detach() - before).norm()))
    assert lengths[0] == 0 and lengths[1] > 0
    assert all(b <= 1.5 * a * 1.0001 for a, b in zip(lengths[1:], lengths[2:], strict=False))
    assert any(b > 1.4 * a for a, b in zip(lengths[1:], lengths[2:], strict=False)), (
        "and it was held back at least once"
    )


def test_two_processes_draw_alike_and_two_weights_do_not():
    def low(seed, number):
        ps = [nn.Parameter(torch.zeros(4, 4)) for _ in range(2)]
        one = Apollo(ps, lr=0.1, rank=2, seed=seed)
        return one._project(torch.eye(4), ps[number], one.param_groups[0], 0, True)

    assert torch.equal(low(0, 0), low(0, 0))
    assert not torch.equal(low(0, 0), low(0, 1)) and not torch.equal(low(0, 0), low(1, 0))


@each(
    "how, said",
    [
        ({"lr": -1.0}, "neither can be negative"), ({"rank": 0}, "rank=0 has to be"), ({"update_gap": 1.5}, "update_gap=1.5"),
        ({"growth": 0.9}, "growth=0.9 would end with no steps"), ({"growth": "much"}, "growth=much"), ({"scale": "1e-1"}, "scale='1e-1' is"),
        ({"betas": 0.9}, "betas=0.9"), ({"betas": (0.9, 1.0)}, "two numbers"), ({"eps": "small"}, "eps='small'"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(how, said):
    with pytest.raises(Invalid, match=said):
        Apollo([nn.Parameter(torch.ones(2, 2))], **({"lr": 0.1} | how))


def test_names_and_shapes():
    with pytest.raises(UnknownName, match="No by is called 'columns'"):
        Apollo([nn.Parameter(torch.ones(2, 2))], lr=0.1, by="columns")
    with pytest.raises(Invalid, match="is no matrix"):
        Apollo([nn.Parameter(torch.ones(2))], lr=0.1)


@each("much", [1e-19, 1e-21, 1e-24, 1e-30])
def test_a_column_that_goes_dead_is_not_thrown_about(much):
    W = nn.Parameter(torch.zeros(64, 256))
    optimizer = Apollo([W], lr=1e-3, rank=16)
    for t, G in enumerate(gradients((64, 256), 10)):
        if t == 9:
            G[:, 3] *= much
        before = W.detach().clone()
        W.grad = G
        optimizer.step()
    moved = (W.detach() - before).norm(dim=0)
    assert moved[3] <= 1.1 * moved.median()
