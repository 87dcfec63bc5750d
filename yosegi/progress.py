"""One progress bar for everything that takes long: what, how far, how long still. Quiet where nobody watches."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Bar:
    """Counts steps. On a terminal it is drawn; elsewhere a line is printed now and then.

    Args:
        title: what is being done.
        total: how many steps there are.
    """

    quiet = False
    """Set by `--json` and `--quiet`: draw nothing."""

    def __init__(self, title: str, total: int):
        self.title, self.total, self.done, self.note = title, total, 0, ""
        self.started = self.printed = time.monotonic()
        self._rich: Any = None
        self._task: Any = None

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Some steps are done; `note` is a short fact to show beside the bar, such as the loss."""
        self.done += steps
        self.note = note or self.note
        if self._rich is not None:
            self._rich.update(self._task, advance=steps, note=self.note)
        elif not self.quiet and time.monotonic() - self.printed > 15:
            self.printed = time.monotonic()
            print(
                f"{self.title}: {self.done}/{self.total}, {self.left()} left {self.note}", file=sys.stderr, flush=True
            )

    def retarget(self, total: int) -> None:
        """Now it is known how many steps there are."""
        self.total = total
        if self._rich is not None:
            self._rich.update(self._task, total=total)

    def left(self) -> str:
        """The time that remains at the present pace."""
        seconds = (time.monotonic() - self.started) / max(self.done, 1) * max(self.total - self.done, 0)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@contextmanager
def progress(title: str, total: int) -> Iterator[Bar]:
    """A bar that is gone when the block ends."""
    bar = Bar(title, total)
    if bar.quiet or not sys.stderr.isatty():
        yield bar
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        "eta",
        TimeRemainingColumn(),
    )
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True), transient=True) as rich:
        bar._rich, bar._task = rich, rich.add_task(title, total=total, note="")
        yield bar
