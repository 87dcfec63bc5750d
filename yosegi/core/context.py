"""What a router may know about the batch, and what the routers decided. One per model, shared by its layers."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Context:
    """Set by whoever calls the model, before each batch (`Banks.set_batch`); read by every router.

    Shapes: B sequences, T tokens, X tokens of all sequences in one row, K runs, F features, H heads, E experts.
    """

    task_B: Tensor | None = None  # the task of each sequence, an index into `Bank.tasks`; -1 for one that nobody learnt
    expert_B: Tensor | None = None  # the expert each sequence asks for, an index into `Bank.names`; -1 for the base
    mask_BT: Tensor | None = None  # 1 where a token is real
    row_X: Tensor | None = None  # the sequence of each token, where a batch is one flat row of many (engine/decode.py)
    weights: dict[str, Tensor] | None = None  # layer name -> w [..., H, E]; None means do not record (serving)
    run_K: Tensor | None = None  # expert_B, where the batch is K equally long runs of sequences that ask for one expert
    every: bool = False  # run_K is 0, 1, 2, … and leaves no expert out
    features_BF: Tensor | None = None  # what is known of each prompt as a whole (sentences.py)
    blocks: dict[str, Tensor] = field(
        default_factory=dict[str, Tensor]
    )  # block -> the w that its first layer decided for all
    disabled_E: Tensor | None = None  # True for experts whose weight is 0 for now (`Banks.ablated`)
    once: dict[Any, Tensor] = field(default_factory=dict[Any, Tensor])  # worked out once a batch, not in each layer

    @property
    def sequences(self) -> int | None:
        """How many sequences the batch has, where something was said of them."""
        said = (self.task_B, self.expert_B, self.mask_BT, self.features_BF)
        return next((len(one) for one in said if one is not None), None)

    def by_token(self, w_HE: Tensor) -> Tensor:
        """Weights by sequence [B, 1, H, E] as weights by token [1, X, H, E] of a flat row; any others as they are."""
        if self.row_X is None or w_HE.dim() != 4 or w_HE.shape[1] != 1:
            return w_HE
        return w_HE[:, 0].index_select(0, self.row_X)[None]

    def record(self, layer: str, w_HE: Tensor) -> Tensor:
        """Keyed by layer, so the second forward of activation checkpointing overwrites and never doubles."""
        if self.weights is not None:
            self.weights[layer] = w_HE
        return w_HE
