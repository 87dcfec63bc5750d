"""How much faster, and in how much less memory, is a layer of LoRAMoE than a loop over its experts and than PEFT's X-LoRA?

Loop      what the authors' code does: expert by expert, w_e s B_e A_e x. The factors are views of ours.
Peer      PEFT's X-LoRA layer, given our own experts as `Library.add` exports them, and as its scalings the same softmax of
          the same rows; the router's work is counted on all sides.
Equality  outputs, and the gradients of x, A, B and the router, to 1e-5 of their largest number.
Expected  forward and backward ≥ 2x X-LoRA's at d 1024, ≥ 3x at d 256, at E 4, 6, 8 and 16.

"base" is the plain linear as a share of our time: what nobody can be faster than. No dropout, which each has its own way of.
"""

from collections.abc import Callable, Sequence
from itertools import product
from types import SimpleNamespace
from typing import NamedTuple

import torch
from experts import exported, random_expert
from peft import PeftModel
from peft.tuners.xlora.layer import XLoraLinearLayer
from side_by_side import Row, agree, difference, interleaved, options, peak_bytes, tell
from torch import Tensor, nn

from yosegi.core.model import attach
from yosegi.routers.softmax import Softmax


class Case(NamedTuple):
    """E experts of rank R, T tokens of width D; so many rounds, or memory where there are none."""

    E: int
    D: int
    R: int = 8
    T: int = 2048
    rounds: int = 7


FULL = [
    *(Case(E, D) for D, E in product((256, 1024), (4, 6, 8, 16))),
    *(Case(E, 1024, rounds=0) for E in (4, 6, 8, 16)),
]
QUICK = [Case(4, 32, 2, 16, 1), Case(6, 32, 2, 16, 0)]


class Side(NamedTuple):
    """A layer, and the parameters its gradients are read from: the router's, A, then B."""

    layer: Callable[[Tensor], Tensor]
    router: Tensor
    A: Sequence[Tensor]
    B: Sequence[Tensor]


def sides(case: Case) -> tuple[dict[str, Side], nn.Linear]:
    """The same layer three times, and the linear it stands beside."""
    E, D, base = case.E, case.D, nn.Linear(case.D, case.D, bias=False)
    experts = [random_expert(f"e{e}", {"linear": (D, D)}, case.R) for e in range(E)]
    with exported(experts) as (first, *rest):
        loaded = PeftModel.from_pretrained(nn.ModuleDict({"linear": base}), first, adapter_name=first.name)
        for path in rest:
            loaded.load_adapter(path, path.name)
    target = loaded.eval().base_model.model["linear"]
    target.set_adapter([e.name for e in experts])
    how = SimpleNamespace(top_k_lora=None, enable_softmax_topk=False, global_scaling_weight=1.0)
    xlora = XLoraLinearLayer(SimpleNamespace(disabled=False), target, target.forward, 0, how)
    their_A, their_B = (
        [getattr(target, f"lora_{letter}")[e.name].weight.requires_grad_() for e in experts] for letter in "AB"
    )
    banks = attach(model := nn.ModuleDict({"linear": base}), experts, Softmax())
    bank, row_EI = banks["linear"], model["linear"].router.row_EI
    row_EI.data.normal_(std=D**-0.5)

    def peer(x: Tensor) -> Tensor:
        return xlora.forward(x, scalings=(x @ row_EI.mT).softmax(-1)[:, :, None])

    def loop(x: Tensor) -> Tensor:
        w_BTE, y = (x @ row_EI.mT).softmax(-1), base(x)
        for e in range(E):
            y = y + w_BTE[..., e, None] * (x @ bank.A_ERI[e].mT @ bank.B_EOR[e].mT) * experts[e].factors["linear"].scale
        return y

    A, B = [bank.A_ERI], [bank.B_EOR]
    found = {"X-LoRA": Side(peer, row_EI, their_A, their_B), "loop": Side(loop, row_EI, A, B)}
    return {**found, "yosegi": Side(model["linear"], row_EI, A, B)}, base


def run(side: Side, x: Tensor, g: Tensor) -> list[Tensor]:
    """The output, and the gradients of x, of the router, of every A and of every B."""
    y = side.layer(x)
    return [y, *torch.autograd.grad(y, [x, side.router, *side.A, *side.B], g)]


def whole(answer: list[Tensor], side: Side) -> list[Tensor]:
    """The same with A [E, R, I] and B [E, O, R] in one piece each, as PEFT does not keep them."""
    if len(side.A) == 1:
        return answer
    return [*answer[:3], torch.stack(answer[3 : 3 + len(side.A)]), torch.stack(answer[3 + len(side.A) :])]


def row(case: Case) -> Row:
    """Equal first, then measured."""
    by_name, base = sides(case)
    x, g = torch.randn(1, case.T, case.D, requires_grad=True), torch.randn(1, case.T, case.D)
    ours = run(by_name["yosegi"], x, g)
    equal = max(
        difference(a, b)
        for name in ("X-LoRA", "loop")
        for a, b in zip(ours, whole(run(by_name[name], x, g), by_name[name]), strict=True)
    )
    del ours
    found: Row = {"E": case.E, "rank": case.R, "T": case.T, "d": case.D}
    acts = {name: (lambda side=side: run(side, x, g)) for name, side in by_name.items()}
    if case.rounds:
        times, ratios = interleaved(case.rounds, base=lambda: torch.autograd.grad(base(x), x, g), **acts)
        found |= {f"{name} ms": 1e3 * times[name] for name in by_name}
        found |= {"ratio": ratios["X-LoRA"], "ratio to loop": ratios["loop"], "base": ratios["base"]}
    else:
        megabytes = {name: peak_bytes(act) / 1e6 for name, act in acts.items()}
        found |= {f"{name} MB": megabytes[name] for name in by_name}
        found |= {
            "ratio": megabytes["X-LoRA"] / megabytes["yosegi"],
            "ratio to loop": megabytes["loop"] / megabytes["yosegi"],
        }
    return found | {"equal to": agree(f"The layers at E {case.E}, d {case.D}", equal, 1e-5)}


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """All cases, one row each."""
    chosen = options(__doc__, arguments)
    return tell(__doc__, [row(case) for case in (QUICK if chosen.quick else FULL)], chosen)


if __name__ == "__main__":
    main()
