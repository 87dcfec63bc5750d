"""The balancing constraint against its own words: a loop, the equilibrium, padding, cutting, checkpointing."""

import copy

import pytest
import torch
from torch import nn

from tests.conftest import each
from tests.objectives.test_objectives import ROWS, TOKENS, labelled
from yosegi.core.model import attach
from yosegi.errors import Invalid, UnknownName
from yosegi.objectives.balance import Constraint, balance, recorded_routing, totals, unevenness
from yosegi.objectives.sft import sft
from yosegi.routers.softmax import Softmax
from yosegi.routers.uniform import Uniform

TYPES = torch.tensor([0, 1, 0])
MLP = ["gate_proj", "up_proj", "down_proj"]


def batch_of(model, rows=ROWS, length=None, types=TYPES):
    batch, labels = labelled(model, rows, length)
    return {**batch, "labels": labels, "type_B": types}


def routed(model, experts, n=4, scope="projection", targets=MLP, size=1.0):
    banks = attach(model, experts(model, n, targets=targets), Softmax(scope=scope))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in (p for layer in banks.layers.values() for p in layer.router.parameters()):
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return banks


def loop(model, batch, how):
    """Σ_layers σ²/μ² (or σ²/μ), as the paper says it: sequence by sequence, token by token, expert by expert."""
    with recorded_routing(model) as (layers, weights):
        sft(model, batch, 1)
    total = []
    for layer in layers:
        Z = []
        for m, type_m in enumerate(batch["type_B"].tolist()):
            place = batch["attention_mask"][m] if how.counted == "real" else torch.ones(len(batch["attention_mask"][m]))
            place = batch["labels"][m] != -100 if how.counted == "answer" else place
            for n, type_n in enumerate(how.expert_types or [-1] * len(layer.bank.names)):
                omega = [weights[layer.name][m, j, 0, n] for j, real in enumerate(place) if real]
                sign = 0 if type_m < 0 or not how.expert_types else 1 if type_n == type_m else -1
                Z.append((1 + how.delta * sign * (1 if how.match == "paper" else -1)) * sum(omega) / len(omega))
        Z = torch.stack(Z)
        total.append(Z.var(correction=0) / (Z.mean() ** 2 if how.lbc == "cv2" else Z.mean()))
    return sum(total) / (len(total) if how.reduce == "mean" else 1)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"delta": 0.0},
        {"expert_types": [0, 0, 1, 1]},
        {"expert_types": [0, 1, 1, 2], "delta": 0.4, "match": "attract"},
        {"expert_types": [0, 0, 1, 1], "lbc": "dispersion", "reduce": "mean"},
        {"expert_types": [1, 0, 0, 0], "counted": "answer"},
        {"expert_types": [1, 0, 0, 0], "counted": "all"},
    ],
)
def test_is_the_loop(llama, experts, how):
    banks, how = routed(llama, experts), Constraint(beta=3.0, **how)
    batch = batch_of(llama, types=torch.tensor([0, 1, -1]))
    parameters = list(banks.parameters().values())
    found = balance(llama, batch, TOKENS, how)
    want = sft(llama, batch, TOKENS) + 3.0 * loop(llama, batch, how)
    assert (want - sft(llama, batch, TOKENS)) > 0.01
    torch.testing.assert_close(found, want)
    for one, other in zip(torch.autograd.grad(found, parameters), torch.autograd.grad(want, parameters), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_nothing_to_say(llama, experts):
    plain = sft(llama, batch_of(llama), TOKENS)
    assert torch.equal(balance(llama, batch_of(llama), TOKENS), plain), "no experts"
    banks = attach(llama, experts(llama, 4, targets=MLP), Softmax())
    even = balance(llama, batch_of(llama), TOKENS, Constraint(beta=1e3, delta=0, expert_types=[0, 0, 1, 1]))
    torch.testing.assert_close(even, sft(llama, batch_of(llama), TOKENS), atol=1e-3, rtol=0)
    typed = balance(llama, batch_of(llama), TOKENS, Constraint(beta=1, delta=0.1, expert_types=[0, 0, 1, 1]))
    # at even weights Z is 1 ± δ times 1/4, half of each: σ²/μ² = δ² in each of the six layers
    torch.testing.assert_close(typed - sft(llama, batch_of(llama), TOKENS), torch.tensor(6 * 0.01), atol=1e-4, rtol=0)
    banks.detach()
    alone = attach(llama, experts(llama, 1, targets=MLP), Uniform())
    assert len(alone) == 6
    one = balance(llama, batch_of(llama), TOKENS, Constraint(beta=1e3, delta=0))
    torch.testing.assert_close(one, sft(llama, batch_of(llama), TOKENS), atol=1e-3, rtol=0)


@each("match", ["paper", "attract"])
@each("lbc, expert_types", [("cv2", [0, 0, 0, 1, 1, 1]), ("dispersion", [0, 0, 1, 1, 2, 2])])
def test_the_equilibrium(match, lbc, expert_types):
    """Free logits for each type: where the constraint is at rest, ω_match / ω_mismatch is (1 - δ) / (1 + δ)."""
    torch.manual_seed(0)
    delta, type_N = 0.1, torch.tensor(expert_types)
    K, N = int(type_N.max()) + 1, len(expert_types)
    logit_KN = nn.Parameter(torch.randn(K, N))
    optimizer = torch.optim.Adam([logit_KN], lr=0.05)
    sign_KN = (type_N == torch.arange(K)[:, None]).double() * 2 - 1
    sign_KN = sign_KN if match == "paper" else -sign_KN
    for _ in range(1500):
        Z_KN = (1 + delta * sign_KN) * logit_KN.double().softmax(-1)
        loss = unevenness(torch.stack([torch.tensor(K * N), Z_KN.sum(), Z_KN.square().sum()])[None], lbc).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1e-6
    w_KN, matches = logit_KN.detach().softmax(-1), type_N == torch.arange(K)[:, None]
    want = (1 - delta) / (1 + delta) if match == "paper" else (1 + delta) / (1 - delta)
    for k in range(K):
        assert float(w_KN[k][matches[k]].mean() / w_KN[k][~matches[k]].mean()) == pytest.approx(want, abs=2e-3)
    if expert_types == [0, 0, 0, 1, 1, 1]:
        assert float(w_KN[0, :3].sum()) == pytest.approx(0.45 if match == "paper" else 0.55, abs=1e-3)


def test_the_objective_itself_comes_to_rest_there(llama, experts):
    """The same by way of the model: only the routers move, and two prompts of two types are all there is."""
    banks = attach(llama, experts(llama, 4, targets=["gate_proj"]), Softmax())
    rows, types = [([5, 6], [8]), ([40, 41], [42])], torch.tensor([0, 1])
    batch, how = batch_of(llama, rows, types=types), Constraint(delta=0.2, expert_types=[0, 0, 1, 1])
    routers = [p for layer in banks.layers.values() for p in layer.router.parameters()]
    optimizer = torch.optim.Adam(routers, lr=0.02)
    for _ in range(200):
        loss = balance(llama, batch, 1, how) - sft(llama, batch, 1)
        for parameter, grad in zip(routers, torch.autograd.grad(loss, routers), strict=True):
            parameter.grad = grad
        optimizer.step()
    assert loss.item() / how.beta < 1e-3
    heard = []
    balance(llama, batch, 1, how, note=lambda ce, said, *_: heard.extend(said))
    for one in heard:
        ratio = one.Q_BN[0, :2].sum() / one.Q_BN[0, 2:].sum()
        assert float(ratio.detach()) == pytest.approx(0.8 / 1.2, abs=0.02)


def test_length_and_padding_do_not_matter(llama, experts):
    routed(llama, experts, size=0)
    how = Constraint(beta=1.0, delta=0)
    assert balance(llama, batch_of(llama), TOKENS, how) - sft(llama, batch_of(llama), TOKENS) < 1e-5, "1 to 8 tokens"
    routed_again = [p for n, p in llama.named_parameters() if n.endswith("row_EI")]
    with torch.no_grad():
        for parameter in routed_again:
            parameter.normal_()
    tight, loose = (balance(llama, batch_of(llama, length=T), TOKENS, how) for T in (None, 15))
    torch.testing.assert_close(tight, loose)
    every = Constraint(beta=1.0, delta=0, counted="all")
    tight, loose = (balance(llama, batch_of(llama, length=T), TOKENS, every) for T in (None, 15))
    assert (tight - loose).abs() > 1e-3, "as the authors' code counts, padding is routed as well"


def parts(cut):
    rows, types = list(ROWS), TYPES
    for size in cut:
        yield rows[:size], types[:size]
        rows, types = rows[size:], types[size:]


@pytest.mark.parametrize("lbc", ["cv2", "dispersion"])
@pytest.mark.parametrize("cut", [[1, 1, 1], [2, 1]])
def test_a_step_that_is_cut(any_model, experts, cut, lbc):
    targets = {"llama": MLP, "t5": ["wi_0", "wo"], "gpt2": ["c_fc", "c_proj"]}[any_model.config.model_type]
    banks = routed(any_model, experts, targets=targets)
    how = Constraint(beta=2.0, delta=0.3, expert_types=[0, 0, 1, 1], lbc=lbc)
    parameters = list(banks.parameters().values())
    want = balance(any_model, batch_of(any_model), TOKENS, how)
    batches = [batch_of(any_model, rows, types=types) for rows, types in parts(cut)]
    whole = sum(totals(any_model, batch, how) for batch in batches)
    assert whole.shape == (len(banks), 3) and not whole.requires_grad
    losses = [balance(any_model, batch, TOKENS, how, whole) for batch in batches]
    torch.testing.assert_close(sum(losses), want, atol=1e-5, rtol=0)
    alone = [balance(any_model, batch, TOKENS, how) for batch in batches]
    assert (sum(alone) - want).abs() > 1e-3, "what each part says of itself is something else"
    for one, other in zip(
        torch.autograd.grad(sum(losses), parameters), torch.autograd.grad(want, parameters), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_a_divisor_for_each_sequence(llama, experts):
    routed(llama, experts)
    how, tokens = Constraint(beta=1.0, expert_types=[0, 0, 1, 1]), torch.tensor([2.0, 3.0, 1.0])
    each, plain = balance(llama, batch_of(llama), tokens, how), sft(llama, batch_of(llama), tokens)
    assert each.shape == (3,)
    whole = balance(llama, batch_of(llama), TOKENS, how) - sft(llama, batch_of(llama), TOKENS)
    torch.testing.assert_close((each - plain).sum(), whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scope", ["projection", "ffn"])
def test_checkpointing(llama, experts, scope):
    banks = routed(llama, experts, scope=scope)
    how, batch, found = Constraint(beta=3.0, expert_types=[0, 0, 1, 1]), batch_of(llama), []
    parameters = list(banks.parameters().values())
    llama.train()
    for recomputed in (False, True):
        if recomputed:
            llama.gradient_checkpointing_enable({"use_reentrant": False})
        loss = balance(llama, batch, TOKENS, how)
        found.append([loss.detach(), *torch.autograd.grad(loss, parameters)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    llama.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(Invalid, match="non-reentrant"):
        balance(llama, batch, TOKENS, how)
    balance(llama, batch, TOKENS, Constraint(beta=0))


def test_one_router_for_a_block_counts_once(llama, experts):
    routed(llama, experts, scope="ffn")
    seen = []
    balance(llama, batch_of(llama), TOKENS, note=lambda ce, heard, *_: seen.extend(one.layer for one in heard))
    assert seen == [f"model.layers.{i}.mlp.gate_proj" for i in range(2)]


def test_nothing_stays_recorded(llama, experts):
    banks = routed(llama, experts)
    balance(llama, batch_of(llama), TOKENS)
    assert banks.context.weights is None


def test_sequences_without_a_token_to_count_are_left_out(llama, experts):
    banks, how = routed(llama, experts), Constraint(beta=1.0, counted="answer", expert_types=[0, 0, 1, 1])
    batch = batch_of(llama)
    batch["labels"][1] = -100
    fewer = batch_of(llama, [ROWS[0], ROWS[2]], types=TYPES[[0, 2]])
    terms = [balance(llama, b, TOKENS, how) - sft(llama, b, TOKENS) for b in (batch, fewer)]
    torch.testing.assert_close(*terms, atol=1e-5, rtol=1e-4)
    nobody = copy.deepcopy(batch) | {"labels": torch.full_like(batch["labels"], -100)}
    loss = balance(llama, nobody, TOKENS, how)
    assert loss.item() == 0 and all(
        not g.any() for g in torch.autograd.grad(loss, list(banks.parameters().values())[:2], allow_unused=True) if g is not None
    )  # fmt: skip


@each("wrong", [{"beta": -1}, {"delta": 1.5}])
def test_wrong_numbers(wrong):
    with pytest.raises(Invalid):
        Constraint(**wrong)


@each("wrong", ["lbc", "counted", "match", "reduce"])
def test_wrong_names(wrong):
    with pytest.raises(UnknownName):
        Constraint(**{wrong: "attrackt"})


def test_types_of_other_experts(llama, experts):
    routed(llama, experts)
    with pytest.raises(Invalid, match="expert_types has 3 types; .* has 4 experts"):
        balance(llama, batch_of(llama), TOKENS, Constraint(expert_types=[0, 1, 1]))
