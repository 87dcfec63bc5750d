"""Which arms are attached to the model: those that jobs have, and those that were used last."""

import time
from collections.abc import Collection

from yosegi.bases import Base
from yosegi.engine.request import SetBatch
from yosegi.engine.switch import Key, Seat, Switch


class Seats:
    """The seats of one switch at a time.

    Args:
        base: the model.
        most: how many stay open; those that were not used longest are closed when another is opened.
    """

    def __init__(self, base: Base, most: int):
        self.base, self.most = base, most
        self.switch = Switch(base)
        self._used: dict[Seat, float] = {}

    def __len__(self) -> int:
        return len(self.switch.seats)

    def turn(self, key: Key | None = None) -> SetBatch:
        """Detaches everything, and begins a switch for arms of another key. Returns what tells its layers about a batch."""
        self._used.clear()
        self.switch.__exit__()
        self.switch = Switch(self.base) if key is None else Switch(self.base, key)
        return self.switch.set_batch

    def has(self, seats: Collection[Seat]) -> bool:
        """Returns whether all of them are open."""
        return all(seat in self.switch.seats for seat in seats)

    def open(self, seats: Collection[Seat], taken: Collection[Seat]) -> dict[Seat, Exception]:
        """Opens seats and attaches their experts. Returns those that do not fit the model, with the reason.

        Args:
            seats: those that are wanted.
            taken: those that must not be closed.
        """
        new, failed = [seat for seat in seats if seat not in self.switch.seats], dict[Seat, Exception]()
        if new:
            self._close_idle(len(new), taken)
            try:
                for seat in new:
                    self.switch.open(seat)
                self.switch.settle()
            except Exception:  # which of them it is shows when each comes by itself
                for seat in new:
                    self._close(seat)
                for seat in new:
                    try:
                        self.switch.open(seat)
                        self.switch.settle()
                    except Exception as error:
                        self._close(seat)
                        failed[seat] = error
                self.switch.settle()
        self._used |= dict.fromkeys(set(seats) - failed.keys(), time.monotonic())
        return failed

    def _close(self, seat: Seat) -> None:
        if seat in self.switch.seats:
            self.switch.close(seat)

    def _close_idle(self, room: int, taken: Collection[Seat]) -> None:
        idle = [seat for seat in self.switch.seats if seat not in taken]
        idle.sort(key=lambda seat: self._used.get(seat, 0.0))
        for seat in idle[: max(0, len(self) + room - self.most)]:
            self._close(seat)
        self._used = {seat: when for seat, when in self._used.items() if seat in self.switch.seats}
