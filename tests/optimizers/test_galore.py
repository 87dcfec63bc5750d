"""GaLore against its plain loop, and against the ways in which a training is cut: resumed, in pieces, by layer, on two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from tests.conftest import each
from yosegi.errors import Invalid, UnknownName
from yosegi.optimizers._projection import KINDS, best_energy
from yosegi.optimizers.galore import Galore

STEPS = 9
HYPER = {"lr": 0.05, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "rank": 3, "update_gap": 4}
"""eps is large for "full": at a refresh its projected gradient is diagonal, and Adam would blow up the rounding beside it."""


def weights():
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((6, 10), (10, 6), (7,))]


def groups(ps, **more):
    return [{"params": ps[:2], **more}, {"params": ps[2:], "rank": None}]


def gradients(ps, t):
    generator = torch.Generator().manual_seed(100 + t)
    return [torch.randn(p.shape, generator=generator) for p in ps]


def step(optimizer, ps, t):
    """Through autograd, as a training does."""
    sum((p * g).sum() for p, g in zip(ps, gradients(ps, t), strict=True)).backward()
    optimizer.step()
    optimizer.zero_grad()


def train(ps, optimizer, steps=range(STEPS)):
    for t in steps:
        step(optimizer, ps, t)
    return ps


def same(ps, qs):
    return all(torch.equal(p, q) for p, q in zip(ps, qs, strict=True))


def reference(kind, scale):
    """The paper's algorithm, one weight at a time, in float64."""
    ps, (b1, b2), lr = [p.detach().double() for p in weights()], HYPER["betas"], HYPER["lr"]
    for i, W in enumerate(ps):
        m = v = left = right = 0
        for t in range(STEPS):
            G = gradients(ps, t)[i].double()
            if i < 2:
                if t % HYPER["update_gap"] == 0:
                    U, _, V = torch.linalg.svd(G, full_matrices=False)
                    new = U[:, : HYPER["rank"]], V[: HYPER["rank"]].mT
                    if t:  # a direction keeps its sign
                        new = [
                            n * torch.where((n * o).sum(0) < 0, -1.0, 1.0)
                            for n, o in zip(new, (left, right), strict=True)
                        ]
                    left, right = new
                tall = W.shape[0] >= W.shape[1]
                use_left = {"std": not tall, "reverse_std": tall, "left": True, "right": False, "full": True}[kind]
                L = left if use_left else torch.eye(len(G), dtype=G.dtype)
                Q = right if kind == "full" or not use_left else torch.eye(G.shape[1], dtype=G.dtype)
                G = L.mT @ G @ Q
            m, v = b1 * m + (1 - b1) * G, b2 * v + (1 - b2) * G * G
            N = (m / (1 - b1 ** (t + 1))) / ((v / (1 - b2 ** (t + 1))).sqrt() + HYPER["eps"])
            if i < 2:
                N = scale * (L @ N @ Q.mT)
            W = (1 - lr * HYPER["weight_decay"]) * W - lr * N
        ps[i] = W
    return ps


@each("kind", KINDS)
def test_is_the_papers_algorithm(kind):
    ps = weights()
    train(ps, Galore(groups(ps), **HYPER, projection=kind, scale=0.5))
    for got, want in zip(ps, reference(kind, 0.5), strict=True):
        torch.testing.assert_close(got.double(), want, atol=2e-5, rtol=0)


def test_at_full_rank_it_is_adam_in_a_turned_basis():
    """Not Adam itself: its square roots are taken in another basis. Turned there and back, it is."""
    W = nn.Parameter(torch.randn(5, 8))
    before = W.detach().clone()
    G = torch.randn(5, 8)
    U = torch.linalg.svd(G).U
    turned, plain = nn.Parameter(U.mT @ before), nn.Parameter(before.clone())
    W.grad, turned.grad, plain.grad = G, U.mT @ G, G.clone()
    Galore([W], 0.1, rank=99, update_gap=1, scale=1.0).step()
    torch.optim.AdamW([turned], lr=0.1, weight_decay=0).step()
    torch.optim.AdamW([plain], lr=0.1, weight_decay=0).step()
    torch.testing.assert_close(W.data, (U @ turned).data, atol=1e-4, rtol=0)  # Adam's sign of a number near 0
    assert (W - plain).abs().max() > 0.01


