"""The contract every router keeps."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.errors import Invalid


class Router(nn.Module):
    """Gives every expert its routing weight.

    `__init__` takes hyper-parameters only and stores each under its own name: a router is its own config.
    `attach` builds what depends on the experts. It runs again whenever the bank changes, so repeating it is safe.
    `forward` returns w [..., H, E], whose leading axes broadcast against those of x:
        [1, E] the same for all      [B, 1, 1, E] by sequence      [B, T, 1, E] by token
    Autocast is off while it decides, and x may be of any float type: it compares in fp32.
    What it learns is its parameters and persistent buffers, and nothing else: that is what is saved.
    """

    needs: ClassVar[str | None] = None
    """What `Banks.set_batch` has to say of each sequence: "tasks", "experts", "features", or nothing."""
    one_each: ClassVar[bool] = False
    """Whether w is zero but for the expert that a sequence asks for (`Context.expert_B`): the layer then computes only that."""
    learns: ClassVar[str | None] = None
    """How it gets what it cannot read off the experts (training/routers.py): None, "inputs", "prompts", "gates" or "jointly"."""

    trained_tasks_only: ClassVar[bool] = False
    """Whether it has an answer only for tasks that some expert was trained on: a yardstick, which is told the task."""

    follows: bool = False
    """Whether another layer's router decides for this layer as well: there is nothing here to learn or to keep."""

    def __init__(self):
        super().__init__()

    def place(self, layer: str, layers: Sequence[str]) -> None:
        """Hear where it stands, before `attach`: in which layer, of all that have experts, in the order of the model."""

    def bind(self, bank: Bank) -> None:
        """Look at the experts of one layer."""

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """The weights for one batch."""
        raise NotImplementedError

    def active(self, experts: int) -> int:
        """How many of so many experts one token uses at most."""
        return min(getattr(self, "top_k", None) or experts, experts)

    def load_layer(self, layer: str, state: Mapping[str, Tensor]) -> None:
        """Take what the router of this layer, or all of them together, learnt out of a state (`Banks.router_state`).

        Raises:
            Invalid: it does not fit.
        """
        if self.follows:
            return
        by_layer = {key.rpartition("|"): value for key, value in state.items()}
        learnt = {name: value for (of, _, name), value in by_layer.items() if of in (layer, "")}
        if missing := {name for _, _, name in by_layer} - set(learnt):
            raise Invalid(f"What was learnt does not say the {min(missing)} of layer {layer}.")
        try:
            self.load_state_dict(learnt)
        except RuntimeError as error:
            raise Invalid(f"What was learnt does not fit the router of layer {layer}: {error}") from None

    def config(self) -> dict[str, Any]:
        """The hyper-parameters, by name: enough to make it again."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
