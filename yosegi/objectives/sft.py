"""Supervised fine-tuning: the loss of the answer's tokens; the prompt is only read.

Ouyang et al. 2022, "Training Language Models to Follow Instructions with Human Feedback", arXiv:2203.02155, stage 1.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from yosegi.objectives import cross_entropy
from yosegi.objectives import targets as targets


def sft(model: nn.Module, batch: Mapping[str, Any], tokens: Tensor | int) -> Tensor:
    """Returns the mean -log p of the answer's tokens (`batch["labels"]`, -100 on the prompt and the padding)."""
    return cross_entropy(model, batch, batch["labels"], tokens)
