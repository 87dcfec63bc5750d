"""How much faster are many experts merged into one, at the same distance from the true sum Σ w ΔW?

Peer      PEFT's `add_weighted_adapter`, given our own experts as `Library.add` exports them: svd with its default
          (`svd_full_matrices=True`) and with the cheaper False, cat and linear.
Equality  the merged deltas, dense against dense, to 1e-4 of their norm. PEFT's linear multiplies √w into A and into B where
          ours multiplies w, so it is given w² to do the same; "linear, its own w" is what its users get.
Expected  svd ≥ 200x; cat and linear a few times.

"merge" is our whole call, which also measures the relative error for the card; "method" is the function alone.
Errors are ‖merged - Σ w ΔW‖ / ‖Σ w ΔW‖, measured here in float64 and not by either side.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from experts import exported, random_expert
from peft import PeftModel
from side_by_side import Row, agree, interleaved, options, tell
from torch import Tensor, nn

from yosegi import registry
from yosegi.core.expert import Expert
from yosegi.merges import merge

Deltas = dict[str, Tensor]
CALLS = itertools.count()


class Case(NamedTuple):
    """E experts of rank R in `modules` square linears of width D."""

    E: int = 8
    R: int = 16
    D: int = 2048
    modules: int = 2
    rounds: int = 3


def loaded(experts: Sequence[Expert], D: int) -> PeftModel:
    """The same as PEFT's adapters."""
    base = nn.ModuleDict({layer: nn.Linear(D, D, bias=False) for layer in experts[0].factors})
    with exported(experts) as (first, *rest):
        peer = PeftModel.from_pretrained(base, first, adapter_name=first.name)
        for path in rest:
            peer.load_adapter(path, path.name)
    return peer


def stacked(experts: Sequence[Expert], layer: str) -> tuple[Tensor, Tensor]:
    """A [E, R, I] and B [E, O, R] with its scale: what a method of ours is given."""
    factors = [e.factors[layer] for e in experts]
    return torch.stack([f.A_RI for f in factors]), torch.stack([f.scale * f.B_OR for f in factors])


def added(peer: PeftModel, name: str) -> Deltas:
    """What an adapter of PEFT's adds, dense."""
    return {
        layer: m.scaling[name] * m.lora_B[name].weight.detach().double() @ m.lora_A[name].weight.detach().double()
        for layer, m in peer.base_model.model.items()
    }


def apart(found: Deltas, true: Deltas) -> float:
    """‖found - true‖ / ‖true‖ over all layers."""
    lost = sum(float((found[layer] - true[layer]).square().sum()) for layer in true)
    return (lost / sum(float(t.square().sum()) for t in true.values())) ** 0.5


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """One row a method."""
    chosen = options(__doc__, arguments)
    case = Case(3, 2, 48, 2, 1) if chosen.quick else Case()
    layers, w = [f"linear{m}" for m in range(case.modules)], [1 / case.E] * case.E
    experts = [random_expert(f"e{e}", dict.fromkeys(layers, (case.D, case.D)), case.R) for e in range(case.E)]
    peer, names = loaded(experts, case.D), [e.name for e in experts]
    truth = {layer: sum(w[0] * e.delta(layer).double() for e in experts) for layer in layers}

    def row(what: str, method: str, their_w: list[float], same: bool = True, **more: Any) -> Row:
        """PEFT keeps every result it was asked for, so each call needs another name."""
        blend, stacks = registry.find("merges", method), [stacked(experts, layer) for layer in layers]
        times, ratios = interleaved(
            case.rounds if method == "svd" else 5 * case.rounds,
            theirs=lambda: peer.base_model.add_weighted_adapter(names, their_w, f"{what}{next(CALLS)}", method, **more),
            merge=lambda: merge(experts, method, w),
            ours=lambda: [blend(A_ERI, B_EOR, torch.tensor(w)) for A_ERI, B_EOR in stacks],
        )
        our = {layer: f.dense().double() for layer, f in merge(experts, method, w).factors.items()}
        their = added(peer, f"{what}{next(CALLS) - 1}")
        if same:
            agree(what, apart(our, their), 1e-4)
        return {
            "method": what,
            "PEFT ms": 1e3 * times["theirs"],
            "merge ms": 1e3 * times["merge"],
            "method ms": 1e3 * times["ours"],
            "ratio to merge": ratios["theirs"] / ratios["merge"],
            "ratio to method": ratios["theirs"],
            "PEFT error": f"{apart(their, truth):.4f}",
            "yosegi error": f"{apart(our, truth):.4f}",
        }

    rows = [
        row("svd", "svd", w),
        row("svd, full_matrices=False", "svd", w, svd_full_matrices=False),
        row("cat", "cat", w),
        row("linear, w²", "linear", [x * x for x in w]),
        row("linear, its own w", "linear", w, same=False),
    ]
    return tell(__doc__, rows, chosen)


if __name__ == "__main__":
    main()
