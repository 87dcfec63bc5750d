"""The contract every router keeps."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.errors import Invalid

FIELDS = {"tasks": ("task", "task_B"), "experts": ("expert", "expert_B"), "features": ("features", "features_BF")}
"""What a router may need of each sequence, in words, and its field of the context."""


class Router(nn.Module):
    """Gives every expert its routing weight.

    `__init__` takes hyper-parameters only and stores each under its own name: a router is its own config.
    `bind` builds what depends on the experts. It runs again whenever the bank changes, so repeating it is safe.
    `forward` returns w [..., H, E], whose leading axes broadcast against those of x:
        [1, E] the same for all      [B, 1, 1, E] by sequence      [B, T, 1, E] by token
    Autocast is off in `forward`, and x may be of any float type: it compares in fp32.
    What a router learns is its parameters and persistent buffers, and only these are saved.
    """

    needs: ClassVar[str | None] = None
    """What `Banks.set_batch` must have for each sequence: "tasks", "experts", "features", or nothing."""
    one_each: ClassVar[bool] = False
    """Whether w is zero except for the expert of a sequence (`Context.expert_B`): the layer then computes only that one."""
    learns: ClassVar[str | None] = None
    """How it is trained (training/routers.py): None, "answers", "inputs", "prompts", "gates" or "jointly"."""

    trained_tasks_only: ClassVar[bool] = False
    """Whether it works only for tasks that some expert was trained on: a yardstick, which knows the task."""

    follows: bool = False
    """Whether another layer's router decides for this layer as well: there is nothing to learn or to save."""

    def __init__(self):
        super().__init__()  # without arguments, which `config` reads off the signature

    def place(self, layer: str, layers: Sequence[str]) -> None:
        """Gets the name of its layer, and of all layers with experts in the order of the model, before `bind`."""

    def bind(self, bank: Bank) -> None:
        """Reads the experts of its layer."""

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns the weights for one batch."""
        raise NotImplementedError

    def given(self, context: Context, needs: str | None = None) -> Tensor:
        """Returns what this router `needs` to know of each sequence.

        Raises:
            Invalid: it was not set.
        """
        wanted, value = FIELDS[needs or self.needs or ""]
        if (tensor := getattr(context, value)) is None:
            raise Invalid(f"The router {type(self).__module__.rpartition('.')[2]} needs the {wanted} of each sequence.")
        return tensor

    def active(self, experts: int) -> int:
        """Returns how many of this many experts one token uses at most."""
        return min(getattr(self, "top_k", None) or experts, experts)

    def load_layer(self, layer: str, state: Mapping[str, Tensor]) -> None:
        """Loads what the router of this layer, or all of them together, have learnt (`Banks.router_state`).

        Raises:
            Invalid: it does not fit.
        """
        if self.follows:
            return
        by_layer = {key.rpartition("|"): value for key, value in state.items()}
        learnt = {name: value for (of, _, name), value in by_layer.items() if of in (layer, "")}
        if missing := {name for _, _, name in by_layer} - set(learnt):
            raise Invalid(f"The router's state lacks {min(missing)} of layer {layer}.")
        try:
            self.load_state_dict(learnt)
        except RuntimeError as error:
            raise Invalid(f"The router's state does not fit layer {layer}: {error}") from None

    def config(self) -> dict[str, Any]:
        """Returns the hyper-parameters by name: enough to make it again."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
