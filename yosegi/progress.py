"""Progress bars: what is done, how far it is, and the time that remains. A log file gets a line now and then."""

import io
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from typing import Any


class Bar:
    """Counts steps. On a terminal it is drawn; elsewhere a line is printed now and then.

    Args:
        title: what is being done.
        total: the number of steps.
    """

    quiet = False
    """Whether nothing is drawn (`--json`, `--quiet`)."""

    def __init__(self, title: str, total: int):
        self.title, self.total, self.done, self.note = title, total, 0, ""
        self.started = self.printed = time.monotonic()
        self._rich: Any = None
        self._task: Any = None

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Counts steps; `note` is a short fact to show next to the bar, such as the loss."""
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
        """Sets another number of steps."""
        self.total = total
        if self._rich is not None:
            self._rich.update(self._task, total=total)

    def left(self) -> str:
        """Returns the time that remains at the present speed."""
        seconds = (time.monotonic() - self.started) / max(self.done, 1) * max(self.total - self.done, 0)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@contextmanager
def progress(title: str, total: int) -> Iterator[Bar]:
    """Shows a bar until the block ends."""
    bar = Bar(title, total)
    if bar.quiet or not sys.stderr.isatty():
        yield bar
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (rich.BarColumn(), rich.MofNCompleteColumn(), rich.TimeElapsedColumn(), "eta", rich.TimeRemainingColumn())
    with rich.Progress(
        "{task.description}", *columns, "{task.fields[note]}", console=Console(stderr=True), transient=True
    ) as drawn:
        bar._rich, bar._task = drawn, drawn.add_task(title, total=total, note="")
        yield bar


def bars_of_others() -> AbstractContextManager[Any]:
    """Hides what other libraries draw while the block lasts, unless this is a terminal and bars are wanted."""
    return nullcontext() if sys.stderr.isatty() and not Bar.quiet else redirect_stderr(io.StringIO())
