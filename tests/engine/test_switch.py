"""Every request of a batch by an arm of its own, as if that arm were alone in the model."""

import dataclasses

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.core.model import linears, shape
from yosegi.engine.arm import Arm
from yosegi.engine.generate import generate, run
from yosegi.engine.request import MARGIN, Request, Stop
from yosegi.engine.switch import Switch, key
from yosegi.errors import Invalid
from yosegi.merges import merge

WORDS = [[40 + n for n in range(length)] for length in (3, 37, 5, 18)]
"""Prompts; the second is longer than two pages of the cache."""


def library(model, ranks=(2, 4, 4, 2), size=0.3):
    """Random experts that move the model far; the last lacks every second layer."""
    modules, made = dict(model.named_modules()), []
    for n, rank in enumerate(ranks):
        chance = torch.Generator().manual_seed(n)
        factors = {}
        for place, layer in enumerate(linears(model)):
            if n == len(ranks) - 1 and place % 2:
                continue
            O, I = shape(modules[layer])
            A, B = torch.randn(rank, I, generator=chance) / I**0.5, torch.randn(O, rank, generator=chance)
            factors[layer] = Factors(A, size * B, 1.0)
        made.append(Expert("abcdefgh"[n], factors, {"task": [f"task_{n}"]}))
    return made


def arms_of(experts, scope):
    a, b, c, d = experts
    features = {
        "router_state": {"|learnt.prototype_EF": torch.randn(4, 32, generator=torch.Generator().manual_seed(9))}
    }
    return {
        "base": Arm("base"),
        "a": Arm("a", [a]),
        "d": Arm("d", [d]),
        "weights": Arm("w", [a, b, d], "static", {"constraint": "free"}, {"|a_E": torch.tensor([0.7, 0.3, -0.2])}),
        "uniform": Arm("u", experts),
        "left out": Arm("l", experts, ablate=("b",)),
        "ties": Arm("m", [a, b, c], merge="ties"),
        "wide": Arm("cat", experts, merge="cat", merge_args={"weights": [0.5] * 4}),
        "arrow": Arm("arrow", experts, "arrow", {"top_k": 2}),
        "arrow of three": Arm("arrow3", [d, c, a], "arrow", {"top_k": 1}, ablate=("c",)),
        "softmax": Arm("s", [b, c], "softmax", {"scope": scope}, state(scope, b, c)),
        "oracle": Arm("o", experts, "oracle"),
        "retrieval": Arm("r", experts, "retrieval", {"top_k": 2}, **features),
    }


def state(scope, *experts):
    """What a softmax router learnt: rows for every linear, or for the first of each block."""
    blocks, rows = set(), {}
    for n, (layer, factors) in enumerate(experts[0].factors.items()):
        if scope == "projection" or layer.rpartition(".")[0] not in blocks:
            blocks.add(layer.rpartition(".")[0])
            chance = torch.Generator().manual_seed(n)
            rows[f"{layer}|row_EI"] = torch.randn(len(experts), factors.A_RI.shape[1], generator=chance)
    return rows


def known(arm, n):
    if arm.needs == "tasks":
        return {"tasks": (f"task_{n % 4}", None)[n % 3 == 2]}
    if arm.needs == "features":
        return {"features": torch.randn(32, generator=torch.Generator().manual_seed(n))}
    return {}


def alone(base, arm, ids, about, limit=10):
    """The answer with nobody but this arm in the model, and its margins by the plainest loop."""
    written, margins = [], []
    with arm.attached(base) as banks, torch.no_grad():
        for _ in range(limit):
            if banks is not None:
                values = {what: v[None] if isinstance(v, torch.Tensor) else [v] for what, v in about.items()}
                banks.set_batch(**values)
            best = base.model(torch.tensor([ids + written]), use_cache=False).logits[0, -1].topk(2)
            written.append(int(best.indices[0]))
            margins.append(float(best.values[0] - best.values[1]))
            if written[-1] in Stop(base).ids:
                break
    return written, next((n for n, margin in enumerate(margins) if margin < MARGIN), len(margins))


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2"])
def test_all_kinds_of_arms_in_one_batch_answer_as_alone(tiny, family):
    base = tiny(family)
    arms = arms_of(library(base.model), "ffn" if family == "llama" else "projection")
    expected = {
        (name, n): alone(base, arm, ids, known(arm, n)) for name, arm in arms.items() for n, ids in enumerate(WORDS)
    }
    with Switch(base) as switch:
        seats = {name: switch.open(arm) for name, arm in arms.items()}
        requests = [
            Request(ids, Stop(base), 10, number=number, seat=seats[name], known=known(arms[name], n))
            for number, (name, n, ids) in enumerate((name, n, ids) for n, ids in enumerate(WORDS) for name in arms)
        ]
        list(run(base, requests, switch.set_batch, rows=40))
    compared = 0
    for request, (name, n) in zip(requests, ((name, n) for n in range(len(WORDS)) for name in arms), strict=True):
        written, sure = expected[name, n]
        assert request.completions[0].ids[:sure] == written[:sure], (name, n)
        compared += sure
    assert compared > 0.9 * sum(len(written) for written, _ in expected.values())
    assert len({tuple(written) for written, _ in expected.values()}) > 0.8 * len(expected)  # the arms do differ


