"""Importance: of an expert's entries, those that matter most to one kind of question move, the others stay.

Huang et al. 2025, "LoRA-PAR: A Flexible Dual-System LoRA Partitioning Approach to Efficient LLM Fine-Tuning", arXiv:2507.20999.

    S_k       the fewest entries that together have a share θ of the importance for system k, ranked over all layers at once
    regions   S_1 only, S_2 only, and shared;  a stage moves what is its own, and a part of what is shared

training/importance.py measures the importance. Shapes: J entries, all of an expert's in one row.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from yosegi.errors import Invalid
from yosegi.masks._select import prefix, top

Scores = Mapping[str, Tensor]
"""A number for each entry of an expert, none negative, by "layer|A" and "layer|B"."""


class Regions(NamedTuple):
    """Which entries belong to whom, by the names of the scores."""

    first: dict[str, Tensor]
    """S_1 without S_2."""
    second: dict[str, Tensor]
    """S_2 without S_1."""
    shared: dict[str, Tensor]
    stages: tuple[dict[str, Tensor], dict[str, Tensor]]
    """What moves in stage 1 (S_1 only, and α of the shared) and in stage 2 (S_2 only, and β of them)."""

    @property
    def jaccard(self) -> float:
        """|S_1 ∩ S_2| / |S_1 ∪ S_2|."""
        shared, first, second = (_count(some) for some in (self.shared, self.first, self.second))
        return shared / max(shared + first + second, 1)


def importance(entries: Mapping[str, Tensor], scores: Scores | None = None, theta: float = 0.9) -> dict[str, Tensor]:
    """True where an entry may move: S(θ).

    Args:
        entries: what could move.
        scores: the importance of each.
        theta: the share of the importance that is kept.

    Raises:
        Invalid: nothing matters, as with B = 0, where every importance is exactly 0.
    """
    if scores is None:
        raise Invalid("The mask importance needs scores: how much every entry matters (training/importance.py).")
    if wrong := [name for name in entries if name not in scores or scores[name].shape != entries[name].shape]:
        raise Invalid(f"The scores do not fit {wrong[0]}.")
    score_J = _flat({name: scores[name] for name in entries})
    return _back(prefix(score_J, _share(theta, "theta"), None), entries)


def regions(one: Scores, two: Scores, theta: float = 0.9, alpha: float = 1.0, beta: float = 1.0) -> Regions:
    """Who moves when.

    Args:
        one: the importance for System 1.
        two: for System 2.
        theta: the share of each that is kept.
        alpha: the share of the shared entries that move in stage 1, those that matter most to System 1.
        beta: the same for stage 2 and System 2.
    """
    if one.keys() != two.keys():
        raise Invalid("The two importances are of different entries.")
    one_J, two_J = _flat(one), _flat({name: two[name] for name in one})
    in_one_J, in_two_J = (prefix(score_J, _share(theta, "theta")) for score_J in (one_J, two_J))
    shared_J = in_one_J & in_two_J
    size, stages = int(shared_J.sum()), []
    for score_J, own_J, share, name in (
        (one_J, in_one_J & ~in_two_J, alpha, "alpha"),
        (two_J, in_two_J & ~in_one_J, beta, "beta"),
    ):
        stages.append(_back(own_J | top(score_J, int(_share(share, name) * size), shared_J), one))
    first, second, shared = (_back(some, one) for some in (in_one_J & ~in_two_J, in_two_J & ~in_one_J, shared_J))
    return Regions(first, second, shared, (stages[0], stages[1]))


def share_of(mask: Mapping[str, Tensor]) -> float:
    """The share of the entries that may move."""
    return _count(mask) / sum(moves.numel() for moves in mask.values())


def _count(mask: Mapping[str, Tensor]) -> int:
    return sum(int(moves.sum()) for moves in mask.values())


def _share(value: float, name: str) -> float:
    if not 0 <= value <= 1:
        raise Invalid(f"{name}={value}: it is a share, between 0 and 1.")
    return value


def _flat(scores: Scores) -> Tensor:
    score_J = torch.cat([score.flatten().float() for score in scores.values()])
    if not bool(score_J.any()):
        raise Invalid(
            "No entry matters: every importance is 0, as it is while B = 0 (its gradient reaches B alone, and there φ is 0). "
            "Start from pissa, olora or normal, or measure after some steps of training."
        )
    return score_J


def _back(chosen_J: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts = chosen_J.split([tensor.numel() for tensor in like.values()])
    return {name: part.view(tensor.shape) for (name, tensor), part in zip(like.items(), parts, strict=True)}
