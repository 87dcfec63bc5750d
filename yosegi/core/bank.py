"""A bank: the experts of one layer, stacked.

Shapes: E experts, R rank, I in, O out. Shorter experts are padded with zeros, which training leaves at zero.
"""

# Shape suffixes look like constants to the checker.
# pyright: reportConstantRedefinition=false

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from yosegi.core.expert import Factors
from yosegi.errors import Invalid


class Bank(nn.Module):
    """A_ERI and B_EOR are trained; scale_E is alpha / rank; present_E is False for an expert without this layer.

    An initialiser with B ≠ 0 (PiSSA, OLoRA) would move the base. Here the starting point is stored as a frozen *origin* and
    subtracted, so the delta is s (B A - B₀ A₀): exactly zero at step 0, and an ordinary expert of rank 2R afterwards.

    Args:
        names: the names of the experts.
        tasks_E: the tasks that each was trained on, for routers that know the task.
        factors: the factors of each expert; None for an expert without this layer.
        shape: (O, I) of the linear.
        rank: the inner width of the stack; by default the largest of the factors.
        device: the device of the stack.
    """

    def __init__(
        self,
        names: Sequence[str],
        tasks_E: Sequence[tuple[str, ...]],
        factors: Sequence[Factors | None],
        shape: tuple[int, int],
        rank: int | None = None,
        device: torch.device | str = "cpu",
    ):
        super().__init__()
        O, I = shape
        E, R = len(names), rank or max((f.rank for f in factors if f), default=1)
        self.names, self.tasks_E = tuple(names), tuple(tasks_E)
        self.rank_E = tuple(f.rank if f else 0 for f in factors)
        if max(self.rank_E, default=0) > R:
            raise Invalid(f"A stack of rank {R} is too narrow for an expert of rank {max(self.rank_E)}.")
        A_ERI = torch.zeros(E, R, I)
        B_ERO = torch.zeros(E, R, O)  # in memory [E, R, O]: `up` is then one GEMM with no copy of B
        for e, f in enumerate(factors):
            if f is None:
                continue
            if f.A_RI.shape != (f.rank, I) or f.B_OR.shape != (O, f.rank):
                raise Invalid(
                    f"Expert {names[e]!r}: A {tuple(f.A_RI.shape)} and B {tuple(f.B_OR.shape)} do not fit a linear of "
                    f"{I} inputs and {O} outputs."
                )
            A_ERI[e, : f.rank].copy_(f.A_RI)
            B_ERO[e, : f.rank].copy_(f.B_OR.mT)
        self.A_ERI = nn.Parameter(A_ERI.to(device))
        self.B_EOR = nn.Parameter(B_ERO.to(device).mT)
        self.scale_E: Tensor
        self.present_E: Tensor
        self.A0_ERI: Tensor | None
        self.B0_EOR: Tensor | None
        self.register_buffer("scale_E", torch.tensor([f.scale if f else 0.0 for f in factors], device=device))
        self.register_buffer("present_E", torch.tensor([f is not None for f in factors], device=device))
        self.register_buffer("A0_ERI", None)
        self.register_buffer("B0_EOR", None)

    @property
    def tasks(self) -> list[str]:
        """Returns every task of some expert, sorted: `Context.task_B` is an index into them."""
        return sorted({task for tasks in self.tasks_E for task in tasks})

    @torch.no_grad()
    def set_origin(self) -> None:
        """Stores the factors as they are, and subtracts them from now on."""
        if bool(self.B_EOR.any()):  # B = 0 says nothing: there is nothing to subtract
            self.A0_ERI, self.B0_EOR = self.A_ERI.detach().clone(), self.B_EOR.detach().clone()

    def stacked(self) -> tuple[Tensor, Tensor]:
        """Returns the A [E, R, I] and B [E, O, R] that the layer uses; with an origin, that is appended (rank 2R)."""
        if self.A0_ERI is None or self.B0_EOR is None:
            return self.A_ERI, self.B_EOR
        return torch.cat([self.A_ERI, self.A0_ERI], 1), torch.cat([self.B_EOR.mT, -self.B0_EOR.mT], 1).mT

    @torch.no_grad()
    def factors(self, e: int) -> Factors | None:
        """Returns one expert's factors at their own rank, detached from the stack."""
        if not self.present_E[e]:
            return None
        R = self.rank_E[e]
        f = Factors(self.A_ERI[e, :R], self.B_EOR[e, :, :R], float(self.scale_E[e]))
        if self.A0_ERI is not None and self.B0_EOR is not None:
            f = f.minus(Factors(self.A0_ERI[e, :R], self.B0_EOR[e, :, :R], f.scale))
        return Factors(f.A_RI.clone().cpu(), f.B_OR.contiguous().clone().cpu(), f.scale)
