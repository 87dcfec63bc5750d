"""The classifier against plain arithmetic, the sums over tasks against a loop, and one decision for all layers."""

import copy

import pytest
import torch
from torch.nn.functional import normalize

from tests.conftest import each
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Factors
from yosegi.core.model import attach
from yosegi.errors import Invalid, UnknownName
from yosegi.routers.oracle import Oracle
from yosegi.routers.predictor import Predictor

I, O, F = 6, 5, 8
LEARNT = [("math",), ("law", "math"), ("food",), ()]


def bank_of(learnt=LEARNT, absent=()):
    given = [None if e in absent else Factors(torch.randn(2, I), torch.randn(O, 2)) for e in range(len(learnt))]
    return Bank("abcd"[: len(learnt)], learnt, given, (O, I))


def prompts(tasks, n=20, apart=3.0):
    """Features of n prompts of each task around a centre of its own."""
    generator = torch.Generator().manual_seed(1)
    centre = {task: torch.randn(F, generator=generator) for task in sorted(tasks)}
    rows = [(apart * centre[task] + torch.randn(F, generator=generator), task) for task in tasks for _ in range(n)]
    return normalize(torch.stack([row for row, _ in rows]), dim=-1), [task for _, task in rows]


def fitted(bank, tasks=(), **options):
    router = Predictor(tasks=tasks, width=16, **options)
    router.bind(bank)
    router.fit(*prompts(tasks or bank.tasks), steps=200)
    return router


def ask(router, features):
    return router(torch.randn(len(features), 3, I), Context(features_BF=features))[:, 0, 0]


@each("top_k", [None, 1, 2])
@each("tasks", [(), ("food", "law", "math"), ("art", "math", "zoo", "law", "food")])
def test_is_the_sum_over_the_tasks_of_each_expert(tasks, top_k):
    router, x = fitted(bank_of(), tasks, top_k=top_k), torch.randn(7, F)
    w = ask(router, x)
    assert w.shape == (7, 4)
    down, shift, up, bias = (router.learnt.get(name) for name in ("down_HF", "shift_H", "up_KH", "shift_K"))
    known = tasks or ("food", "law", "math")
    for b in range(7):
        logit = up @ (down @ x[b] + shift) + bias
        p = {task: float(logit[k].exp()) for k, task in enumerate(known) if task not in ("art", "zoo")}
        share = [sum(p[task] for task in learnt) / sum(p.values()) for learnt in LEARNT]
        kept = sorted(range(4), key=lambda e: -share[e])[: top_k or 4]  # noqa: B023
        total = sum(share[e] for e in kept)
        assert w[b].tolist() == pytest.approx([share[e] / total if e in kept else 0 for e in range(4)], abs=1e-5)


def test_it_learns_to_tell_tasks_apart_and_then_is_the_oracle():
    bank = bank_of([("math",), ("law",), ("food",)])
    features, tasks = prompts(bank.tasks)
    losses = []
    router = Predictor(width=32)
    router.bind(bank)
    router.fit(features, tasks, steps=400, lr=1e-2, log=lambda step, loss: losses.append((step, loss)))
    assert [step for step, _ in losses] == list(range(1, 401)) and losses[-1][1] < 0.1 < losses[0][1]
    oracle = Oracle()
    oracle.bind(bank)
    want = oracle(torch.zeros(60, 1, I), Context(torch.tensor([bank.tasks.index(t) for t in tasks])))[:, 0, 0]
    assert (ask(router, features) - want).abs().mean() < 0.05


def test_a_task_of_no_expert_takes_no_weight():
    router, x = fitted(bank_of(), ("art", "food", "law", "math")), torch.randn(5, F)
    want = ask(router, x)
    router.learnt.get("shift_K")[0] += 1000  # art, for certain
    torch.testing.assert_close(ask(router, x), want)


def test_a_seed_is_a_seed():
    bank = bank_of()
    features, tasks = prompts(bank.tasks)

    def train(seed):
        router = Predictor(width=16)
        router.bind(bank)
        router.fit(features, tasks, steps=5, seed=seed)
        return router.learnt.get("up_KH")

    torch.manual_seed(1)
    one = train(3)
    torch.manual_seed(2)
    assert torch.equal(train(3), one) and not torch.equal(train(4), one)


def test_where_an_expert_has_no_layer_its_share_is_silence():
    whole, part = (fitted(bank_of([("math",), ("law",)], absent)) for absent in ((), (1,)))
    x = torch.randn(5, F)
    want = ask(whole, x).clone()
    want[:, 1] = 0
    torch.testing.assert_close(ask(part, x), want)


def test_one_classifier_and_one_decision_for_all_layers(llama, experts, monkeypatch):
    banks = attach(llama, experts(llama, 3), Predictor(width=16))
    routers = [layer.router for layer in banks.layers.values()]
    routers[3].fit(*prompts(banks.tasks), steps=3)
    assert all(router.learnt is routers[0].learnt for router in routers) and len(routers) == 14
    assert set(banks.router_state()) == {f"|learnt.{name}" for name in ("down_HF", "shift_H", "up_KH", "shift_K")}
    decided, decide = [], Predictor.decide
    monkeypatch.setattr(Predictor, "decide", lambda self, f: decided.append(1) or decide(self, f))
    ids = torch.randint(3, 90, (2, 7))
    banks.set_batch(features=torch.randn(2, F))
    one = llama(ids).logits
    assert len(decided) == 1
    banks.set_batch(features=torch.randn(2, F))
    assert not torch.equal(llama(ids).logits, one) and len(decided) == 2


def test_two_routers_made_apart_are_apart():
    one, other = fitted(bank_of()), Predictor(width=16)
    other.bind(bank_of())
    with pytest.raises(Invalid, match="not trained"):
        ask(other, torch.randn(1, F))
    assert copy.deepcopy(one).learnt is one.learnt


def test_what_cannot_be():
    router = Predictor()
    router.bind(bank_of())
    with pytest.raises(UnknownName, match="No task of this predictor is called 'maths'. Did you mean 'math'"):
        router.fit(torch.randn(2, F), ["maths", "law"])
    router = fitted(bank_of())
    with pytest.raises(Invalid, match="needs the features"):
        router(torch.randn(1, 2, I), Context())
    with pytest.raises(Invalid, match="None of a, b was trained on a task"):
        Predictor(tasks=["zoo"]).bind(bank_of([("math",), ()]))
    for options in ({"top_k": 0}, {"width": 0}):
        with pytest.raises(Invalid, match="top_k >= 1 and width >= 1"):
            Predictor(**options)
