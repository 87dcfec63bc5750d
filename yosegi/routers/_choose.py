"""The choice that several routers end with: a softmax over the experts with the largest scores."""

import torch
from torch import Tensor


def softmax_of_top(score_E: Tensor, top_k: int | None, absent_E: Tensor | None = None) -> Tensor:
    """Returns [..., E]: the softmax of the `top_k` largest scores (None for all), 0 elsewhere and for absent experts."""
    if absent_E is not None:
        score_E = score_E.masked_fill(absent_E, -torch.inf)
    top = score_E.topk(min(top_k or score_E.shape[-1], score_E.shape[-1]), dim=-1)
    return torch.zeros_like(score_E).scatter(-1, top.indices, top.values.softmax(-1))
