"""The nearest experts against a loop, and a new task by the mean of a few examples."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from tests.conftest import each
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Factors
from yosegi.core.model import attach
from yosegi.errors import Invalid
from yosegi.routers.retrieval import Retrieval

I, O, F = 6, 5, 8
LEARNT = [("math",), ("law", "math"), ("food",), ("law",)]
TASKS = ["math", "law", "food", "math", "law", "food", "math", "zoo"]


def bound(absent=(), **options):
    given = [None if e in absent else Factors(torch.randn(2, I), torch.randn(O, 2)) for e in range(4)]
    router = Retrieval(**options)
    router.bind(Bank("abcd", LEARNT, given, (O, I)))
    return router


def ask(router, features):
    return router(torch.randn(len(features), 3, I), Context(features_BF=features))[:, 0, 0]


@each("top_k", [1, 2, 9])
@each("temperature", [0.05, 1.0])
@each("absent", [(), (1,)])
def test_is_the_loop_over_experts(absent, temperature, top_k):
    router, known, x = bound(absent, top_k=top_k, temperature=temperature), torch.randn(8, F), torch.randn(7, F)
    router.fit(known, TASKS)
    w = ask(router, x)
    for b in range(7):
        score = []
        for learnt in LEARNT:
            mine = torch.stack([row / row.norm() for row, task in zip(known, TASKS, strict=True) if task in learnt])
            score.append(float(torch.cosine_similarity(x[b], mine.mean(0), 0)) / temperature)
        kept = sorted(range(4), key=lambda e: -score[e])[:top_k]  # noqa: B023
        total = sum(math.exp(score[e]) for e in kept)
        want = [math.exp(score[e]) / total if e in kept and e not in absent else 0 for e in range(4)]
        assert w[b].tolist() == pytest.approx(want, abs=1e-4)


def test_a_new_task_is_the_mean_of_its_examples():
    router, centres = bound(top_k=1), normalize(torch.randn(3, F), dim=-1)
    tasks = ["math", "law", "food"]
    router.fit(torch.cat([centres + 0.1 * torch.randn(3, F) for _ in range(5)]), tasks * 5)
    noisy = centres[2] + 0.8 * torch.randn(400, F)  # one example may lead astray
    alone = ask(router, noisy)[:, 2].mean()
    together = ask(router, noisy.mean(0).expand(3, -1))
    assert alone < 0.9 and together.tolist() == [[0, 0, 1, 0]] * 3


def test_all_layers_share_what_was_learnt(llama, experts):
    banks = attach(llama, experts(llama, 2), Retrieval())
    next(iter(banks.layers.values())).router.fit(torch.randn(2, F), banks.tasks)
    assert list(banks.router_state()) == ["|learnt.prototype_EF"]
    banks.set_batch(features=torch.randn(2, F))
    banks.context.weights = {}
    llama(torch.randint(3, 90, (2, 7)))
    every = list(banks.context.weights.values())
    assert len(every) == 14 and all(torch.equal(w, every[0]) for w in every) and len(banks.context.once) == 1


def test_what_cannot_be():
    router = bound()
    with pytest.raises(Invalid, match=r"no prompts for expert 'c', trained on \['food'\]"):
        router.fit(torch.randn(2, F), ["math", "law"])
    router.fit(torch.randn(8, F), TASKS)
    with pytest.raises(Invalid, match="needs the features"):
        router(torch.randn(1, 2, I), Context())
    for options in ({"top_k": 0}, {"temperature": 0.0}):
        with pytest.raises(Invalid, match="top_k >= 1 and temperature > 0"):
            Retrieval(**options)