@each("inner", ["adamw", "sgd", "adafactor", "rmsprop", torch.optim.Adagrad])
@each("at", [1, 4, 6])
def test_a_resumed_training_ends_with_the_same_bits(inner, at):
    how = {"lr": 0.05, "rank": 3, "update_gap": 4, "inner": inner, "refresh": "subspace", "weight_decay": 0.1}
    if inner == "sgd":
        how["inner_args"] = {"momentum": 0.9}
    ps, qs = weights(), weights()
    train(ps, Galore(groups(ps), **how))
    first = Galore(groups(qs), **how)
    train(qs, first, range(at))
    state = first.state_dict()
    tensors = {
        f"{i}.{key}": torch.as_tensor(value).contiguous() for i, m in state["state"].items() for key, value in m.items()
    }
    memory = {}
    for name, tensor in load(save(tensors)).items():
        i, key = name.split(".")
        memory.setdefault(int(i), {})[key] = tensor
    again = Galore(groups(qs), **how)
    again.load_state_dict({"state": memory, "param_groups": state["param_groups"]})
    train(qs, again, range(at, STEPS))
    assert same(ps, qs)


def test_the_state_is_as_small_as_the_directions():
    W = nn.Parameter(torch.randn(64, 256))
    optimizer = Galore([W], 0.1, rank=4)
    W.grad = torch.randn(64, 256)
    optimizer.step()
    state = optimizer.state[W]
    assert state["exp_avg"].shape == state["exp_avg_sq"].shape == (4, 256) and state["left"].shape == (64, 4)
    held = sum(v.numel() for v in state.values())
    assert held == 64 * 4 + 2 * 4 * 256 + 2 and "right" not in state  # m r + 2 n r, and two counters


def test_a_state_of_something_else_is_refused():
    ps = weights()
    other = torch.optim.AdamW(ps)
    train(ps, other, range(1))
    with pytest.raises((Invalid, ValueError)):
        Galore(groups(ps), 0.1).load_state_dict(other.state_dict())
    plain = torch.optim.AdamW([{"params": ps[:2]}, {"params": ps[2:]}])
    plain.load_state_dict({"state": other.state_dict()["state"], "param_groups": plain.state_dict()["param_groups"]})
    with pytest.raises(Invalid, match="not of GaLore"):
        Galore(groups(ps), 0.1).load_state_dict(plain.state_dict())


def test_nothing_is_full_rank_unless_it_is_said():
    ps = weights()
    with pytest.raises(Invalid, match=r"shape \(7,\) is no matrix .* group with rank None"):
        Galore(ps, 0.1)
    optimizer = Galore(groups(ps), 0.1, rank=2)
    train(ps, optimizer, range(1))
    assert [("left" in m or "right" in m) for m in optimizer.state_dict()["state"].values()] == [True, True, False]


@each(
    "how, says",
    [
        ({"projection": "stdd"}, "No projection is called 'stdd'. Did you mean 'std'"),
        ({"refresh": "sdv"}, "Did you mean 'svd'"),
        ({"inner": "adamm"}, "No optimizer of torch is called 'adamm'"),
        ({"inner": "sgd", "betas": (0.9, 0.9)}, "No argument of sgd is called 'betas'"),
        ({"rank": 0}, "rank=0"),
        ({"update_gap": 0}, "update_gap=0"),
        ({"power_steps": 0}, "power_steps=0"),
        ({"lr": -1.0}, "lr=-1.0"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
    ],
)
def test_bad_arguments(how, says):
    with pytest.raises((Invalid, UnknownName), match=says):
        Galore([nn.Parameter(torch.randn(4, 4))], **{"lr": 0.1, **how})


def test_groups_are_told_once():
    optimizer = Galore([nn.Parameter(torch.randn(4, 4))], 0.1)
    with pytest.raises(Invalid, match="when it is made"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.randn(4, 4))]})


def test_each_group_has_its_own_way():
    a, b = nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.randn(6, 8))
    how = [{"params": [a], "rank": 1, "lr": 0.0}, {"params": [b], "rank": 2, "projection": "right", "scale": 2.0}]
    optimizer, before = Galore(how, 0.1), a.detach().clone()
    a.grad = b.grad = torch.randn(6, 8)
    optimizer.step()
    assert torch.equal(a, before) and optimizer.state[a]["left"].shape == (6, 1)
    assert optimizer.state[b]["right"].shape == (8, 2)


