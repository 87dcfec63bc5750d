"""The one layer of this library: a frozen linear with a bank of experts.

    y = W x + up(mix(down(x), w))

    down   z_e = A_e x            x, read in every expert's rank space
    mix    h = mix(z, w)          the only line where routing weights enter
    up     Σ_e s_e B_e h_e        back to the width of the model

Shapes: I in, O out, E experts, R rank, H heads (1 unless MHR); "..." is any leading axes.
"""

# Torch is typed in part; strictness is for our own lines.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, autocast, einsum, nn

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.dispatch import cheapest, gathered, grouped
from yosegi.core.mix import Mix, factors, outputs
from yosegi.core.router import Router
from yosegi.errors import Invalid

NEVER_CALLED = (
    "{}: the model reads the weight of this linear instead of calling it, as fused kernels do, so an expert beside it would "
    "neither be active nor learn. Leave it out of the targets."
)
"""The refusal of a linear that no expert can stand beside."""


def check(bank: Bank, mix: Mix) -> None:
    """Refuses a mix that makes no sense for the experts of a bank."""
    ranks = sorted({rank for rank in bank.rank_E if rank})
    if mix is factors and len(ranks) > 1:
        raise Invalid(f"mix=factors averages A and B, so every expert needs the same rank; here are {ranks}.")


class ExpertLinear(nn.Module):
    """`base` is wrapped, never edited: it may be quantised, and it can always be handed back.

    Args:
        base: the frozen linear.
        bank: the experts.
        router: gives each expert its weight (core/router.py).
        mix: `outputs` or `factors` (core/mix.py).
        heads: slices of the input and output that are routed on their own.
        dropout: the share of x that is dropped for the experts in training. The router always gets all of it.
        name: the layer's path in the model, under which its routing is recorded.
        context: the context of the model, shared by its layers.
    """

    def __init__(
        self,
        base: nn.Module,
        bank: Bank,
        router: Router,
        mix: Mix = outputs,
        heads: int = 1,
        dropout: float = 0.0,
        name: str = "",
        context: Context | None = None,
    ):
        super().__init__()
        O, I = bank.B_EOR.shape[1], bank.A_ERI.shape[2]
        if I % heads or O % heads:
            raise Invalid(f"heads={heads} must divide in_features={I} and out_features={O}.")
        check(bank, mix)
        self.base, self.bank, self.router, self.mix, self.heads = base, bank, router, mix, heads
        self.in_features, self.out_features = I, O
        self.dropout, self.name, self.context = nn.Dropout(dropout), name, context or Context()
        self.disabled = False
        router.bind(bank)

    @property
    def weight(self) -> Tensor:
        """Returns the base's weight, of which a model may read the dtype (T5 does) but with which it may not compute."""
        seen = self.base.weight.as_subclass(_Seen)  # type: ignore[union-attr, operator]
        seen.layer = self.name
        return seen

    @property
    def bias(self) -> Tensor | None:
        """Returns the base's bias."""
        return self.base.bias  # type: ignore[return-value]

    def forward(self, x_I: Tensor) -> Tensor:
        """Maps [..., I] to [..., O]."""
        if self.disabled:
            return self.base(x_I)
        if x_I.dim() == 2 and self.context.row_X is not None:
            return self._mixed(x_I[None])[0]
        B = self.context.sequences if x_I.dim() == 2 else None
        if B and len(x_I) % B == 0:  # OPT puts all tokens of a batch into one row, but routers need sequences
            return self._mixed(x_I.unflatten(0, (B, -1))).flatten(0, 1)
        if B and self.router.needs:
            raise Invalid(
                f"{self.name} reads {len(x_I)} tokens of {B} sequences: it is not known whose. Leave it out of the targets."
            )
        return self._mixed(x_I)

    def _mixed(self, x_I: Tensor) -> Tensor:
        A_ERI, B_EOR = (factor.to(x_I.dtype) for factor in self.bank.stacked())
        # The router computes in fp32, whatever the rest is computed in.
        with autocast(x_I.device.type, enabled=False) if torch.is_autocast_enabled(x_I.device.type) else nullcontext():
            w_HE = self.context.by_token(self.router(x_I, self.context))
        if self.context.disabled_E is not None:
            w_HE = w_HE.masked_fill(self.context.disabled_E, 0)
        w_HE = self.context.record(self.name, w_HE).to(x_I.dtype)
        scale_E = self.bank.scale_E.to(x_I.dtype)
        seen_I = self.dropout(x_I) if self.training else x_I
        y_O = self.base(x_I)
        if self.heads == 1 and self.mix is outputs:
            run_K = self.context.run_K if self.router.one_each else None
            way = cheapest(x_I, w_HE, B_EOR.shape, run_K)
            if way == "gathered" and run_K is not None:
                return gathered(y_O, seen_I, A_ERI, B_EOR, w_HE * scale_E, run_K, self.context.every)
            if way == "grouped":
                return grouped(y_O, seen_I, A_ERI, B_EOR, w_HE * scale_E)
        if self.heads == 1:  # two GEMMs; the second adds to the base's output
            z_ER = (seen_I @ A_ERI.flatten(0, 1).mT).unflatten(-1, A_ERI.shape[:2])
            if self.mix is outputs:
                h_ER = z_ER * (w_HE[..., 0, :] * scale_E)[..., None]
            else:
                h_ER = (self.mix(z_ER.unsqueeze(-3), w_HE) * scale_E[:, None]).squeeze(-3)
            up_KO = B_EOR.mT.flatten(0, 1)
            y_XO, h_XK = y_O.reshape(-1, up_KO.shape[1]), h_ER.reshape(-1, len(up_KO))
            # Without gradients and hooks nobody else reads y, and no copy of it is made.
            free = not torch.is_grad_enabled() and not self.base._forward_hooks and y_XO.dtype == h_XK.dtype
            return (y_XO.addmm_(h_XK, up_KO) if free else torch.addmm(y_XO, h_XK, up_KO)).view_as(y_O)

        A_ERHI, B_EHOR = A_ERI.unflatten(-1, (self.heads, -1)), B_EOR.unflatten(1, (self.heads, -1))
        z_HER = einsum("...hi,erhi->...her", seen_I.unflatten(-1, (self.heads, -1)), A_ERHI)
        h_HER = self.mix(z_HER, w_HE) * scale_E[:, None]
        return y_O + einsum("...her,ehor->...ho", h_HER, B_EHOR).flatten(-2)


class _Seen(Tensor):
    """A weight that may be looked at but not computed with: the experts beside it would be left out, and nobody would know."""

    layer = ""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in LOOKS:
            raise Invalid(
                NEVER_CALLED.format(
                    next(one.layer for one in (*args, *(kwargs or {}).values()) if isinstance(one, cls))
                )
            )
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[misc]


LOOKS = {getattr(Tensor, name).__get__ for name in ("dtype", "device", "shape", "ndim", "requires_grad", "is_cuda")} | {
    Tensor.size, Tensor.dim, Tensor.is_floating_point, Tensor.__repr__,
}  # fmt: skip
