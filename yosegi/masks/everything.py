"""Everything moves: plain LoRA (Hu et al. 2021, arXiv:2106.09685)."""

from collections.abc import Mapping

from torch import Tensor, nn


def everything(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor] | None:
    """Parameter name -> True where an entry may move; None when all may, which costs nothing."""
    return None
