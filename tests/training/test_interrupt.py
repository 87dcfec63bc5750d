"""The first Ctrl-C is heard and waits; the second is the system's again."""

import os
import signal
import threading

import pytest

from yosegi.training.interrupt import interruptible


def test_the_first_waits_and_the_second_does_not():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible() as seen:
        os.kill(os.getpid(), signal.SIGINT)
        assert seen == [signal.SIGINT]
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_hear_nothing():
    found = []

    def work():
        with interruptible() as seen:
            found.append(seen)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [[]]
