"""What routers learn, against doing it by hand: one example at a time, one expert at a time."""

from functools import partial

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import cross_entropy, normalize

from tests.training.conftest import tiny_base
from yosegi.bases import Base
from yosegi.core.expert import Expert, Factors
from yosegi.core.model import attach
from yosegi.engine.arm import Arm
from yosegi.engine.features import features
from yosegi.engine.rows import order, tokenise
from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.files import read_jsonl
from yosegi.inits import fresh
from yosegi.routers.centroid import Centroid
from yosegi.routers.phatgoose import Phatgoose
from yosegi.routers.predictor import Predictor
from yosegi.routers.retrieval import Retrieval
from yosegi.routers.uniform import Uniform
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training import routers
from yosegi.training.routers import train_arm
from yosegi.training.settings import RouterSettings, Settings


def examples(task, n=12):
    write = {
        "sums": lambda i: (f"{i % 10}+{i // 10}=", str(i % 10 + i // 10)),
        "copy": lambda i: ("abcdefghij"[i % 10] * (1 + i % 4) + " ", "abcdefghij"[i % 10] * (1 + i % 4)),
        "next": lambda i: ("abcdefghij"[i % 9], "abcdefghij"[i % 9 + 1]),
    }[task]
    return [Example(f"{task}{i}", *write(i)) for i in range(n)]


DATA = {task: examples(task) for task in ("sums", "copy", "next")}


def library(base):
    """Three experts of mixed rank; the second lacks most layers, the third learnt two tasks."""
    found = []
    for name, rank, tasks, targets in (
        ("a", 2, ["sums"], "all-linear"),
        ("b", 3, ["copy"], ["q_proj", "q"] if base.seq2seq else ["q_proj"]),
        ("c", 2, ["next", "copy"], "all-linear"),
    ):
        if base.seq2seq and name == "b":
            targets = ["q"]
        start = fresh(base.model, name, rank=rank, alpha=2 * rank, targets=targets, task=tasks)
        factors = {k: Factors(f.A_RI, 0.2 * torch.randn_like(f.B_OR), f.scale) for k, f in start.factors.items()}
        found.append(Expert(name, factors, start.card))
    return found


def fit(base, experts, router, args, data, run, **settings):
    """What a router learns, by layer and name."""
    return train_arm(base, Arm(router, experts, router, args), data, run, RouterSettings(**settings)).router_state


@pytest.fixture
def encoder_decoder(t5):
    return Base("tiny-t5", "0" * 12, t5, tiny_base().tokenizer)


def inputs_by_hand(base, expert, some):
    """Every layer's input at the last token but the end, over examples one by one: no padding, no batch, no mask."""
    layers, seen, modules = list(expert.factors), {}, dict(base.model.named_modules())
    for example in some:
        prompt, answer = base.tokenizer(example.prompt).input_ids, base.tokenizer(example.target).input_ids
        banks = attach(base.model, [expert], Uniform())
        hooks = []
        for name, module in modules.items():
            if module in [layer.base for layer in banks.layers.values()]:
                hooks.append(
                    module.register_forward_pre_hook(
                        lambda _, x, name=name: seen.setdefault(name, []).append(x[0][0, -1])
                    )
                )
        with torch.no_grad():
            if base.seq2seq:
                decoder = torch.tensor([[0, *answer]])
                base.model(input_ids=torch.tensor([prompt]), decoder_input_ids=decoder)
            else:
                base.model(input_ids=torch.tensor([prompt + answer]))
        for hook in hooks:
            hook.remove()
        banks.detach()
    return {name: normalize(torch.stack(seen[name]).mean(0), dim=0) for name in layers}


@pytest.mark.parametrize("kind", ["base", "encoder_decoder"])
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_centroids_are_the_mean_inputs_of_examples_read_one_by_one(kind, batch, request, tmp_path):
    base = request.getfixturevalue(kind)
    experts, before = library(base), {k: v.clone() for k, v in base.model.state_dict().items()}
    learnt = fit(base, experts, "centroid", {}, DATA, Run(tmp_path), batch_size=batch, limit=4, seed=3)
    assert {key.rpartition("|")[2] for key in learnt} == {"learnt.prototype_EI"} and len(learnt) >= 14
    for e, expert in enumerate(experts):
        some = [DATA[task][i] for task in expert.tasks for i in order(12, 4, 3)]
        for layer, want in inputs_by_hand(base, expert, some).items():
            torch.testing.assert_close(learnt[f"{layer}|learnt.prototype_EI"][e], want, atol=1e-5, rtol=1e-4)
    after = base.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)


def gradient_by_hand(base, expert, some):
    """Of σ(vᵀx) ΔW x beside the pristine base, at v = 0, by hooks on its linears."""
    modules, rows = dict(base.model.named_modules()), tokenise(base, some, 1024)
    gates = {name: torch.zeros(f.A_RI.shape[1], requires_grad=True) for name, f in expert.factors.items()}

    def listen(name):
        delta = expert.delta(name)
        return lambda _, x, y: y + torch.sigmoid(x[0] @ gates[name])[..., None] * (x[0] @ delta.T)

    hooks = [modules[name].register_forward_hook(listen(name)) for name in gates]
    loss = tokens = 0
    for row in rows:
        logits = base.model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
        labels = torch.tensor(row["labels"][1:])
        loss = loss + cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        tokens += int((labels != -100).sum())
    (loss / tokens).backward()
    for hook in hooks:
        hook.remove()
    return {name: gate.grad for name, gate in gates.items()}


def test_the_first_step_of_the_gates_is_the_one_by_hand(base, tmp_path, monkeypatch):
    monkeypatch.setattr(
        routers, "Settings", partial(Settings, warmup_share=0)
    )  # or the first step would be of no length
    experts = library(base)
    learnt = fit(base, experts, "phatgoose", {}, DATA, Run(tmp_path), steps=1, learning_rate=0.01, batch_size=6)
    checked = 0
    for e, expert in enumerate(experts):
        pool = [example for task in expert.tasks for example in [DATA[task][i] for i in order(12, 12, 0)]]
        some = [pool[i] for i in order(len(pool), 6, 0)]
        for layer, gradient in gradient_by_hand(base, expert, some).items():
            moved = learnt[f"{layer}|learnt.gate_EI"][e]
            clear = gradient.abs() > 1e-6  # Adam's first step is the sign, and rounding may turn the sign of nothing
            torch.testing.assert_close(moved[clear], -0.01 * gradient[clear].sign(), atol=1e-3, rtol=0)
            checked += int(clear.sum())
    assert checked > 500


def test_gates_learn_together_as_each_alone(base, tmp_path):
    experts = library(base)
    together = fit(base, experts, "phatgoose", {}, DATA, Run(tmp_path / "t"), steps=8, batch_size=3, learning_rate=0.05)
    for e, expert in enumerate(experts):
        alone = fit(
            base, [expert], "phatgoose", {}, DATA, Run(tmp_path / str(e)), steps=8, batch_size=3, learning_rate=0.05
        )
        assert set(alone) <= set(together) and any(gate.any() for gate in alone.values())
        for key, gate in alone.items():
            torch.testing.assert_close(together[key][e], gate[0], atol=2e-4, rtol=1e-2)


def test_gates_lower_the_loss_and_move_nothing_else(base, tmp_path):
    experts, run = library(base), Run(tmp_path)
    before = {name: t.clone() for name, t in base.model.state_dict().items()}
    factors = [[f.A_RI.clone(), f.B_OR.clone()] for expert in experts for f in expert.factors.values()]
    fit(base, experts, "phatgoose", {}, DATA, run, steps=30, learning_rate=0.05)
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert {row["expert"] for row in rows} == {"phatgoose a", "phatgoose b", "phatgoose c"} and len(rows) == 90
    for name in ("phatgoose a", "phatgoose c"):
        losses = [row["loss"] for row in rows if row["expert"] == name]
        assert sum(losses[-5:]) < sum(losses[:5])
    after = base.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    now = [[f.A_RI, f.B_OR] for expert in experts for f in expert.factors.values()]
    assert all(
        torch.equal(x, y) for one, other in zip(factors, now, strict=True) for x, y in zip(one, other, strict=True)
    )
    assert not (tmp_path / "checkpoint" / "router phatgoose").exists() and not base.model.training


def test_the_predictor_learns_whose_a_prompt_is(base, tmp_path):
    experts, run = library(base), Run(tmp_path)
    learnt = fit(base, experts, "predictor", {"width": 32}, DATA, run, steps=300, learning_rate=3e-3)
    assert {key.partition("|")[0] for key in learnt} == {""}
    losses = [row["loss"] for row in read_jsonl(tmp_path / "metrics.jsonl")]
    assert len(losses) == 300 and losses[-1] < 0.5 * losses[0]
    banks = attach(base.model, experts, Predictor(width=32))
    banks.load_router_state(learnt)
    for task, expected in (("sums", 0), ("next", 2)):
        banks.set_batch(features=features(base, [e.prompt for e in DATA[task]], banks))
        banks.context.weights = {}
        with torch.no_grad():
            base.model(torch.full((12, 3), 4))
        w = banks.context.weights["model.layers.0.self_attn.q_proj"]
        assert (w[:, 0, 0].argmax(-1) == expected).float().mean() > 0.8, task
    banks.detach()


def test_the_predictor_may_know_more_tasks_than_the_experts(base, tmp_path):
    experts = library(base)[:1]
    learnt = fit(base, experts, "predictor", {"tasks": ["next", "sums"], "width": 8}, DATA, Run(tmp_path), steps=3)
    assert learnt["|learnt.up_KH"].shape == (2, 8)
    with pytest.raises(NoData, match="examples of 'zoo'"):
        fit(base, experts, "predictor", {"tasks": ["zoo", "sums"]}, DATA, Run(tmp_path))


def test_retrieval_keeps_the_mean_of_the_prompts(base, tmp_path):
    experts = library(base)
    learnt = fit(base, experts, "retrieval", {}, DATA, Run(tmp_path))
    for e, expert in enumerate(experts):
        texts = [example.prompt for task in expert.tasks for example in DATA[task]]
        want = normalize(features(base, texts).mean(0), dim=0)
        torch.testing.assert_close(learnt["|learnt.prototype_EF"][e], want, atol=1e-5, rtol=0)


METHODS = {"centroid": Centroid, "phatgoose": Phatgoose, "predictor": Predictor, "retrieval": Retrieval}


@pytest.mark.parametrize("router", METHODS)
def test_a_seed_is_a_seed_and_what_was_learnt_can_be_put_back(router, base, tmp_path):
    experts = library(base)
    options = {"limit": 5, **({"steps": 2} if router in ("phatgoose", "predictor") else {})}
    runs = [
        fit(base, experts, router, {}, DATA, Run(tmp_path / str(i)), seed=s, **options) for i, s in enumerate((1, 1, 2))
    ]
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])
    assert not all(torch.equal(runs[0][key], runs[2][key]) for key in runs[0])
    said = []
    for learnt in (runs[0], runs[1], runs[2]):
        banks = attach(base.model, experts, METHODS[router](**({"temperature": 0.02} if router == "centroid" else {})))
        banks.load_router_state(learnt)
        assert all(torch.equal(value, runs[0][key]) for key, value in banks.router_state().items()) is (
            learnt is not runs[2]
        )
        prompts = [example.prompt for example in DATA["sums"][:3]]
        banks.set_batch(features=features(base, prompts, banks))
        with torch.no_grad():
            said.append(base.model(torch.tensor(base.tokenizer(prompts).input_ids)).logits)
        banks.detach()
    assert torch.equal(said[0], said[1]) and said[0].isfinite().all()
    banks = attach(base.model, experts[::-1][:2], METHODS[router]())
    with pytest.raises(Invalid, match="does not fit layer"):
        banks.load_router_state(runs[0])
    banks.detach()


