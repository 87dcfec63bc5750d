"""How fast, and how exactly, does Arrow find the prototypes of many experts in many layers?

A prototype is the input direction that an expert's delta B A stretches most: its top right singular vector.

Peers     PEFT's `build_prototypes`, 15 steps of power iteration an expert; and the dense SVD of B A, as mttl does it, timed
          on a few experts and multiplied up (the column says on how many).
Equality  ours is within 0.05° of the dense SVD in float64, on those few. PEFT's angle, to ours, is printed and not asserted:
          with random factors the singular values lie close together and power iteration has not converged; "decays" halves
          each singular value, as training tends to.
Expected  ≥ 2x against PEFT at rank 16, thousands against the dense SVD.
"""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch
from peft import ArrowConfig
from peft.tuners.lora.arrow import ArrowLoraLinearLayer
from side_by_side import Row, agree, clock, interleaved, options, tell
from torch import Tensor, nn

from yosegi.core.bank import Bank
from yosegi.core.expert import Factors
from yosegi.routers.arrow import Arrow


class Case(NamedTuple):
    """E experts of rank R in L layers of width D; `few` go through the dense SVD."""

    E: int
    L: int
    R: int
    D: int
    decays: bool = False
    few: int = 4
    rounds: int = 5


FULL = [Case(64, 32, 4, 1024), Case(64, 32, 4, 1024, True), Case(64, 32, 16, 1024), Case(64, 16, 16, 2048, few=2)]
QUICK = [Case(4, 2, 4, 64, rounds=1), Case(4, 2, 4, 64, True, rounds=1)]


def factors(case: Case) -> Factors:
    """Random factors; with `decays` the delta's singular values are 1, 1/2, 1/4 …"""
    A_RI, B_OR = torch.randn(case.R, case.D), torch.randn(case.D, case.R)
    if case.decays:
        A_RI = torch.linalg.qr(A_RI.mT).Q.mT * 0.5 ** torch.arange(case.R)[:, None]
        B_OR = torch.linalg.qr(B_OR).Q
    return Factors(A_RI, B_OR)


def peer(layer: Sequence[Factors]) -> tuple[ArrowLoraLinearLayer, nn.ModuleDict, nn.ModuleDict]:
    """One layer of PEFT's, and its A and B."""
    names = [f"task_{e}" for e in range(len(layer))]
    A, B = nn.ModuleDict(), nn.ModuleDict()
    for name, f in zip(names, layer, strict=True):
        A[name], B[name] = (nn.Linear(m.shape[1], m.shape[0], bias=False) for m in (f.A_RI, f.B_OR))
        A[name].weight.data, B[name].weight.data = f.A_RI, f.B_OR
    config = ArrowConfig()
    config.task_adapter_names, config.gks_adapter_names = names, []
    return ArrowLoraLinearLayer(layer[0].A_RI.shape[1], config), A, B


def degrees(a_I: Tensor, b_I: Tensor) -> float:
    """The angle theirs_off two directions, whichever way they point; exact near zero, where the arc cosine is not."""
    a_I, b_I = (nn.functional.normalize(v.double(), dim=0) for v in (a_I, b_I))
    return float(torch.rad2deg(2 * torch.asin(min((a_I - b_I).norm(), (a_I + b_I).norm()) / 2)))


def row(case: Case) -> Row:
    """Measured, then held against the dense SVD."""
    layers = [[factors(case) for _ in range(case.E)] for _ in range(case.L)]
    names = [str(e) for e in range(case.E)]
    banks = [Bank(names, [()] * case.E, layer, (case.D, case.D)) for layer in layers]
    routers, peers = [Arrow() for _ in banks], [peer(layer) for layer in layers]

    def theirs() -> None:
        for layer, A, B in peers:
            layer._protos_ready = False
            layer.build_prototypes(A, B)

    def ours() -> None:
        for router, bank in zip(routers, banks, strict=True):
            router.attach(bank)

    times, ratios = interleaved(case.rounds, theirs=theirs, ours=ours)
    few = layers[0][: case.few]
    dense = statistics.median(clock(lambda f=f: torch.linalg.svd(f.dense(), full_matrices=False)) for f in few)
    true = [torch.linalg.svd(f.B_OR.double() @ f.A_RI.double()).Vh[0] for f in few]
    off = max(degrees(v, w) for v, w in zip(true, routers[0].prototype_EI, strict=False))
    agree("Our prototypes and the dense SVD's (degrees)", off, 0.05)
    found = [(p.prototypes, r.prototype_EI) for (p, _, _), r in zip(peers, routers, strict=True)]
    theirs_off = torch.tensor([degrees(v, w) for layer in found for v, w in zip(*layer, strict=True)])
    return {
        "experts x layers": f"{case.E} x {case.L}",
        "rank": case.R,
        "d": case.D,
        "spectrum": "decays" if case.decays else "random",
        "PEFT ms": 1e3 * times["theirs"],
        "yosegi ms": 1e3 * times["ours"],
        "ratio": ratios["theirs"],
        "ratio to dense SVD": dense * case.E * case.L / times["ours"],
        "(timed on)": len(few),
        "yosegi off by, max": f"{off:.1g}°",
        "PEFT off by, median": f"{float(theirs_off.median()):.2g}°",
        "max": f"{float(theirs_off.max()):.2g}°",
    }


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """All cases, one row each."""
    chosen = options(__doc__, arguments)
    return tell(__doc__, [row(case) for case in (QUICK if chosen.quick else FULL)], chosen)


if __name__ == "__main__":
    main()
