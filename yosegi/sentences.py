"""What a prompt is about, as one vector: frozen features for routers that decide once a sequence.

Shapes: N texts, F features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.model import Banks


@torch.no_grad()
def features(
    base: Base, texts: Sequence[str], banks: Banks | None = None, encoder: str = "", batch_size: int = 32
) -> Tensor:
    """[N, F] of unit length: the mean of the last hidden states over the real tokens of each text.

    Args:
        base: the encoder, unless another is named. Experts that stand in it are silent meanwhile.
        texts: prompts, in any order; their answers must not be among them.
        banks: the experts that stand in the base.
        encoder: a folder or Hub id of a sentence encoder, such as "sentence-transformers/all-MiniLM-L6-v2".
        batch_size: texts at a time.
    """
    raise NotImplementedError