def test_factors_and_heads_have_a_batch_of_their_own(tiny):
    base = tiny("llama")
    experts = library(base.model, ranks=(3, 3, 3, 3))
    table = {"|logit_KHE": torch.randn(4, 2, 4, generator=torch.Generator().manual_seed(2))}
    for arms in (
        [Arm("f", experts, mix="factors"), Arm("g", experts[:2], "arrow", {"top_k": 2}, mix="factors")],
        [Arm("mhr", experts, "task_table", {"heads": 2}, table, mix="factors", heads=2)],
    ):
        expected = [alone(base, arm, WORDS[1], known(arm, 1)) for arm in arms]
        with Switch(base, key(arms[0])) as switch:
            requests = [
                Request(WORDS[1], Stop(base), 10, number=n, seat=switch.open(arm), known=known(arm, 1))
                for n, arm in enumerate(arms)
            ]
            with pytest.raises(Invalid, match="mix and heads"):
                switch.open(Arm("base"))
            list(run(base, requests, switch.set_batch))
        for request, (written, sure) in zip(requests, expected, strict=True):
            assert request.completions[0].ids[:sure] == written[:sure] and sure > 5


def test_a_wide_merge_widens_no_other_column(tiny):
    base = tiny("llama")
    experts = library(base.model, ranks=(4,) * 8)
    wide = merge(experts, "cat", name="kept")
    for arm, columns in ((Arm("all", experts, merge="cat"), 8), (Arm("kept", [wide]), 8 + 8)):
        with Switch(base) as switch:
            seats = [switch.open(Arm(e.name, [e])) for e in experts]
            seats.append(switch.open(arm))
            requests = [Request(WORDS[0], Stop(base), 5, number=n, seat=seat) for n, seat in enumerate(seats)]
            list(run(base, requests, switch.set_batch))
            assert switch.banks is not None and wide.rank == 32
            assert all(bank.A_ERI.shape[:2] == (columns, 4) for bank in switch.banks.values())
        for request, one in zip(requests, [*(Arm(e.name, [e]) for e in experts), arm], strict=True):
            written, sure = alone(base, one, WORDS[0], {}, 5)
            assert request.completions[0].ids[:sure] == written[:sure]


def test_a_sum_may_have_weights_for_each_layer(tiny):
    base = tiny("llama")
    experts = library(base.model)
    layers = list(experts[0].factors)
    weights = {layer: [0.9, -0.4, 0.0, 0.5] for layer in layers[1::2]}  # a layer that is not named is not merged
    arm = Arm("by layer", experts, merge="cat", merge_args={"weights": weights})
    written, sure = alone(base, arm, WORDS[1], {})
    with Switch(base) as switch:
        requests = [
            Request(WORDS[1], Stop(base), 10, number=n, seat=switch.open(one))
            for n, one in enumerate((arm, Arm("base")))
        ]
        list(run(base, requests, switch.set_batch))
    assert requests[0].completions[0].ids[:sure] == written[:sure] and sure > 5
    assert requests[0].completions[0].ids != requests[1].completions[0].ids


def test_what_cannot_be_ablated_is_refused(tiny):
    base = tiny("llama")
    experts = library(base.model)
    with Switch(base) as switch, pytest.raises(Invalid, match="can be ablated"):
        switch.open(Arm("m", experts, merge="cat", ablate=("a",)))


def test_arms_come_and_go_while_others_are_answered(tiny):
    from yosegi.engine.decode import Decoder

    base = tiny("llama")
    a, b, c, d = library(base.model, ranks=(4,) * 4)
    new_b = dataclasses.replace(c, name="b")  # the same name, another expert
    arms = [Arm("a", [a]), Arm("b", [b]), Arm("b", [new_b]), Arm("arrow", [a, b, d], "arrow", {"top_k": 2})]
    expected = [alone(base, arm, WORDS[1], {}, 16) for arm in arms]
    modules = dict(base.model.named_modules())
    with Switch(base) as switch:
        decoder, requests = Decoder(base, 8, 64, switch.set_batch), []
        for n, arm in enumerate(arms):
            requests.append(Request(WORDS[1], Stop(base), 16, number=n, seat=switch.open(arm)))
            decoder.add(requests[-1])
            for _ in range(4):
                decoder.step()
        columns = []
        while decoder.step():
            for request in [request for request in requests if request.done and request.seat in switch.seats]:
                switch.close(request.seat)
            columns.append(len(next(iter(switch.banks.values())).names) if switch.banks else 0)
        assert max(columns) == 4 > min(columns)
    for request, (written, sure) in zip(requests, expected, strict=True):
        assert request.completions[0].ids[:sure] == written[:sure] and sure > 10
    assert dict(base.model.named_modules()) == modules


def test_one_prompt_under_two_arms_is_read_twice(tiny):
    """Keys and values depend on who answers: two arms must never share pages of one prompt."""
    base = tiny("llama")
    a, b, *_ = library(base.model)
    long = WORDS[1] + WORDS[3]
    arms = [Arm("a", [a]), Arm("b", [b]), Arm("base")]
    expected = [alone(base, arm, long, {}) for arm in arms]
    with Switch(base) as switch:
        seats = [switch.open(arm) for arm in arms]
        requests = [Request(long, Stop(base), 10, number=n, n=2, seat=seats[n % 3]) for n in range(9)]
        list(run(base, requests, switch.set_batch, rows=4))
    for n, request in enumerate(requests):
        written, sure = expected[n % 3]
        assert [completion.ids[:sure] for completion in request.completions] == [written[:sure]] * 2 and sure > 5


def test_who_has_to_be_told_an_expert_has_no_seat(tiny):
    base = tiny("llama")
    experts = library(base.model)
    with Switch(base) as switch, pytest.raises(Invalid, match="name that expert"):
        switch.open(Arm("asks", experts, "by_request"))
    assert generate(base, ["ab"], max_new_tokens=2)  # and the base is as it was
