"""What a router may know about the batch, and what the routers decided. One per model, shared by its layers."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Context:
    """Set by whoever calls the model, before each batch (`Banks.hear`); read by every router.

    Shapes: B sequences, T tokens, H heads, E experts.
    """

    task_B: Tensor | None = None  # the task of each sequence, an index into `Bank.tasks`
    expert_B: Tensor | None = None  # the expert each sequence asks for, an index into `Bank.names`; -1 for the base
    mask_BT: Tensor | None = None  # 1 where a token is real
    weights: dict[str, Tensor] | None = None  # layer name -> w [..., H, E]; None means do not record (serving)

    def record(self, layer: str, w_HE: Tensor) -> Tensor:
        """Keyed by layer, so the second forward of activation checkpointing overwrites and never doubles."""
        if self.weights is not None:
            self.weights[layer] = w_HE
        return w_HE
