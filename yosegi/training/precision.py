"""What a training computes in."""

import torch

from yosegi.bases import Base


def wants_bf16(base: Base, precision: str) -> bool:
    """Returns whether to compute in bfloat16. A rule and not a stopwatch, so that the same call gives the same expert."""
    if precision != "auto":
        return precision == "bf16"
    return base.dtype == "bf16" or (base.model.device.type == "cuda" and torch.cuda.is_bf16_supported())  # type: ignore[union-attr]
