"""What the optimizer sees: packed entries take the very steps they would take among all, and nothing else moves."""

import torch
from torch import nn

from tests.conftest import each
from yosegi.masks import Seen, hold
from yosegi.optimizers.adamw import adamw


def grads(steps=12):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(4, 5, 6, generator=generator) for _ in range(steps)]


def start():
    return nn.Parameter(torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(1)).mT)


@each("part", [None, (1, 3)])
def test_packed_is_held(part):
    moves = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(2)) < 0.4
    held, packed = start(), start()
    view = held if part is None else nn.Parameter(held.data[slice(*part)])
    optimizer = adamw([view], lr=0.05, weight_decay=0.1)
    hold(optimizer, {"x": view}, {"x": moves if part is None else moves[slice(*part)]})
    for grad in grads():
        view.grad = grad if part is None else grad[slice(*part)]
        optimizer.step()
    seen = Seen(packed, part, moves)
    small = adamw([seen.leaf], lr=0.05, weight_decay=0.1)
    for grad in grads():
        packed.grad = grad
        seen.take_grad()
        small.step()
        seen.write()
    torch.testing.assert_close(packed, held, rtol=1e-6, atol=1e-7)
    before = start()
    still = ~moves if part is None else torch.ones_like(moves)
    if part is not None:
        still[slice(*part)] = ~moves[slice(*part)]
    assert torch.equal(packed[still], before[still])
    assert small.state[seen.leaf]["exp_avg"].numel() == (~still).sum()  # the state has shrunk


def test_nothing_is_copied_where_all_move():
    whole = start()
    assert Seen(whole).leaf is whole
    part = Seen(whole, (1, 3))
    part.leaf.data.zero_()
    assert not whole[1:3].any() and whole[0].any()


def test_what_was_loaded_is_read():
    whole, moves = start(), torch.ones(4, 5, 6, dtype=torch.bool)
    seen = Seen(whole, None, moves)
    whole.data.fill_(7)
    seen.read()
    assert (seen.leaf == 7).all()