@pytest.mark.parametrize("mix", ["outputs", "factors"])
@pytest.mark.parametrize("router", METHODS)
def test_both_mixes_and_half_precision(router, mix, base, tmp_path):
    from yosegi.core.mix import named

    experts = [expert for expert in library(base) if expert.rank == 2]
    base.model.to(torch.bfloat16)
    options = {"steps": 2} if router in ("phatgoose", "predictor") else {}
    learnt = fit(base, experts, router, {}, DATA, Run(tmp_path), limit=4, **options)
    banks = attach(base.model, experts, METHODS[router](), named(mix))
    banks.load_router_state(learnt)
    banks.set_batch(features=features(base, ["1+2="], banks))
    with torch.no_grad():
        logits = base.model(torch.tensor(base.tokenizer(["1+2="]).input_ids)).logits
    assert logits.isfinite().all() and all(value.isfinite().all() for value in learnt.values())


def test_what_cannot_be_learnt(base, tmp_path):
    experts, run = library(base), Run(tmp_path)
    with pytest.raises(Invalid, match="uniform has nothing to learn .* it reads all it needs off the experts"):
        fit(base, experts, "uniform", {}, DATA, run)
    with pytest.raises(Invalid, match="task_table has nothing to learn .* it learns together with its experts"):
        fit(base, experts, "task_table", {}, DATA, run)
    with pytest.raises(NoData, match="centroid learns from examples of 'next', and there are none"):
        fit(base, experts, "centroid", {}, {**DATA, "next": []}, run)
    with pytest.raises(Invalid, match="Expert 'x' does not say what it was trained on"):
        fit(base, [Expert("x", experts[0].factors)], "retrieval", {}, DATA, run)
    with pytest.raises(UnknownName, match="Did you mean 'top_k'"):
        fit(base, experts, "centroid", {"topk": 3}, DATA, run)
    for wrong in ({"steps": 0}, {"learning_rate": 0.0}, {"batch_size": -1}, {"limit": 0}):
        with pytest.raises(ValidationError, match="greater than"):
            fit(base, experts, "predictor", {}, DATA, run, **wrong)
    assert not any("bank" in name for name, _ in base.model.named_modules())