def test_what_is_set_later_is_heard():
    """A schedule writes into the groups; so may somebody who changes betas."""
    ps, qs = weights(), weights()
    slow = Galore(groups(ps), 0.1)
    slow.param_groups[0]["lr"] = slow.param_groups[1]["lr"] = 0.01
    slow.param_groups[0]["betas"] = slow.param_groups[1]["betas"] = (0.5, 0.5)
    train(ps, slow, range(3))
    assert same(ps, train(qs, Galore(groups(qs), 0.01, betas=(0.5, 0.5)), range(3)))


def test_a_weight_without_a_gradient_stays_and_its_turns_are_its_own():
    ps = weights()
    optimizer = Galore(groups(ps), **HYPER)
    before = ps[1].detach().clone()
    ps[0].grad = torch.randn(6, 10)
    optimizer.step()
    assert torch.equal(ps[1], before) and optimizer.refreshed == 1
    ps[1].grad = torch.randn(10, 6)
    optimizer.step()
    assert optimizer.refreshed == 2, "the second weight is looked at when its first gradient comes"


def test_micro_batches_make_the_same_step():
    ps, qs = weights(), weights()
    one, two = Galore(groups(ps), **HYPER), Galore(groups(qs), **HYPER)
    for t in range(STEPS):
        step(one, ps, t)
        for part in (0.5, 0.5):
            sum((q * g).sum() * part for q, g in zip(qs, gradients(qs, t), strict=True)).backward()
        two.step()
        two.zero_grad()
    assert same(ps, qs)


@each("inner", ["adamw", "sgd"])
def test_layer_by_layer_is_the_same_and_leaves_no_gradients(inner):
    how = {**HYPER, "inner": inner, "rotate_state": True}
    if inner == "sgd":
        how = {k: v for k, v in how.items() if k not in ("betas", "eps")} | {"inner_args": {"momentum": 0.9}}
    ps, qs = weights(), weights()
    whole, layered = Galore(groups(ps), **how), Galore(groups(qs), **how, per_layer=True)
    for t in range(STEPS):
        step(whole, ps, t)
        with layered.accumulate():
            sum((q * g).sum() / 2 for q, g in zip(qs, gradients(qs, t), strict=True)).backward()
        assert all(q.grad is not None for q in qs)
        sum((q * g).sum() / 2 for q, g in zip(qs, gradients(qs, t), strict=True)).backward()
        assert all(q.grad is None for q in qs), "freed as soon as used"
        layered.step()
    assert same(ps, qs)
    again = Galore(groups(weights()), **how)
    again.load_state_dict(layered.state_dict())
    assert again.state_dict()["state"].keys() == layered.state_dict()["state"].keys()
    layered.release()
    sum(q.sum() for q in qs).backward()
    assert same(ps, qs), "released, a backward pass moves nothing"


def test_turned_moments_go_with_the_directions():
    """A gradient of rank 3 that always is the same matrix, seen in directions that a refresh turns within its span."""
    G = torch.randn(8, 3) @ torch.randn(3, 10)
    finals = {}
    for rotate in (False, True):
        W = nn.Parameter(torch.zeros(8, 10))
        optimizer = Galore([W], 1.0, rank=3, update_gap=2, scale=1.0, inner="sgd", inner_args={"momentum": 0.9},
                           rotate_state=rotate)  # fmt: skip
        for t in range(6):
            W.grad = G.clone()
            if t == 2:  # turn what it knows: the next refresh finds the singular vectors again
                Q = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1))).Q
                kept, memory = optimizer._kept[W], optimizer._inners[0][0].state[optimizer._inners[0][1][0].seen]
                optimizer._kept[W] = kept._replace(left_MR=kept.left_MR @ Q)
                memory["momentum_buffer"] = Q.mT @ memory["momentum_buffer"]
            optimizer.step()
        finals[rotate] = W.detach().clone()
    plain = nn.Parameter(torch.zeros(8, 10))
    sgd = torch.optim.SGD([plain], lr=1.0, momentum=0.9)
    for _ in range(6):
        plain.grad = G.clone()
        sgd.step()
    torch.testing.assert_close(finals[True], plain.data, atol=1e-3, rtol=0)
    assert (finals[False] - plain).abs().max() > 0.1


def test_moments_that_nobody_knows_how_to_turn_are_refused():
    W = nn.Parameter(torch.randn(6, 8))
    optimizer = Galore([W], 0.1, rank=3, update_gap=1, inner="adafactor", rotate_state=True)
    W.grad = torch.randn(6, 8)
    optimizer.step()
    with pytest.raises(Invalid, match="rotate_state does not know how 'row_var'"):
        optimizer.step()


