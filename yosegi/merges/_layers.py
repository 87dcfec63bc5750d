"""The input of a merge: the layers of the experts, stacked one at a time, as often as they are iterated.

Shapes: E experts that have the layer, R rank of the widest of them, I in, O out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

import torch
from torch import Tensor

from yosegi.core.expert import Expert
from yosegi.errors import WrongBase
from yosegi.progress import Bar


def weighted_sum(A_ERI: Tensor, B_EOR: Tensor, w_E: Tensor) -> tuple[Tensor, Tensor]:
    """Returns Σ w B A exactly as A [ER, I] and B [O, ER]: the experts side by side."""
    return A_ERI.flatten(0, 1), (w_E[:, None, None] * B_EOR).movedim(0, 1).flatten(1)


def each(experts: int) -> list[float]:
    """Returns the default weights of methods that average by themselves, or do not: 1 each."""
    return [1.0] * experts


@dataclass(frozen=True)
class Layer:
    """One layer of those experts that have it.

    Args:
        name: the layer's name in the base model.
        experts: the names of the experts; a second expert of the same name is called name#2.
        A_ERI: their A, padded with rows of zeros to the largest rank.
        B_EOR: their B, padded likewise and times the scale.
        w_E: the weights.
    """

    name: str
    experts: tuple[str, ...]
    A_ERI: Tensor
    B_EOR: Tensor
    w_E: Tensor


class Layers:
    """An iterable of layers, one of which is in memory at a time.

    Args:
        experts: the experts; their tensors may be mapped from disk and are read when their layer is reached.
        weights: one for each expert, the same in every layer or by layer.
        bar: the progress bar.
    """

    def __init__(
        self,
        experts: Sequence[Expert],
        weights: Sequence[float] | Mapping[str, Sequence[float]],
        bar: Bar | None = None,
    ):
        self.experts: list[str] = []
        for expert in experts:
            others = (f"{expert.name}#{n}" for n in count(2))
            self.experts.append(next(name for name in chain([expert.name], others) if name not in self.experts))
        self.names = list(dict.fromkeys(layer for expert in experts for layer in expert.factors))
        self._given, self._weights, self._bar, self._begun = experts, weights, bar, 0

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Layer]:
        self._begun += 1
        if self._bar is not None:
            self._bar.retarget(self._begun * len(self))
        for name in self.names:
            yield self._stack(name)
            if self._bar is not None:
                self._bar.advance()

    def _stack(self, name: str) -> Layer:
        having = [e for e, expert in enumerate(self._given) if name in expert.factors]
        factors = [self._given[e].factors[name] for e in having]
        if len(shapes := {f.shape for f in factors}) > 1:
            raise WrongBase(f"These experts have different bases: layer {name} is (O, I) in {sorted(shapes)}.")
        (O, I), R = shapes.pop(), max(f.rank for f in factors)
        like, same = factors[0].A_RI.new_empty(0, dtype=torch.float32), all(f.rank == R for f in factors)
        A_ERI = like.new_empty(len(having), R, I) if same else like.new_zeros(len(having), R, I)
        # [O, E, R] in memory, so that putting the B side by side, as most merges do, copies nothing.
        B_OER = like.new_empty(O, len(having), R) if same else like.new_zeros(O, len(having), R)
        for e, f in enumerate(factors):
            A_ERI[e, : f.rank] = f.A_RI
            torch.mul(f.B_OR.float(), f.scale, out=B_OER[:, e, : f.rank])
        weights = self._weights[name] if isinstance(self._weights, Mapping) else self._weights
        w_E = like.new_tensor([weights[e] for e in having])
        return Layer(name, tuple(self.experts[e] for e in having), A_ERI, B_OER.movedim(1, 0), w_E)
