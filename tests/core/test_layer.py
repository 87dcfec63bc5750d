"""The one layer, held against the slowest, plainest code that could say it. fp64, so that equal means equal."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.conftest import each
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Factors
from yosegi.core.layer import ExpertLinear
from yosegi.core.mix import factors, outputs
from yosegi.core.router import Router
from yosegi.errors import Invalid

B, T, I, O, E, R = 2, 5, 12, 8, 4, 3
SHAPES = [(1, E), (B, 1, 1, E), (B, T, 1, E)]


class Fixed(Router):
    """Says what it was told, and remembers what it was shown."""

    def __init__(self, w):
        super().__init__()
        self.w, self.seen = w, []

    def forward(self, x, context):
        self.seen.append(x)
        return self.w


class Learnt(Router):
    """A softmax over a linear: something with parameters of its own."""

    def bind(self, bank):
        if not hasattr(self, "gate"):
            self.gate = nn.Linear(bank.A_ERI.shape[2], len(bank.names), dtype=bank.A_ERI.dtype)

    def forward(self, x, context):
        return self.gate(x).softmax(-1)[..., None, :]


def make(router, ranks=(R,) * E, rank=None, **options):
    bank = Bank(
        [f"e{e}" for e in range(len(ranks))],
        [()] * len(ranks),
        [Factors(torch.randn(r, I), torch.randn(O, r), 0.5 + e) if r else None for e, r in enumerate(ranks)],
        (O, I),
        rank,
    )
    layer = ExpertLinear(nn.Linear(I, O), bank, router, name="q", context=Context(weights={}), **options)
    layer.base.requires_grad_(False)
    return layer.double()


def x(*shape):
    return torch.randn(*(shape or (B, T)), I, dtype=torch.float64)


def weights(*shape):
    return torch.randn(*shape, dtype=torch.float64)  # negative ones too


def loop(layer, x, w):
    """Token by token, expert by expert, with the dense delta."""
    A, Bm, s = layer.bank.A_ERI, layer.bank.B_EOR, layer.bank.scale_E
    w = w[..., 0, :].expand(*x.shape[:-1], -1)
    y = layer.base(x).clone()
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for e in range(A.shape[0]):
                y[b, t] = y[b, t] + w[b, t, e] * s[e] * (Bm[e] @ A[e]) @ x[b, t]
    return y


def merge_first(layer, x, w):
    """Token by token: average A, average s B, and only then multiply."""
    A, Bm, s = layer.bank.A_ERI, layer.bank.B_EOR, layer.bank.scale_E
    w = w[..., 0, :].expand(*x.shape[:-1], -1)
    y = layer.base(x).clone()
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            A_bt = sum(w[b, t, e] * A[e] for e in range(A.shape[0]))
            B_bt = sum(w[b, t, e] * s[e] * Bm[e] for e in range(A.shape[0]))
            y[b, t] = y[b, t] + B_bt @ (A_bt @ x[b, t])
    return y


def same(got, want):
    torch.testing.assert_close(got, want, atol=1e-12, rtol=0)


@each("shape", SHAPES)
@each("ranks", [(3, 3, 3, 3), (1, 3, 2, 4), (2, None, 3, None)])
def test_outputs_is_the_loop(shape, ranks):
    w, x_I = weights(*shape), x()
    layer = make(Fixed(w), ranks)
    same(layer(x_I), loop(layer, x_I, w))


@each("shape", SHAPES)
def test_factors_is_merge_first(shape):
    w, x_I = weights(*shape), x()
    layer = make(Fixed(w), mix=factors)
    same(layer(x_I), merge_first(layer, x_I, w))


def test_the_two_mixes_differ_in_their_cross_terms():
    w, x_I = torch.full((1, E), 0.25, dtype=torch.float64), x()
    layer = make(Fixed(w))
    output = layer(x_I)
    layer.mix = factors
    assert (layer(x_I) - output).abs().max() > 0.1


def test_outputs_does_not_see_how_a_delta_is_factored_and_factors_does():
    w, x_I = weights(1, E), x()
    turn = torch.linalg.qr(torch.randn(R, R, dtype=torch.float64)).Q
    for mix, invariant in ((outputs, True), (factors, False)):
        layer = make(Fixed(w), mix=mix)
        before = layer(x_I)
        with torch.no_grad():
            layer.bank.A_ERI[1] = turn @ layer.bank.A_ERI[1]
            layer.bank.B_EOR[1] = layer.bank.B_EOR[1] @ turn.T
        assert torch.allclose(layer(x_I), before, atol=1e-10) == invariant


@each("mix", [outputs, factors])
@each("e", range(E))
def test_one_hot_weights_are_that_expert_alone(mix, e):
    x_I = x()
    layer = make(Fixed(torch.eye(E, dtype=torch.float64)[e][None]), mix=mix)
    delta = layer.bank.scale_E[e] * layer.bank.B_EOR[e] @ layer.bank.A_ERI[e]
    same(layer(x_I), layer.base(x_I) + x_I @ delta.T)


@each("shape", [(4, E), (B, 1, 4, E), (B, T, 4, E)])
def test_mhr_is_merge_first_in_every_head(shape):
    H, w, x_I = 4, weights(*shape), x()
    layer = make(Fixed(w), mix=factors, heads=H)
    A, Bm, s = layer.bank.A_ERI, layer.bank.B_EOR, layer.bank.scale_E
    full = w.expand(B, T, H, E)
    want = layer.base(x_I).clone()
    for b in range(B):
        for t in range(T):
            A_bt, B_bt = torch.zeros(R, I, dtype=torch.float64), torch.zeros(O, R, dtype=torch.float64)
            for h in range(H):
                ins, outs = slice(h * I // H, (h + 1) * I // H), slice(h * O // H, (h + 1) * O // H)
                for e in range(E):
                    A_bt[:, ins] += full[b, t, h, e] * A[e][:, ins].detach()
                    B_bt[outs] += full[b, t, h, e] * s[e] * Bm[e][outs].detach()
            want[b, t] += B_bt @ (A_bt @ x_I[b, t])
    same(layer(x_I), want)


def test_outputs_with_heads_weighs_slices_of_each_answer():
    H, w, x_I = 4, weights(B, T, 4, E), x()
    layer = make(Fixed(w), heads=H)
    want = layer.base(x_I).clone()
    for e in range(E):
        output = layer.bank.scale_E[e] * (x_I @ layer.bank.A_ERI[e].T @ layer.bank.B_EOR[e].T)
        want = want + w[..., e].repeat_interleave(O // H, -1) * output
    same(layer(x_I), want)


@each("mix", [outputs, factors])
def test_heads_that_agree_are_one_head(mix):
    w, x_I = weights(B, T, 1, E), x()
    layer = make(Fixed(w), mix=mix)
    whole = layer(x_I)
    layer.heads = 4
    same(layer(x_I), whole)
    layer.router.w = w.expand(B, T, 4, E)
    same(layer(x_I), whole)


@each("shape", [(), (7,), (2, 3, 5), (0, 5)])
def test_any_leading_axes(shape):
    x_I = torch.randn(*shape, I, dtype=torch.float64)
    layer = make(Fixed(weights(1, E)))
    y = layer(x_I)
    assert y.shape == (*shape, O)
    flat = x_I.reshape(1, -1, I)
    same(y.reshape(1, -1, O), loop(layer, flat, layer.router.w))


def test_whoever_watches_the_base_sees_its_own_output():
    """Without gradients the layer adds in place to what its base has returned, unless somebody else has it too."""
    layer, x_I, kept = make(Fixed(weights(1, E))), x(), []
    want = layer.base(x_I)
    handle = layer.base.register_forward_hook(lambda module, given, y: kept.append(y))
    with torch.no_grad():
        watched = layer(x_I)
    assert torch.equal(kept[0], want) and not torch.equal(watched, want)
    handle.remove()
    with torch.no_grad():
        same(layer(x_I), watched)


def test_a_fresh_expert_says_nothing():
    layer = make(Fixed(weights(1, E)))
    nn.init.zeros_(layer.bank.B_EOR)
    x_I = x()
    assert torch.equal(layer(x_I), layer.base(x_I))


@each("mix", [outputs, factors])
def test_padding_stays_zero_under_adamw_with_decay(mix):
    ranks = (3, 3, 3, 3) if mix is factors else (1, 3, 2, None)
    layer = make(Learnt(), ranks, rank=5, mix=mix).train()
    optimizer = torch.optim.AdamW(layer.bank.parameters(), lr=0.05, weight_decay=0.1)
    before = layer.bank.A_ERI.detach().clone()
    for _ in range(5):
        optimizer.zero_grad()
        layer(x()).square().sum().backward()
        optimizer.step()
    for e, r in enumerate(layer.bank.rank_E):
        assert not layer.bank.A_ERI[e, r:].any() and not layer.bank.B_EOR[e, :, r:].any()
        assert not r or not torch.equal(layer.bank.A_ERI[e, :r], before[e, :r])


def test_an_origin_leaves_the_output_and_makes_an_ordinary_expert():
    x_I = x()
    layer = make(Fixed(torch.ones(1, 1, dtype=torch.float64)), (R,))
    layer.bank.set_origin()
    same(layer(x_I), layer.base(x_I))  # the delta is zero although B is not
    with torch.no_grad():
        layer.bank.A_ERI.add_(torch.randn_like(layer.bank.A_ERI))
        layer.bank.B_EOR.mul_(1.5)
    trained = layer(x_I)
    expert = layer.bank.factors(0)
    assert expert.rank == 2 * R
    dense = expert.scale * expert.B_OR @ expert.A_RI
    same(trained, layer.base(x_I) + x_I @ dense.T)


def test_dropout_is_only_for_experts_and_only_in_training():
    x_I, router = x(), Fixed(weights(1, E))
    layer = make(router, dropout=0.5).eval()
    quiet = layer(x_I)
    same(quiet, loop(layer, x_I, router.w))
    layer.train()
    output = [layer(x_I) for _ in range(2)]
    assert not torch.allclose(output[0], quiet) and not torch.allclose(output[0], output[1])
    assert all(seen is x_I for seen in router.seen)  # the router always sees all of it
    nn.init.zeros_(layer.bank.B_EOR)
    assert torch.equal(layer(x_I), layer.base(x_I))  # and so does the base


def test_dropout_keeps_the_mean():
    x_I, layer = x(1, 1), make(Fixed(weights(1, E)), dropout=0.5).train()
    mean = layer(x_I.expand(4000, 1, I)).mean(0, keepdim=True)
    assert (mean - layer.eval()(x_I)).norm() < 0.1 * (layer(x_I) - layer.base(x_I)).norm()


def test_routing_is_recorded_under_the_layers_name():
    w = weights(B, T, 1, E)
    layer = make(Fixed(w))
    layer(x())
    assert list(layer.context.weights) == ["q"] and layer.context.weights["q"] is w
    layer.context.weights = None
    layer(x())
    assert layer.context.weights is None


@each("mix", [outputs, factors])
def test_checkpointing_gives_the_same_gradients_and_one_record(mix):
    layer, x_I = make(Learnt(), mix=mix), x().requires_grad_()

    def gradients(run):
        layer.context.weights = {}
        layer.zero_grad()
        x_I.grad = None
        y = run(layer)
        w = layer.context.weights["q"]
        (y.square().sum() + w.square().mean((0, 1)).sum()).backward()  # a balance loss on the record, too
        assert len(layer.context.weights) == 1
        result = {name: p.grad.clone() for name, p in layer.named_parameters() if p.requires_grad}
        return result | {"x": x_I.grad.clone()}

    plain = gradients(lambda layer: layer(x_I))
    again = gradients(lambda layer: checkpoint(layer, x_I, use_reentrant=False))
    assert {"bank.A_ERI", "bank.B_EOR", "router.gate.weight", "x"} <= set(plain)
    for name, gradient in plain.items():
        assert gradient.any(), name
        assert torch.equal(again[name], gradient), name


def test_gradients_are_those_of_the_loop():
    w, x_I = weights(B, T, 1, E).requires_grad_(), x().requires_grad_()
    layer = make(Fixed(w))
    leaves = (layer.bank.A_ERI, layer.bank.B_EOR, w, x_I)
    probe = torch.randn(B, T, O, dtype=torch.float64)
    got = torch.autograd.grad((layer(x_I) * probe).sum(), leaves)
    want = torch.autograd.grad((loop(layer, x_I, w) * probe).sum(), leaves)
    for g, h in zip(got, want, strict=True):
        same(g, h)


@each("mix", [outputs, factors])
@each("heads", [1, 4])
def test_bf16(mix, heads):
    layer, x_I = make(Learnt(), mix=mix, heads=heads), x()
    want = layer(x_I)
    layer.bfloat16()
    y = layer(x_I.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y - want).norm() < 0.05 * want.norm()


@each("mix", [outputs, factors])
@each("heads", [1, 4])
def test_fp32_experts_beside_a_bf16_base(mix, heads):
    layer, x_I = make(Learnt(), mix=mix, heads=heads).float(), x().float()
    want = layer(x_I)
    layer.base.bfloat16()
    layer.router.bfloat16()
    y = layer(x_I.bfloat16())
    assert y.dtype == torch.bfloat16 and layer.bank.A_ERI.dtype == torch.float32
    assert (y - want).norm() < 0.05 * want.norm()
    y.float().square().sum().backward()
    assert layer.bank.A_ERI.grad.dtype == torch.float32 and layer.bank.A_ERI.grad.isfinite().all()


@each("mix", [outputs, factors])
@each("heads", [1, 4])
def test_autocast(mix, heads):
    layer, x_I = make(Learnt(), mix=mix, heads=heads).float(), x().float()
    want = layer(x_I)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x_I)
        assert y.dtype == layer.base(x_I).dtype == torch.bfloat16
        loss = y.float().square().sum()
    assert (y - want).norm() < 0.05 * want.norm()
    loss.backward()
    assert layer.bank.B_EOR.grad.dtype == torch.float32 and layer.bank.B_EOR.grad.isfinite().all()


def test_factors_refuses_mixed_ranks():
    with pytest.raises(Invalid, match=r"mix=factors .* same rank; here are \[2, 3\]"):
        make(Fixed(weights(1, 2)), (2, 3), mix=factors)
    make(Fixed(weights(1, 3)), (2, None, 2), mix=factors)  # an absent expert has no rank


@each("heads, what", [(5, "in_features=12"), (3, "out_features=8")])
def test_heads_must_divide(heads, what):
    with pytest.raises(Invalid, match=f"heads={heads} must divide .*{what}"):
        make(Fixed(weights(1, E)), heads=heads)


def test_it_looks_like_its_base():
    layer = make(Fixed(weights(1, E)))
    weight = layer.weight
    assert isinstance(weight, torch.Tensor) and (weight.dtype, weight.shape) == (torch.float64, (O, I))
    assert layer.bias is layer.base.bias
    assert (layer.in_features, layer.out_features) == (I, O)


@each(
    "compute",
    [lambda w: torch.zeros(1, I).double() @ w.mT, lambda w: w.div_(2), lambda w: w.data_ptr(), lambda w: w + 1],
)
def test_its_weight_may_be_looked_at_but_not_computed_with(compute):
    layer = make(Fixed(weights(1, E)))
    with pytest.raises(Invalid, match="q: the model reads the weight of this linear instead of calling it"):
        compute(layer.weight)


def test_tokens_of_a_batch_in_one_row():
    """OPT's feed-forward reads [B·T, I]: each sequence is routed as it would be alone."""
    layer, inputs = make(Fixed(weights(B, 1, 1, E))), x()
    whole = layer(inputs)
    layer.context.mask_BT = torch.ones(B, T)
    torch.testing.assert_close(layer(inputs.flatten(0, 1)), whole.flatten(0, 1))
    assert layer.context.weights["q"].shape == (B, 1, 1, E) and layer.router.seen[-1].shape == (B, T, I)
    layer.router.needs = "tasks"
    with pytest.raises(Invalid, match=f"q reads 7 tokens of {B} sequences: it is not known whose"):
        layer(inputs.flatten(0, 1)[:7])
