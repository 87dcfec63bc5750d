"""A job: what one client asks of the model's loop. Its answers are read where they grow, in `Request.completions`."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from yosegi.engine.request import Completion, Request, TokenLogProb
from yosegi.engine.switch import Seat, key
from yosegi.errors import Invalid, YosegiError


class Busy(YosegiError):
    """The queue is full."""


class Stopping(YosegiError):
    """The server is about to end."""


class Failed(YosegiError):
    """The engine could not answer."""


class Late(YosegiError):
    """The answer took too long."""


@dataclass(eq=False)
class Job:
    """What one client asks.

    Args:
        seat: the arm.
        requests: one for each prompt.
        wake: called with jobs that have something new, in the thread of the model.
        prompts: the text of each prompt, where the router of the seat looks at prompts as a whole.
        task: for routers that are told the task.
        echo: the log-likelihoods of so many of the likeliest tokens are wanted of the prompts; None for no echo.
        silent: whether no token is wanted after the prompts, which are only scored.
        stream: whether it is told of every token, and not only of the end.
        deadline: when to give up, by `time.monotonic`.
    """

    seat: Seat
    requests: list[Request]
    wake: Callable[[Sequence["Job"]], None]
    prompts: Sequence[str] = ()
    task: str = ""
    echo: int | None = None
    silent: bool = False
    stream: bool = False
    deadline: float = float("inf")
    number: int = 0
    alone: bool = False
    over: bool = False
    error: Exception | None = None
    scored: dict[int, list[TokenLogProb]] = field(default_factory=dict[int, list[TokenLogProb]])
    routing: dict[Completion, list[Tensor]] = field(default_factory=dict[Completion, list[Tensor]])
    began: float = field(default_factory=time.monotonic)
    first: float | None = None
    signal: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> Any:
        """What jobs of one batch have in common."""
        return key(self.seat.arm), self.seat if self.alone else None

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is there."""
        scored = len(self.requests) if self.echo is not None else 0
        return len(self.scored) == scored and all(request.done for request in self.requests)

    @property
    def answers(self) -> int:
        """How many answers it wants."""
        return sum(request.n for request in self.requests)

    def grown(self, completion: Completion) -> int:
        """Returns how many tokens of an answer are there with all that was asked for about them."""
        request, count = completion.request, len(completion.ids)
        if request.logprobs is not None:
            count = min(count, len(completion.logprobs))
        return min(count, len(self.routing.get(completion, ()))) if request.routing else count


def told(error: Exception, theirs: bool = False) -> Exception:
    """Returns the error that a client is told: one of ours as it is, if the client may have caused it (`theirs`)."""
    if isinstance(error, YosegiError) and (theirs or not isinstance(error, Invalid)):
        return error
    return Failed(f"The engine failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
