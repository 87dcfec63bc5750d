"""The base of TIES, DARE, magnitude pruning and KnOTS: merges that decide for each entry of the deltas.

    trim     keep the largest entries of each expert: one threshold over all its layers
    drop     drop entries at random, and rescale the rest
    combine  Σ w τ, or elect a sign for each entry and average the experts that agree with it

The deltas are computed block by block, expert after expert, so that the memory is the dense result of one layer, whatever the
number of experts. Shapes: E experts, R rank, I in, O out; N rows of entries (O, or K in other coordinates), M rows of a
block.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from yosegi import files
from yosegi.errors import Invalid, UnknownName
from yosegi.merges._cut import BLOCK, Cut, cut_dense, cut_factors, width
from yosegi.merges._layers import Layer, Layers
from yosegi.merges._threshold import kth_largest


class Entries:
    """A method of this kind is a subclass with its own constructor.

    Args:
        density: the share of each expert's entries that is kept, the largest ones; 1 trims nothing.
        drop: the probability that an entry is dropped; 0 drops nothing.
        elect: averages the experts that agree in sign instead of summing all.
        seed: seed of the dropped entries, which depend on (seed, layer, expert) and not on the other experts or their order.
        rank: the rank of the result; by default that of the widest expert; "full" loses nothing and is as large as the base.
    """

    def __init__(
        self, density: float = 1.0, drop: float = 0.0, elect: bool = False, seed: int = 0, rank: int | str | None = None
    ):
        if not files.is_finite(density) or not 0 < density <= 1:
            raise Invalid(f"density={density!r}: it must be the share of entries to keep, above 0 and at most 1.")
        if not files.is_finite(drop) or not 0 <= drop < 1:
            raise Invalid(
                f"drop={drop!r}: it must be the probability that an entry is dropped, at least 0 and below 1."
            )
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise Invalid(f"seed={seed!r}: it must be a whole number.")
        width(rank, 1, 1)  # refuses what is no rank, before any work is done
        self.density, self.drop, self.elect, self.seed, self.rank = float(density), float(drop), elect, seed, rank
        self._layers: Iterable[Layer] = ()
        self._limits: dict[str, float] = {}
        self._majority: float | None = None

    def look(self, layers: Layers) -> None:
        """Reads all layers before the first is merged: a trim has one threshold for all layers of an expert."""
        self._layers, self._limits, self._majority = layers, {}, None
        if self.density < 1:
            number = {expert: e for e, expert in enumerate(layers.experts)}
            stream = lambda: ((number[name], x) for layer in layers for name, _, x in self._entries(layer))  # noqa: E731
            limit_E = kth_largest(stream, len(number), self.density)
            self._limits = {name: float(limit_E[e]) for name, e in number.items()}

    def __call__(self, layer: Layer) -> Cut:
        """Returns the result for one layer at its rank."""
        A_ERI, (L_ENR, U_ON) = layer.A_ERI, self.coordinates(layer)
        D_NI = A_ERI.new_empty(L_ENR.shape[1], A_ERI.shape[2])
        for rows, sums in self._sums(layer):
            D_NI[rows] = self._combined(*sums)
        widest = A_ERI.shape[1]
        if U_ON is None:
            return cut_dense(D_NI, width(self.rank, widest, min(D_NI.shape)))
        if self.rank == "full":
            return Cut(D_NI, U_ON, 0.0, 0.0)
        return cut_factors(D_NI, U_ON, width(self.rank, widest, len(D_NI)))

    def coordinates(self, layer: Layer) -> tuple[Tensor, Tensor | None]:
        """Returns L [E, N, R] and U [O, N]: the entries of expert e are those of L_e A_e, and the delta is U times the entries.

        By default they are the entries of the delta itself, without U.
        """
        return layer.B_EOR, None

    def _entries(self, layer: Layer) -> Iterator[tuple[str, slice, Tensor]]:
        """Yields (expert, rows, [M, I]): a block of rows of every expert, then the next block; with dropped entries."""
        L_ENR, _ = self.coordinates(layer)
        A_ERI, N = layer.A_ERI, L_ENR.shape[1]
        chance = [torch.Generator().manual_seed(_seed(self.seed, layer.name, name)) for name in layer.experts]
        step = max(1, BLOCK // A_ERI.shape[2])
        for start in range(0, N, step):
            rows = slice(start, min(start + step, N))
            for e, name in enumerate(layer.experts):
                x_MI = L_ENR[e, rows] @ A_ERI[e]
                if self.drop:
                    kept_MI = torch.rand(x_MI.shape, generator=chance[e]).to(x_MI.device) >= self.drop
                    x_MI.mul_(kept_MI).div_(1 - self.drop)
                yield name, rows, x_MI

    def _sums(self, layer: Layer) -> Iterator[tuple[slice, list[Tensor]]]:
        """Yields (rows, sums over the experts): of w τ; for an election also of |w τ|, of its sign, and of w τ ≠ 0."""
        last, weight = layer.experts[-1], dict(zip(layer.experts, layer.w_E.tolist(), strict=True))
        sums: list[Tensor] = []
        for name, rows, x_MI in self._entries(layer):
            if name in self._limits:
                x_MI.mul_(x_MI.abs() >= self._limits[name])
            if weight[name] != 1:
                x_MI.mul_(weight[name])
            parts = [x_MI, x_MI.abs(), x_MI.sign(), x_MI != 0] if self.elect else [x_MI]
            if sums:
                for total_MI, part_MI in zip(sums, parts, strict=True):
                    total_MI.add_(part_MI)
            else:
                sums = [part_MI.to(x_MI.dtype) for part_MI in parts]
            if name == last:
                yield rows, sums
                sums = []

    def _combined(self, sum_MI: Tensor, *more: Tensor) -> Tensor:
        """Computes the rows of the result from `_sums`."""
        if not more:
            return sum_MI
        size_MI, votes_MI, voters_MI = more
        sign_MI = sum_MI.sign()
        if bool(((sign_MI == 0) & (size_MI > 0)).any()):  # a tie: the sign that wins most entries
            sign_MI.masked_fill_(sign_MI == 0, self._sign_of_most())
        # The sum of those that agree with the sign is half of (sum + sign · magnitude), and their number likewise.
        agree_MI = voters_MI.addcmul_(sign_MI, votes_MI).div_(2).clamp_(min=1)
        return sum_MI.addcmul(sign_MI, size_MI).div_(2).div_(agree_MI)

    def _sign_of_most(self) -> float:
        """Returns the sign that most entries of all layers elect; it takes another pass, once, and only if there is a tie."""
        if self._majority is None:
            elected = sum(float(sum_MI.sign().sum()) for layer in self._layers for _, (sum_MI, *_) in self._sums(layer))
            self._majority = -1.0 if elected < 0 else 1.0
        return self._majority


BY: dict[str, dict[str, Any]] = {
    "ties": {"density": 1.0, "elect": True},
    "dare": {"drop": 0.8},
    "dare_ties": {"drop": 0.8, "elect": True},
    "task_arithmetic": {},
}
"""The merges in the new coordinates with their arguments. The defaults are the paper's for LLMs: no trim, 0.8 dropped."""


class By(Entries):
    """The base of merges that only choose the coordinates, and take how to merge there as an argument.

    Args:
        by: ties, dare, dare_ties or task_arithmetic.
        density: the share of each expert's coordinates that ties keeps (1).
        drop: the probability that dare and dare_ties drop a coordinate (0.8).
        seed: seed of the dropped coordinates.
        rank: the rank of the result; by default that of the widest expert; "full" for no cut.
    """

    def __init__(
        self,
        by: str = "ties",
        density: float | None = None,
        drop: float | None = None,
        seed: int = 0,
        rank: int | str | None = None,
    ):
        name = type(self).__module__.rpartition(".")[2]
        UnknownName.check(f"merge for the coordinates of {name}", [str(by)], BY)
        given = {key: value for key, value in (("density", density), ("drop", drop)) if value is not None}
        if other := given.keys() - BY[by].keys():
            raise Invalid(f"{name} by {by} has no {min(other)}.")
        super().__init__(**{**BY[by], **given}, seed=seed, rank=rank)
        self.by = by


def _seed(*parts: object) -> int:
    """Returns a seed made of names, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little") >> 1
