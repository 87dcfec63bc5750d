"""Random: a given share of the entries is updated, drawn at random. The control for every mask that chooses.

Huang et al. 2025, "LoRA-PAR", arXiv:2507.20999, report it for some of their sizes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from yosegi.errors import Invalid


def random(entries: Mapping[str, Tensor], share: float = 0.4, seed: int = 0) -> dict[str, Tensor]:
    """Returns True for exactly ⌊share · entries⌋ entries, drawn from all tensors at once.

    Args:
        entries: the tensors.
        share: the share of the entries; LoRA-PAR's importance keeps about 0.4 at θ = 0.9.
        seed: seed of the draw.
    """
    if not 0 <= share <= 1:
        raise Invalid(f"share={share}: it is a share, between 0 and 1.")
    total = sum(tensor.numel() for tensor in entries.values())
    drawn = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[: int(share * total)]
    moves_J = torch.zeros(total, dtype=torch.bool)
    moves_J[drawn] = True
    parts = moves_J.split([tensor.numel() for tensor in entries.values()])
    return {
        name: part.view(tensor.shape).to(tensor.device)
        for (name, tensor), part in zip(entries.items(), parts, strict=True)
    }
