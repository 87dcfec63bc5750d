"""Objectives: what is minimised. (model, batch, tokens) -> a scalar.

`tokens` is the number of target tokens in the whole optimiser step, over all its micro-batches and processes: dividing by it
makes the loss independent of padding and of how the batch is cut. Logits are computed only where some sequence has a target.
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -100
"""The label of a token that is not a target."""


def cross_entropy(model: nn.Module, batch: Mapping[str, Any], labels_BT: Tensor, tokens: Tensor | int) -> Tensor:
    """Σ -log p(label) / tokens. Encoder-decoder models predict the label at its own place, decoders one place earlier."""
    config: Any = model.config if hasattr(model, "config") else model.module.config  # type: ignore[union-attr]
    if config.is_encoder_decoder:
        logits_BTV = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels_BT
        ).logits
        next_BT = labels_BT
    else:
        next_BT = F.pad(labels_BT[:, 1:], (0, 1), value=IGNORED)
        wanted_K = (next_BT != IGNORED).any(0).nonzero().squeeze(-1)
        logits_BTV = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            logits_to_keep=wanted_K,
            use_cache=False,
        ).logits
        next_BT = next_BT[:, wanted_K]
    flat_XV = logits_BTV.flatten(0, 1).float()
    return F.cross_entropy(flat_XV, next_BT.flatten(), ignore_index=IGNORED, reduction="sum") / tokens
