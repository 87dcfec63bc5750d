"""How much faster, and in how much less memory, does one routed layer answer than PEFT's Arrow?

Peer      PEFT's `create_arrow_model`, given our own experts as `Library.add` exports them, and our exact prototypes (its
          power iteration finds others: bench_prototypes). Every expert trains, on both sides, when there is a backward pass.
Equality  outputs, and the gradients of x, A and B, to 1e-5 of their largest number.
Expected  forward ≥ 3x at E 16, ≥ 9x at 64, ≥ 28x at 256; with backward ≥ 2x at E 4; ≥ 20x less memory at E 64, rank 16.

"base" is the plain linear as a share of our time: what nobody can be faster than.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from experts import exported, random_expert
from peft import ArrowConfig, create_arrow_model
from side_by_side import Row, agree, difference, interleaved, options, peak_bytes, tell
from torch import Tensor, nn

from yosegi.core.model import attach
from yosegi.routers.arrow import Arrow

TOP_K = 4


class Case(NamedTuple):
    """E experts of rank R, T tokens of width D; time, or memory instead."""

    E: int
    R: int
    T: int
    D: int = 1024
    rounds: int = 11
    backward: bool = False
    memory: bool = False


FULL = [
    *(Case(E, 4, 128) for E in (4, 16, 64, 256)),
    Case(16, 4, 2048, rounds=7),
    Case(64, 4, 2048, rounds=5),
    *(Case(E, 4, 128, backward=True) for E in (4, 16, 64, 256)),
    *(Case(E, 4, 2048, rounds=5, backward=True) for E in (4, 16, 64)),
    *(Case(64, 16, 2048, rounds=0, backward=backward, memory=True) for backward in (False, True)),
]
QUICK = [Case(4, 2, 16, 64, 1), Case(8, 2, 16, 64, 1, True), Case(8, 4, 16, 64, 0, True, True)]


class Side(NamedTuple):
    """A layer, and the parameters its gradients are read from: A, then B."""

    layer: Callable[[Tensor], Tensor]
    A: Sequence[Tensor]
    B: Sequence[Tensor]


def sides(case: Case) -> tuple[Side, Side, nn.Linear]:
    """The same layer twice, PEFT's and ours, and the linear they both stand beside."""
    E, R, D, base = case.E, case.R, case.D, nn.Linear(case.D, case.D, bias=False)
    experts = [random_expert(f"e{e}", {"linear": (D, D)}, R) for e in range(E)]
    with exported(experts) as paths:
        peer = create_arrow_model(nn.ModuleDict({"linear": base}), [*map(str, paths)], ArrowConfig(top_k=TOP_K)).eval()
    theirs, names = peer.base_model.model["linear"], [f"task_{e}" for e in range(E)]
    banks = attach(model := nn.ModuleDict({"linear": base}), experts, Arrow(TOP_K))
    theirs(torch.zeros(1, 1, D))  # only now it makes its prototypes
    theirs.lora_arrow["arrow_router"].prototypes.copy_(banks.layers["linear"].router.prototype_EI)
    A, B = ([getattr(theirs, f"lora_{letter}")[name].weight.requires_grad_() for name in names] for letter in "AB")
    return Side(theirs, A, B), Side(model["linear"], [banks["linear"].A_ERI], [banks["linear"].B_EOR]), base


def run(side: Side, x: Tensor, g: Tensor | None) -> list[Tensor]:
    """The output, and given its gradient g also those of x, of every A and of every B."""
    if g is None:
        with torch.no_grad():
            return [side.layer(x)]
    y = side.layer(x)
    return [y, *torch.autograd.grad(y, [x, *side.A, *side.B], g)]


def whole(answer: list[Tensor], side: Side) -> list[Tensor]:
    """The same with A [E, R, I] and B [E, O, R] in one piece each, as PEFT does not keep them."""
    if len(answer) == 1 or len(side.A) == 1:
        return answer
    return [*answer[:2], torch.stack(answer[2 : 2 + len(side.A)]), torch.stack(answer[2 + len(side.A) :])]


def row(case: Case) -> Row:
    """Equal first, then measured."""
    theirs, ours, base = sides(case)
    x = torch.randn(1, case.T, case.D, requires_grad=case.backward)
    g = torch.randn(1, case.T, case.D) if case.backward else None
    answers = [whole(run(side, x, g), side) for side in (ours, theirs)]
    equal = max(difference(a, b) for a, b in zip(*answers, strict=True))
    del answers
    found: Row = {"E": case.E, "rank": case.R, "T": case.T, "d": case.D}
    found["pass"] = "forward + backward" if case.backward else "forward"
    if case.memory:
        megabytes = [peak_bytes(lambda side=side: run(side, x, g)) / 1e6 for side in (theirs, ours)]
        found |= {"PEFT MB": megabytes[0], "yosegi MB": megabytes[1], "ratio": megabytes[0] / megabytes[1]}
    else:
        turns = {"base": Side(base, [], []), "theirs": theirs, "ours": ours}
        acts = {name: (lambda side=side: run(side, x, g)) for name, side in turns.items()}
        times, ratios = interleaved(case.rounds, **acts)
        found |= {"PEFT ms": 1e3 * times["theirs"], "yosegi ms": 1e3 * times["ours"], "ratio": ratios["theirs"]}
        found |= {"base": ratios["base"]}
    return found | {"equal to": agree(f"The layers at E {case.E}, T {case.T}", equal, 1e-5)}


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """All cases, one row each."""
    chosen = options(__doc__, arguments)
    return tell(__doc__, [row(case) for case in (QUICK if chosen.quick else FULL)], chosen)


if __name__ == "__main__":
    main()
