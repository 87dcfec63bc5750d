"""Objectives: the loss that is minimised, a function (model, batch, tokens) -> scalar.

`tokens` is the number of target tokens in the whole optimiser step, over all its micro-batches and processes: dividing by it
makes the loss independent of padding and of gradient accumulation. Where sequences belong to different learners `tokens` is
[B], the divisor of each sequence, and the loss is [B] too. Logits are computed for the target tokens only: with a large
vocabulary the others would take most of the step. Rows of several documents (engine/packing.py) have `position_ids`.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -100
"""The label of a token that is not a target."""


def targets(prompt: list[int], answer: list[int]) -> list[int]:
    """Returns the labels of one example: its answer alone is learnt."""
    return [IGNORED] * len(prompt) + answer


def cross_entropy(model: nn.Module, batch: Mapping[str, Any], labels_BT: Tensor, tokens: Tensor | int) -> Tensor:
    """Returns Σ -log p(label) / tokens. Encoder-decoders predict a label at its own position, decoders one position earlier."""
    logits_XV, next_X, place_X = _predicted(model, batch, labels_BT)
    if not isinstance(tokens, Tensor) or tokens.ndim == 0:
        return F.cross_entropy(logits_XV.float(), next_X, ignore_index=IGNORED, reduction="sum") / tokens
    loss_X = F.cross_entropy(logits_XV.float(), next_X, ignore_index=IGNORED, reduction="none")
    return loss_X.new_zeros(len(labels_BT)).index_add(0, place_X // labels_BT.shape[1], loss_X) / tokens


def log_probabilities(
    model: nn.Module, batch: Mapping[str, Any], labels_BT: Tensor, temperature: float = 1.0
) -> Tensor:
    """Returns log p(label) [B, T] at the label's own position, and 0 where there is no label."""
    logits_XV, next_X, place_X = _predicted(model, batch, labels_BT)
    logp_X = -F.cross_entropy(logits_XV.float() / temperature, next_X, ignore_index=IGNORED, reduction="none")
    label_X = place_X if _config(model).is_encoder_decoder else place_X + 1
    return logp_X.new_zeros(labels_BT.numel()).index_add(0, label_X, logp_X).view_as(labels_BT)


def _config(model: Any) -> Any:
    return (model if hasattr(model, "config") else model.module).config


def _predicted(model: nn.Module, batch: Mapping[str, Any], labels_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the logits that predict labels, these labels, and their positions in the flattened batch."""
    inner: Any = model if hasattr(model, "config") else model.module
    key = (
        "position_ids" if "position_ids" in batch else "attention_mask"
    )  # position_ids alone say where documents begin
    inputs = {"input_ids": batch["input_ids"], key: batch[key]}
    if inner.config.is_encoder_decoder:
        logits_XV = model(**inputs, labels=labels_BT).logits.flatten(0, 1)
        return logits_XV, labels_BT.flatten(), torch.arange(labels_BT.numel(), device=labels_BT.device)
    next_BT = F.pad(labels_BT[:, 1:], (0, 1), value=IGNORED)
    place_X = (next_BT.flatten() != IGNORED).nonzero().squeeze(-1)
    return logits_at(model, place_X, use_cache=False, **inputs), next_BT.flatten()[place_X], place_X


def logits_at(model: nn.Module, place_X: Tensor, **inputs: Any) -> Tensor:
    """Returns the logits [X, V] at these places of the flattened batch; most models compute no others."""
    with _only(model if hasattr(model, "config") else model.module, place_X):
        logits_XV = model(**inputs).logits.flatten(0, -2)
    return logits_XV if len(logits_XV) == len(place_X) else logits_XV[place_X]


@contextmanager
def _only(model: Any, place_X: Tensor) -> Generator[None]:
    """Restricts the output head to these positions of the flattened batch while the block lasts."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        yield
        return
    hook = head.register_forward_pre_hook(lambda _, seen: (seen[0].flatten(0, 1).index_select(0, place_X)[None],))
    try:
        yield
    finally:
        hook.remove()
