"""What a router learns: buffers that are not there before it has learnt, and that come back from a file as they were."""

from typing import Any

import torch
from torch import Tensor, nn

from yosegi.errors import Invalid

Shape = tuple[int | None, ...]
"""None for an axis that only the data decides."""


class Learnt(nn.Module):
    """Named tensors that are None until the router has learnt them.

    Args:
        router: whose they are, for messages.
        names: of the tensors.
    """

    place: Tensor

    def __init__(self, router: str, *names: str):
        super().__init__()
        self.router, self.whose = router, ()
        self.shapes: dict[str, Shape] = {}
        self.register_buffer(
            "place", torch.empty(0), persistent=False
        )  # knows the device before there is anything else
        for name in names:
            self.register_buffer(name, None)

    def belong(self, whose: tuple[str, ...], device: torch.device, **shapes: Shape) -> None:
        """These tensors are about `whose`, in this order. What was learnt about anybody else is forgotten."""
        if whose != self.whose:
            for name in shapes:
                setattr(self, name, None)
        self.whose, self.shapes = whose, shapes
        self.place = self.place.to(device)

    def set(self, **tensors: Tensor) -> None:
        """Keep what was learnt."""
        for name, tensor in tensors.items():
            if not _fits(tensor.shape, self.shapes[name]):
                raise Invalid(f"The router {self.router}: {name} is {tuple(tensor.shape)}, not {self.shapes[name]}.")
            setattr(self, name, tensor.to(self.place.device))

    def zeros(self, name: str) -> Tensor:
        """A start for what is learnt by gradient. All of its shape has to be known."""
        self.set(**{name: torch.zeros([n or 0 for n in self.shapes[name]], device=self.place.device)})
        return self.get(name)

    def get(self, name: str) -> Tensor:
        """What was learnt.

        Raises:
            Invalid: nothing was.
        """
        if (tensor := getattr(self, name)) is None:
            raise Invalid(
                f"The router {self.router} has learnt nothing yet: yosegi train-router --library LIBRARY --router {self.router}"
            )
        return tensor

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any, **more: Any) -> None:
        for name, shape in self.shapes.items():
            given = state_dict.get(prefix + name)
            if given is not None and _fits(given.shape, shape):  # else torch says that the key was not expected
                setattr(self, name, torch.empty_like(given, device=self.place.device))
        super()._load_from_state_dict(state_dict, prefix, *rest, **more)


class Shared(Learnt):
    """The same for all layers: copies of the router have one and the same."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Shared":
        return self


def _fits(given: tuple[int, ...], wanted: Shape) -> bool:
    return len(given) == len(wanted) and all(w is None or g == w for g, w in zip(given, wanted, strict=True))
