"""Language modelling: the loss of every token, the prompt's too. The objective of continued pre-training.

Gururangan et al. 2020, "Don't Stop Pretraining", arXiv:2004.10964.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from yosegi.objectives import cross_entropy


def lm(model: nn.Module, batch: Mapping[str, Any], tokens: Tensor | int) -> Tensor:
    """Returns the mean -log p of all tokens but the first (`batch["labels"]`, -100 on the padding)."""
    return cross_entropy(model, batch, batch["labels"], tokens)


def targets(prompt: list[int], answer: list[int]) -> list[int]:
    """Returns the labels of one example."""
    return prompt + answer
