"""An expert: a named low-rank delta against a pristine base, one pair of thin matrices for each layer.

    ΔW = s B A          A [R, I], B [O, R], s = alpha / rank

Every operation returns a new expert, which shares the tensors that do not change.
Shapes: I in, O out, R rank.
"""

# Torch is typed in part; strictness is for our own lines.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from yosegi.errors import Invalid, UnknownName


class Factors(NamedTuple):
    """One layer's delta s B A, which is multiplied out only by `dense`."""

    A_RI: Tensor
    B_OR: Tensor
    scale: float = 1.0

    @property
    def rank(self) -> int:
        """Returns the inner width."""
        return self.A_RI.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Returns (O, I) of the linear."""
        return self.B_OR.shape[0], self.A_RI.shape[1]

    def minus(self, other: "Factors") -> "Factors":
        """Returns the difference of the two deltas, exactly: [s B, -s' B'] [A; A'], of rank R + R'."""
        if self.scale == other.scale:  # nothing is multiplied, so nothing is rounded
            return Factors(torch.cat([self.A_RI, other.A_RI]), torch.cat([self.B_OR, -other.B_OR], 1), self.scale)
        wide_OR = torch.cat([self.scale * self.B_OR.float(), -other.scale * other.B_OR.float()], 1)
        return Factors(torch.cat([self.A_RI.float(), other.A_RI.float()]), wide_OR)

    def dense(self) -> Tensor:
        """Returns ΔW [O, I] in fp32."""
        return self.scale * (self.B_OR.float() @ self.A_RI.float())


@dataclass(frozen=True)
class Expert:
    """`factors` by the names of the base's linears; `card` says how the expert was made."""

    name: str
    factors: Mapping[str, Factors]
    card: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def rank(self) -> int:
        """Returns the largest rank among the layers."""
        return max((f.rank for f in self.factors.values()), default=0)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Returns the names of the tasks that it was trained on."""
        task = self.card.get("task") or ()
        return (task,) if isinstance(task, str) else tuple(task)

    def delta(self, layer: str) -> Tensor:
        """Returns the dense ΔW [O, I] of one layer."""
        UnknownName.check(f"layer of expert {self.name!r}", [layer], self.factors)
        return self.factors[layer].dense()

    def pad(self, rank: int) -> "Expert":
        """Returns the same deltas at a larger rank, with rows of zeros, which training leaves at zero."""
        if rank < self.rank:
            raise Invalid(f"Cannot pad expert {self.name!r} of rank {self.rank} to rank {rank}: padding only widens.")
        return replace(self, factors={
            layer: Factors(pad(f.A_RI, (0, 0, 0, rank - f.rank)), pad(f.B_OR, (0, rank - f.rank)), f.scale)
            for layer, f in self.factors.items()
        })  # fmt: skip

    def scale(self, by: float) -> "Expert":
        """Returns every delta times `by`."""
        return replace(self, factors={layer: f._replace(scale=f.scale * by) for layer, f in self.factors.items()})

    @classmethod
    def from_delta(
        cls, name: str, deltas: Mapping[str, Tensor], rank: int, card: Mapping[str, Any] | None = None
    ) -> "Expert":
        """Returns the best expert of a given rank for dense deltas [O, I] (truncated SVD, Eckart and Young 1936).

        `card["relative_error"]` is ‖ΔW - s B A‖ / ‖ΔW‖ over all layers, in Frobenius norms; `card["energy_kept"]` is
        ‖s B A‖² / ‖ΔW‖² of each layer.
        """
        if rank < 1:
            raise Invalid(f"rank={rank}: an expert needs a rank of at least 1.")
        factors: dict[str, Factors] = {}
        kept: dict[str, float] = {}
        lost = total = 0.0
        for layer, delta_OI in deltas.items():
            wide = delta_OI.shape[0] < delta_OI.shape[1]
            tall = delta_OI.float().mT.contiguous() if wide else delta_OI.float()  # which takes LAPACK half the time
            left, S_K, right = torch.linalg.svd(tall, full_matrices=False)
            U_OK, V_KI = (right.mT, left.mT) if wide else (left, right)
            root_R = S_K[:rank].sqrt()
            factors[layer] = Factors(root_R[:, None] * V_KI[:rank], U_OK[:, :rank] * root_R)
            cut, whole = float(S_K[rank:].square().sum()), float(S_K.square().sum())
            kept[layer] = 1 - cut / whole if whole else 1.0
            lost, total = lost + cut, total + whole
        relative_error = (lost / total) ** 0.5 if total else 0.0
        return cls(name, factors, {**(card or {}), "relative_error": relative_error, "energy_kept": kept})
