"""What routers may know about a batch, and the weights they chose. One per model, shared by its layers."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Context:
    """Set before each batch (`Banks.set_batch`); read by every router.

    Shapes: B sequences, T tokens, X tokens of all sequences in one row, K runs, F features, H heads, E experts.
    """

    task_B: Tensor | None = None  # the task of each sequence, an index into `Bank.tasks`; -1 for a task of no expert
    expert_B: Tensor | None = None  # the expert of each sequence, an index into `Bank.names`; -1 for the base
    mask_BT: Tensor | None = None  # 1 where a token is real
    row_X: Tensor | None = None  # the sequence of each token, where a batch is one flat row of many (engine/decode.py)
    weights: dict[str, Tensor] | None = None  # layer name -> w [..., H, E]; None means do not record (serving)
    run_K: Tensor | None = (
        None  # expert_B of K equally long runs of sequences with one expert each, if the batch is that
    )
    every: bool = False  # run_K is 0, 1, 2, … and leaves no expert out
    features_BF: Tensor | None = None  # the features of each prompt as a whole (engine/features.py)
    blocks: dict[str, Tensor] = field(default_factory=dict[str, Tensor])  # block -> w of its first layer, for all of it
    disabled_E: Tensor | None = None  # True for experts whose weight is set to 0 (`Banks.ablated`)
    once: dict[Any, Tensor] = field(default_factory=dict[Any, Tensor])  # computed once per batch, not in each layer

    @property
    def sequences(self) -> int | None:
        """Returns the number of sequences of the batch, if anything was set for them."""
        given = (self.task_B, self.expert_B, self.mask_BT, self.features_BF)
        return next((len(one) for one in given if one is not None), None)

    def by_token(self, w_HE: Tensor) -> Tensor:
        """Returns weights by sequence [B, 1, H, E] as weights by token [1, X, H, E] of a flat row; any others as they are."""
        if self.row_X is None or w_HE.dim() != 4 or w_HE.shape[1] != 1:
            return w_HE
        return w_HE[:, 0].index_select(0, self.row_X)[None]

    def record(self, layer: str, w_HE: Tensor) -> Tensor:
        """Stores w by layer, so that the second forward of activation checkpointing overwrites it; returns w."""
        if self.weights is not None:
            self.weights[layer] = w_HE
        return w_HE