def test_adafactor_takes_steps_of_the_size_of_its_learning_rate():
    """It never sees the weight, so it must not scale its step by the size of one that is zero."""
    W = nn.Parameter(torch.randn(16, 24))
    before = W.detach().clone()
    optimizer = Galore([W], 0.1, rank=16, scale=1.0, inner="adafactor")
    W.grad = torch.randn(16, 24)
    optimizer.step()
    assert 0.02 < (W - before).square().mean().sqrt() < 0.5


def test_it_tells_what_its_looking_cost_and_found():
    W = nn.Parameter(torch.randn(20, 30))
    optimizer = Galore([W], 0.1, rank=5, update_gap=2, refresh="subspace", audit=True)
    for t in range(5):
        W.grad = torch.randn(20, 30, generator=torch.Generator().manual_seed(t))
        optimizer.step()
    assert optimizer.refreshed == 3 and optimizer.refresh_s > 0
    assert optimizer.attainable[W] == pytest.approx(best_energy(W.grad, 5), abs=1e-6)
    assert 0.5 * optimizer.attainable[W] < optimizer.captured[W] < optimizer.attainable[W]


def test_full_rank_weights_that_lie_otherwise_in_memory_resume():
    ps, qs = ([nn.Parameter(torch.ones(3, 4, 8).mT * 2)] for _ in range(2))
    one = Galore([{"params": ps, "rank": None}], 0.1)
    two = Galore([{"params": qs, "rank": None}], 0.1)
    for t in range(4):
        if t == 2:
            state = two.state_dict()
            memory = {i: {k: v.contiguous() for k, v in m.items()} for i, m in state["state"].items()}
            two = Galore([{"params": qs, "rank": None}], 0.1)
            two.load_state_dict({"state": memory, "param_groups": state["param_groups"]})
        step(one, ps, t)
        step(two, qs, t)
    assert same(ps, qs)


CHILD = """
import json, os, sys
import torch, torch.distributed as dist
from torch import nn
from yosegi.errors import Invalid
from yosegi.optimizers.galore import Galore
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + sys.argv[1] + "/meet", rank=int(sys.argv[2]), world_size=2)
for refresh in ("svd", "subspace"):
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(10, 6, bias=False), nn.Tanh(), nn.Linear(6, 4, bias=False)))
    ps = list(model.parameters())
    optimizer = Galore(ps, 0.05, rank=3, update_gap=2, refresh=refresh)
    for t in range(5):
        x = torch.randn(8, 10, generator=torch.Generator().manual_seed(t)).chunk(2)[dist.get_rank()]
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    try:
        Galore(ps, 0.05, per_layer=True)
        refused = False
    except Invalid:
        refused = True
    kept = [side.tolist() for p in ps for side in optimizer._kept[p] if side is not None]
    print(json.dumps({"weights": [p.tolist() for p in ps], "kept": kept, "refused": refused}))
"""


@pytest.mark.slow
def test_two_processes_find_the_same_directions_and_are_one(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    children = [
        subprocess.Popen([*command, str(rank)], env=environment, stdout=subprocess.PIPE, text=True) for rank in range(2)
    ]
    said = [child.communicate(timeout=120)[0].splitlines() for child in children]
    for refresh, one, other in zip(("svd", "subspace"), *said, strict=True):
        first, second = json.loads(one), json.loads(other)
        assert first == second and first["refused"] and len(first["kept"]) == 2
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(10, 6, bias=False), nn.Tanh(), nn.Linear(6, 4, bias=False))
        alone = Galore(model.parameters(), 0.05, rank=3, update_gap=2, refresh=refresh)
        for t in range(5):
            alone.zero_grad()
            model(torch.randn(8, 10, generator=torch.Generator().manual_seed(t))).square().mean().backward()
            alone.step()
        for got, want in zip(first["weights"], model.parameters(), strict=True):
            torch.testing.assert_close(torch.tensor(got), want.data, atol=1e-4, rtol=0)


def test_it_is_a_torch_optimizer():
    optimizer = Galore([nn.Parameter(torch.randn(4, 4))], 0.1)
    assert isinstance(optimizer, Galore) and isinstance(optimizer, torch.optim.Optimizer)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    W = optimizer.param_groups[0]["params"][0]

    def closure():
        optimizer.zero_grad()
        loss = W.square().sum()
        loss.backward()
        return loss.detach()

    losses = [float(optimizer.step(closure)) for _ in range(3)]
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[2]
