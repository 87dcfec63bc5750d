"""What a training computes in."""

import torch

from yosegi.bases import Base


def wants_bf16(base: Base, precision: str) -> bool:
    """Whether to compute in bfloat16. A rule and not a stopwatch, so that the same call gives the same expert."""
    if precision != "auto":
        return precision == "bf16"
    if base.model.device.type == "cuda":  # type: ignore[union-attr]
        return torch.cuda.is_bf16_supported()
    wide = base.model.config.get_text_config().hidden_size >= 512  # type: ignore[union-attr]
    return bool(wide and torch.cpu._is_amx_tile_supported())
