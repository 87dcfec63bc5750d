"""Ctrl-C waits for the end of the step, so that no checkpoint holds half an update. A second one does not wait."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """A list that is empty until somebody presses Ctrl-C (or the process is asked to terminate)."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread hears signals
        yield seen
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hear(number: int, frame: Any) -> None:
        seen.append(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, hear)
    try:
        yield seen
    finally:
        restore()
