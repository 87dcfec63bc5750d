"""How fast, and how exactly, does Arrow find the prototypes of many experts in many layers?

A prototype is the input direction that an expert's delta B A stretches most: its top right singular vector.

Peers     PEFT's `build_prototypes`, 15 steps of power iteration an expert; and the dense SVD of B A, as mttl does it, timed
          on a few experts and multiplied up (the column says on how many).
Equality  ours is within 0.01° of the dense SVD in float64 on those few, and of two thin QRs in float64 on all. PEFT's angle is
          printed and not asserted: with random factors the singular values lie close together and power iteration has not
          converged; "decays" halves each singular value, as training tends to.
Expected  ≥ 5x against PEFT, thousands against the dense SVD.

"4 of Qwen3" is every linear of a model of four layers as Qwen3-0.6B has them. Modules are made, measured and dropped one by one.
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
from yosegi.routers._spectra import by_qr
from yosegi.routers.arrow import Arrow


class Case(NamedTuple):
    """E experts of rank R beside linears of these shapes (O, I); `few` go through the dense SVD."""

    what: str
    E: int
    R: int
    shapes: Sequence[tuple[int, int]]
    decays: bool = False
    few: int = 4
    rounds: int = 3


QWEN = [(2048, 1024), (1024, 1024), (1024, 1024), (1024, 2048), (3072, 1024), (3072, 1024), (1024, 3072)]
FULL = [
    Case("32 of 1024²", 64, 4, [(1024, 1024)] * 32),
    Case("32 of 1024²", 64, 4, [(1024, 1024)] * 32, True),
    Case("32 of 1024²", 64, 16, [(1024, 1024)] * 32),
    Case("16 of 2048²", 64, 16, [(2048, 2048)] * 16, few=1),
    Case("28, 4 of Qwen3", 256, 8, QWEN * 4, few=1, rounds=1),
]
QUICK = [
    Case("2 of 64 x 48", 4, 4, [(64, 48)] * 2, rounds=1),
    Case("2 of 64 x 48", 4, 4, [(48, 64)] * 2, True, rounds=1),
]


def factors(case: Case, O: int, I: int) -> Factors:
    """Random factors; with `decays` the delta's singular values are 1, 1/2, 1/4 …"""
    A_RI, B_OR = torch.randn(case.R, I), torch.randn(O, case.R)
    if case.decays:
        A_RI = torch.linalg.qr(A_RI.mT).Q.mT * 0.5 ** torch.arange(case.R)[:, None]
        B_OR = torch.linalg.qr(B_OR).Q
    return Factors(A_RI, B_OR)


def peer(layer: Sequence[Factors]) -> tuple[ArrowLoraLinearLayer, nn.ModuleDict, nn.ModuleDict]:
    """One layer of PEFT's, and its A and B."""
    names = [f"task_{e}" for e in range(len(layer))]
    A, B = nn.ModuleDict(), nn.ModuleDict()
    for name, f in zip(names, layer, strict=True):
        A[name], B[name] = (nn.Linear(m.shape[1], m.shape[0], bias=False, device="meta") for m in (f.A_RI, f.B_OR))
        A[name].weight, B[name].weight = nn.Parameter(f.A_RI), nn.Parameter(f.B_OR)
    config = ArrowConfig()
    config.task_adapter_names, config.gks_adapter_names = names, []
    return ArrowLoraLinearLayer(layer[0].A_RI.shape[1], config), A, B


def degrees(a_EI: Tensor, b_EI: Tensor) -> Tensor:
    """[E]: how far two directions are apart, whichever way they point; exact near zero, where the arc cosine is not."""
    a_EI, b_EI = (nn.functional.normalize(v.double(), dim=-1) for v in (a_EI, b_EI))
    off_E = torch.minimum((a_EI - b_EI).norm(dim=-1), (a_EI + b_EI).norm(dim=-1))
    return torch.rad2deg(2 * torch.asin(off_E / 2))


def row(case: Case) -> Row:
    """Measured module by module, and held against what is exact."""
    names, spent, dense = [str(e) for e in range(case.E)], {"theirs": 0.0, "ours": 0.0}, 0.0
    ours_off: list[Tensor] = []
    theirs_off: list[Tensor] = []
    seen: set[tuple[int, int]] = set()
    for O, I in case.shapes:
        layer = [factors(case, O, I) for _ in range(case.E)]
        bank, router, (theirs, A, B) = Bank(names, [()] * case.E, layer, (O, I)), Arrow(), peer(layer)

        def power(theirs=theirs, A=A, B=B) -> None:
            theirs._protos_ready = False
            theirs.build_prototypes(A, B)

        times, _ = interleaved(case.rounds, theirs=power, ours=lambda router=router, bank=bank: router.bind(bank))
        spent = {side: spent[side] + times[side] for side in spent}
        exact_EI = by_qr(bank.A_ERI.detach(), bank.B_EOR.detach(), 1)[1][:, 0]
        ours_off.append(degrees(router.prototype_EI, exact_EI))
        theirs_off.append(degrees(theirs.prototypes, exact_EI))
        if (O, I) not in seen:
            seen.add((O, I))
            few = layer[: case.few]
            true = torch.stack(
                [torch.linalg.svd(f.B_OR.double() @ f.A_RI.double(), full_matrices=False).Vh[0] for f in few]
            )
            agree(
                "Our prototypes and the dense SVD's (degrees)",
                float(degrees(router.prototype_EI[: len(few)], true).max()),
                0.01,
            )
            each = statistics.median(clock(lambda f=f: torch.linalg.svd(f.dense(), full_matrices=False)) for f in few)
            dense += each * case.E * list(case.shapes).count((O, I))
    off, their_off = torch.cat(ours_off), torch.cat(theirs_off)
    return {
        "experts": case.E,
        "modules": case.what,
        "rank": case.R,
        "spectrum": "decays" if case.decays else "random",
        "PEFT ms": 1e3 * spent["theirs"],
        "yosegi ms": 1e3 * spent["ours"],
        "ratio": spent["theirs"] / spent["ours"],
        "ratio to dense SVD": dense / spent["ours"],
        "(timed on)": case.few * len(seen),
        "yosegi off by, max": f"{agree('All our prototypes and those of QR (degrees)', float(off.max()), 0.01):.1g}°",
        "PEFT off by, median": f"{float(their_off.median()):.2g}°",
        "max": f"{float(their_off.max()):.2g}°",
    }


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """All cases, one row each."""
    chosen = options(__doc__, arguments)
    return tell(__doc__, [row(case) for case in (QUICK if chosen.quick else FULL)], chosen)


if __name__ == "__main__":
    main()
