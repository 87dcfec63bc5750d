"""What a router learns: buffers that are None until it has learnt, and that are loaded from a file as they were saved."""

from typing import Any

import torch
from torch import Tensor, nn

from yosegi.core.context import Context
from yosegi.core.router import Router
from yosegi.errors import Invalid

Shape = tuple[int | None, ...]
"""None for an axis that only the data decides."""


class Learnt(nn.Module):
    """Named tensors that are None until the router has learnt them.

    Args:
        router: the router's name, for messages.
        names: the names of the tensors.
    """

    place: Tensor

    def __init__(self, router: str, *names: str):
        super().__init__()
        self.router, self.owners = router, ()
        self.shapes: dict[str, Shape] = {}
        self.register_buffer("place", torch.empty(0), persistent=False)  # its device is the device of the others
        for name in names:
            self.register_buffer(name, None)

    def belong(self, owners: tuple[str, ...], device: torch.device, **shapes: Shape) -> None:
        """Declares the experts or tasks that the tensors describe, in order. What was learnt about others is dropped."""
        if owners != self.owners:
            for name in shapes:
                setattr(self, name, None)
        self.owners, self.shapes = owners, shapes
        self.place = self.place.to(device)

    def set(self, **tensors: Tensor) -> None:
        """Stores what was learnt."""
        for name, tensor in tensors.items():
            if not _fits(tensor.shape, self.shapes[name]):
                raise Invalid(f"The router {self.router}: {name} is {tuple(tensor.shape)}, not {self.shapes[name]}.")
            setattr(self, name, tensor.to(self.place.device))

    def get(self, name: str) -> Tensor:
        """Returns what was learnt.

        Raises:
            Invalid: nothing has been learnt.
        """
        if (tensor := getattr(self, name)) is None:
            raise Invalid(
                f"The router {self.router} is not trained: yosegi train-router --library LIBRARY --arm {self.router}"
            )
        return tensor

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any, **more: Any) -> None:
        for name, shape in self.shapes.items():
            given = state_dict.get(prefix + name)
            if given is not None and _fits(given.shape, shape):  # otherwise torch reports an unexpected key
                setattr(self, name, torch.empty_like(given, device=self.place.device))
        super()._load_from_state_dict(state_dict, prefix, *rest, **more)


class Shared(Learnt):
    """Tensors that all layers share: copies of the router refer to the same ones."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Shared":
        return self


class PromptRouter(Router):
    """The base of routers that decide by the features of the prompt: once per batch, the same for all layers and tokens.

    An expert that a layer lacks has no weight there, as with the oracle: its weight is not given to less suitable experts.
    """

    needs = "features"
    learns = "prompts"
    learnt: Shared

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns [B, 1, 1, E]."""
        w_BE = context.once.get(self.learnt)
        if w_BE is None:
            w_BE = context.once[self.learnt] = self.decide(self.given(context).float())
        return (w_BE * torch.as_tensor(self.present_E).float())[:, None, None]

    def decide(self, features_BF: Tensor) -> Tensor:
        """Returns the weights [B, E] for the features of the prompts."""
        raise NotImplementedError


def _fits(given: tuple[int, ...], wanted: Shape) -> bool:
    return len(given) == len(wanted) and all(w is None or g == w for g, w in zip(given, wanted, strict=True))
