"""Ctrl-C waits for the end of the step, so that no checkpoint holds half an update. A second one does not wait."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Yields a list that is empty until somebody presses Ctrl-C (or the process is asked to terminate)."""
    signals: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}  # only the main thread gets signals

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: Any) -> None:
        signals.append(number)
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield signals
    finally:
        restore()
