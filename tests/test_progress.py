"""The one bar: drawn for those who watch, a line now and then for logs, silent when told to be."""

import io
import sys

import pytest

from yosegi import progress as module
from yosegi.progress import Bar, progress


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    return clock


@pytest.mark.parametrize(
    ("seconds", "done", "total", "left"),
    [
        (10, 1, 2, "0:10"),
        (60, 2, 6, "2:00"),
        (30, 3, 4, "0:10"),
        (7, 0, 1, "0:07"),
        (5, 4, 4, "0:00"),
        (5, 6, 4, "0:00"),
    ],
)
def test_the_time_that_is_left(clock, seconds, done, total, left):
    bar = Bar("x", total)
    clock.now += seconds
    bar.done = done
    assert bar.left() == left


def test_in_a_log_a_line_now_and_then(clock, capsys):
    with progress("train", 100) as bar:
        for _ in range(40):
            clock.now += 1
            bar.advance(note="loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["train: 16/100, 1:24 left loss 0.5", "train: 32/100, 1:08 left loss 0.5"]


def test_the_note_stays_until_there_is_another(clock, capsys):
    bar = Bar("x", 3)
    bar.advance(note="loss 1")
    bar.advance()
    assert (bar.done, bar.note) == (2, "loss 1")


def test_quiet(clock, capsys, monkeypatch):
    monkeypatch.setattr(Bar, "quiet", True)
    with progress("train", 10) as bar:
        clock.now += 100
        bar.advance(3)
    assert bar.done == 3 and capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_it_is_drawn_on_stderr_and_gone_at_the_end(monkeypatch, capsys):
    screen = Terminal()
    with monkeypatch.context() as m:  # undone here, while the stderr it gives back is still open
        m.setattr(sys, "stderr", screen)
        m.setenv("TERM", "xterm")
        with progress("train a", 4) as bar:
            bar.advance(3, "loss 0.25")
            bar._rich.refresh()
            assert all(part in screen.getvalue() for part in ("train a", "3/4", "loss 0.25"))
            bar.retarget(9)
            bar._rich.refresh()
            assert "3/9" in screen.getvalue()
    assert screen.getvalue().rstrip().endswith("\x1b[2K")  # the line is erased
    assert capsys.readouterr().out == ""


def test_a_block_that_fails_is_not_swallowed():
    with pytest.raises(ValueError, match="inside"), progress("x", 1):
        raise ValueError("inside")
