"""Language modelling: the loss of every token, the prompt's too. The objective of continued pre-training.

Gururangan et al. 2020, "Don't Stop Pretraining", arXiv:2004.10964.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from yosegi.objectives import cross_entropy


def lm(model: nn.Module, batch: Mapping[str, Any], tokens: Tensor | int) -> Tensor:
    """Returns the mean -log p of all tokens but the first (`batch["labels"]`, -100 on the padding)."""
    return cross_entropy(model, batch, batch["labels"], tokens)


def next_token_loss(model: nn.Module, ids_BT: Tensor) -> Tensor:
    """Returns the summed -log p of the tokens of each whole row [B] but its first; torch can compile it."""
    logits_BTV = model(input_ids=ids_BT, use_cache=False).logits[:, :-1]
    loss_X = functional.cross_entropy(logits_BTV.flatten(0, 1).float(), ids_BT[:, 1:].flatten(), reduction="none")
    return loss_X.view(len(ids_BT), -1).sum(1)


def targets(prompt: list[int], answer: list[int]) -> list[int]:
    """Returns the labels of one example."""
    return prompt + answer
