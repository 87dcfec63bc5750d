"""Which way of computing the experts is the cheapest, does the layer take it, and what does PEFT's loop over adapters cost?

Ways      dense (two GEMMs over all experts), grouped (only the experts active for a token), gathered (one expert a sequence), and
          what the layer takes by itself, counting multiply-adds (core/dispatch.py).
Peer      for one expert a sequence, forward and backward: PEFT's `adapter_names`, given our own experts as `Library.add`
          exports them.
Equality  outputs, and against PEFT the gradients of x, A and B, to 1e-5 of their largest number.
Expected  what the layer takes costs at most 10 % more than the best; PEFT ≥ 2x at E 4 and ≥ 9x at E 256 (d 256).

Against each other the ways are timed without the base linear and the router, which cost the same whichever way: the layer as a
whole loses less than what stands under "regret". The regret has the counting in it, and the noise of the best.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from experts import exported, random_expert
from peft import PeftModel
from side_by_side import Row, agree, difference, interleaved, options, tell
from torch import Tensor, nn

from yosegi.core import layer as layers
from yosegi.core.context import Context
from yosegi.core.model import attach
from yosegi.core.router import Router
from yosegi.routers.by_request import ByRequest


class Case(NamedTuple):
    """B sequences of T tokens, E experts of rank R. Every token uses `top_k` of them; 0: each sequence the one it names."""

    B: int
    T: int
    E: int
    D: int
    R: int
    top_k: int = 0
    rounds: int = 7


NAMES = ("dense", "grouped", "gathered")
BATCHES, LONG = [(8, 1), (1, 128)], [(1, 2048)]
WAYS = [
    *(Case(B, T, E, D, R, k) for D, R, (B, T), E, k in product((256, 1024), (4, 8), BATCHES, (16, 64, 256), (1, 2, 4))),
    *(Case(B, T, E, D, R, k, 5) for D, R, (B, T), E, k in product((256, 1024), (4, 8), LONG, (16, 64, 256), (1, 2, 4))),
    *(Case(B, T, E, D, 8) for D, (B, T), E in product((256, 1024), ((8, 1), (64, 1), (8, 16)), (4, 16, 64, 256))),
    *(Case(4, 512, E, D, 8, rounds=5) for D, E in product((256, 1024), (4, 16, 64, 256))),
]
PEER = [Case(64, 32, E, D, 16, rounds=3) for D, E in product((256, 1024), (4, 16, 64, 256))]
QUICK_WAYS, QUICK_PEER = [Case(2, 3, 8, 32, 2, 2, 1), Case(4, 2, 8, 32, 2, 0, 1)], [Case(4, 2, 8, 32, 2, 0, 1)]


class Given(Router):
    """Says what it was given."""

    def __init__(self, w_HE: Tensor):
        super().__init__()
        self.w_HE = w_HE

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """The same rows, whichever experts are active."""
        return self.w_HE


class GivenOne(Given):
    """The same, where w is one expert a sequence."""

    one_each = True


class Ready(nn.Linear):
    """A base that has answered already."""

    def forward(self, x_I: Tensor) -> Tensor:
        """The same numbers each time, for little: a copy, since the layer adds to what it is given."""
        return self.answer.clone()


def weights(case: Case) -> tuple[Tensor, list[str]]:
    """w as a router would say it, and which expert each sequence asks for."""
    asked_B = torch.randint(case.E, (case.B,))
    if not case.top_k:
        return nn.functional.one_hot(asked_B, case.E).float()[:, None, None], [f"e{e}" for e in asked_B]
    top = torch.randn(case.B, case.T, 1, case.E).topk(case.top_k)
    w_BTHE = torch.zeros(case.B, case.T, 1, case.E).scatter(-1, top.indices, top.values.softmax(-1))
    return w_BTHE, [f"e{e}" for e in asked_B]


def ways(case: Case) -> Row:
    """Every way that could be taken, and the one that is."""
    w_HE, asked = weights(case)
    model = nn.ModuleDict({"linear": Ready(case.D, case.D)})
    x = torch.randn(case.B, case.T, case.D)
    model["linear"].answer = torch.randn(case.B, case.T, case.D)
    experts = [random_expert(f"e{e}", {"linear": (case.D, case.D)}, case.R) for e in range(case.E)]
    banks = attach(model, experts, (Given if case.top_k else GivenOne)(w_HE))
    banks.set_batch(experts=asked)
    choose, arguments = layers.cheapest, []
    times_each = 1 + 256 // (case.B * case.T)

    def forced(way: str) -> Callable[[], Tensor]:
        def act() -> Tensor:
            layers.cheapest = lambda *arguments: way
            for _ in range(times_each - 1):  # or the last way's caches would be this one's
                model["linear"](x)
            return model["linear"](x)

        return act

    def noted(*given: Any) -> str:
        arguments.append(given)
        return choose(*given)

    def choosing() -> None:
        for _ in range(times_each):
            choose(*arguments[0])

    sides = {way: forced(way) for way in NAMES if way != "gathered" or not case.top_k}
    try:
        with torch.no_grad():
            said = {way: act() - model["linear"].base.answer for way, act in sides.items()}
            layers.cheapest = noted
            model["linear"](x)
            way = choose(*arguments[0])
            times, _ = interleaved(case.rounds, **sides, choosing=choosing)
    finally:
        layers.cheapest = choose
    equal = max(difference(y, said["dense"]) for y in said.values())
    milliseconds = {side: 1e3 * spent / times_each for side, spent in times.items()}
    best = min(milliseconds[side] for side in sides)
    found: Row = {"tokens": f"{case.B} x {case.T}", "E": case.E, "active": case.top_k or "one a sequence", "d": case.D}
    found |= {"rank": case.R} | {f"{side} ms": milliseconds[side] for side in sides} | {"taken": way}
    found |= {
        "choosing ms": milliseconds["choosing"],
        "regret": (milliseconds[way] + milliseconds["choosing"]) / best - 1,
    }
    return found | {"equal to": agree(f"The ways at {case}", equal, 1e-5)}


def peer(case: Case) -> Row:
    """One expert a sequence with the base, forward and backward, beside PEFT."""
    _, asked = weights(case)
    experts = [random_expert(f"e{e}", {"linear": (case.D, case.D)}, case.R) for e in range(case.E)]
    base = nn.Linear(case.D, case.D, bias=False)
    with exported(experts) as (first, *rest):
        loaded = PeftModel.from_pretrained(nn.ModuleDict({"linear": base}), first, adapter_name=first.name)
        for path in rest:
            loaded.load_adapter(path, path.name)
    theirs = loaded.eval().base_model.model["linear"]
    their_A, their_B = (
        [getattr(theirs, f"lora_{letter}")[e.name].weight.requires_grad_() for e in experts] for letter in "AB"
    )
    banks = attach(model := nn.ModuleDict({"linear": base}), experts, ByRequest())
    banks.set_batch(experts=asked)
    our_A, our_B = banks["linear"].A_ERI, banks["linear"].B_EOR
    x, g = torch.randn(case.B, case.T, case.D, requires_grad=True), torch.randn(case.B, case.T, case.D)

    def ours() -> tuple[Tensor, ...]:
        y = model["linear"](x)
        return y, *torch.autograd.grad(y, [x, our_A, our_B], g)

    def peft() -> tuple[Tensor, ...]:
        y = theirs(x, adapter_names=asked)
        return y, *torch.autograd.grad(y, [x, *their_A, *their_B], g, materialize_grads=True)

    y, x_grad, *their = peft()
    their = [y, x_grad, torch.stack(their[: case.E]), torch.stack(their[case.E :])]
    equal = max(difference(a, b) for a, b in zip(ours(), their, strict=True))
    times, ratios = interleaved(case.rounds, peft=peft, base=lambda: torch.autograd.grad(base(x), x, g), ours=ours)
    found: Row = {
        "tokens": f"{case.B} x {case.T}",
        "E": case.E,
        "active": "one a sequence",
        "d": case.D,
        "rank": case.R,
    }
    found |= {"PEFT ms": 1e3 * times["peft"], "yosegi ms": 1e3 * times["ours"], "ratio": ratios["peft"]}
    return found | {"base": ratios["base"], "equal to": agree(f"The layers at {case}", equal, 1e-5)}


def summary(rows: Sequence[Row]) -> None:
    """How often, how much, and from how many experts on."""
    much = [row for row in rows if row["regret"] > 0.1]
    print(
        f"\nRegret at most 10 % in {len(rows) - len(much)} of {len(rows)} cells; the worst {max(r['regret'] for r in rows):.0%}."
    )
    wrong = [row for row in rows if row[f"{row['taken']} ms"] > 1.1 * min(row.get(f"{w} ms", torch.inf) for w in NAMES)]
    print(f"Choosing left out, another way was more than 10 % faster in {len(wrong)}.")
    better: dict[tuple[object, ...], list[object]] = {}
    for row in rows:
        if row["active"] != "one a sequence":
            key = (row["tokens"], row["d"], row["rank"], row["active"])
            better.setdefault(key, []).extend([row["E"]] if row["grouped ms"] < row["dense ms"] else [])
    print("Grouped is faster than dense from so many experts on:")
    for (tokens, d, rank, k), found in better.items():
        print(f"  {tokens} tokens, d {d}, rank {rank}, top-{k}: {min(found, default='none')}")


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The ways against each other, then the peer."""
    chosen = options(__doc__, arguments)
    compared = [ways(case) for case in (QUICK_WAYS if chosen.quick else WAYS)]
    rows = tell(__doc__, compared + [peer(case) for case in (QUICK_PEER if chosen.quick else PEER)], chosen)
    summary(compared)
    return rows


if __name__ == "__main__":
    main()
