"""Importance: only the entries of an expert that matter most to one kind of question are updated.

Huang et al. 2025, "LoRA-PAR: A Flexible Dual-System LoRA Partitioning Approach to Efficient LLM Fine-Tuning", arXiv:2507.20999.

    S_k       the fewest entries with a share θ of the importance for system k, ranked over all layers at once
    regions   S_1 only, S_2 only, and shared; a stage updates its own region and a part of the shared one

training/importance.py measures the importance. Shapes: J entries, all of an expert's in one vector.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from yosegi.errors import Invalid
from yosegi.masks._select import prefix, top

Scores = Mapping[str, Tensor]
"""A non-negative number for each entry of an expert, by "layer|A" and "layer|B"."""


class Regions(NamedTuple):
    """The regions of two systems: masks by the names of the scores."""

    first: dict[str, Tensor]
    """S_1 without S_2."""
    second: dict[str, Tensor]
    """S_2 without S_1."""
    shared: dict[str, Tensor]
    stages: tuple[dict[str, Tensor], dict[str, Tensor]]
    """The masks of stage 1 (S_1 only, and a share α of the shared entries) and of stage 2 (S_2 only, and a share β)."""

    @property
    def jaccard(self) -> float:
        """The Jaccard index |S_1 ∩ S_2| / |S_1 ∪ S_2|."""
        shared, first, second = map(_count, (self.shared, self.first, self.second))
        return shared / max(shared + first + second, 1)


def importance(entries: Mapping[str, Tensor], scores: Scores | None = None, theta: float = 0.9) -> dict[str, Tensor]:
    """Returns S(θ): True where an entry is updated.

    Args:
        entries: the tensors.
        scores: the importance of each entry.
        theta: the share of the importance that the selected entries have.

    Raises:
        Invalid: every importance is 0, as it is while B = 0.
    """
    if scores is None:
        raise Invalid("The mask importance needs scores: the importance of every entry (training/importance.py).")
    if wrong := [name for name in entries if name not in scores or scores[name].shape != entries[name].shape]:
        raise Invalid(f"The scores do not fit {wrong[0]}.")
    score_J = _flat({name: scores[name] for name in entries})
    return _back(prefix(score_J, _share(theta, "theta"), None), entries)


def regions(one: Scores, two: Scores, theta: float = 0.9, alpha: float = 1.0, beta: float = 1.0) -> Regions:
    """Returns the regions of two systems.

    Args:
        one: the importance for System 1.
        two: the importance for System 2.
        theta: the share of its importance that each system's entries have.
        alpha: the share of the shared entries that stage 1 updates, those that matter most to System 1.
        beta: the same for stage 2 and System 2.
    """
    if one.keys() != two.keys():
        raise Invalid("The importances of the two systems belong to different entries.")
    one_J, two_J = _flat(one), _flat({name: two[name] for name in one})
    in_one_J, in_two_J = (prefix(score_J, _share(theta, "theta")) for score_J in (one_J, two_J))
    shared_J = in_one_J & in_two_J
    first_J, second_J, size = in_one_J & ~in_two_J, in_two_J & ~in_one_J, int(shared_J.sum())
    stage_1_J = first_J | top(one_J, int(_share(alpha, "alpha") * size), shared_J)
    stage_2_J = second_J | top(two_J, int(_share(beta, "beta") * size), shared_J)
    first, second, shared, *stages = (
        _back(mask_J, one) for mask_J in (first_J, second_J, shared_J, stage_1_J, stage_2_J)
    )
    return Regions(first, second, shared, (stages[0], stages[1]))


def share_of(mask: Mapping[str, Tensor]) -> float:
    """Returns the share of the entries that are updated."""
    return _count(mask) / sum(moves.numel() for moves in mask.values())


def _count(mask: Mapping[str, Tensor]) -> int:
    return sum(int(moves.sum()) for moves in mask.values())


def _share(value: float, name: str) -> float:
    if not 0 <= value <= 1:
        raise Invalid(f"{name}={value}: it must be a share from 0 to 1.")
    return value


def _flat(scores: Scores) -> Tensor:
    score_J = torch.cat([score.flatten().float() for score in scores.values()])
    if not bool(score_J.any()):
        raise Invalid(
            "Every importance is 0, as it is while B = 0 (only B has a gradient, and there φ is 0). "
            "Start from pissa, olora or normal, or measure after some steps of training."
        )
    return score_J


def _back(chosen_J: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts = chosen_J.split([tensor.numel() for tensor in like.values()])
    return {name: part.view(tensor.shape) for (name, tensor), part in zip(like.items(), parts, strict=True)}
