r"""Are two mathematical answers the same? \frac12 and 0.5, (1, 2) and \left( 1,2 \right), x+1 and 1+x.

They are if they are spelt the same (symbols.py), or if math-verify (https://github.com/huggingface/Math-Verify) can show it. It
builds symbolic expressions, and a model can write one that takes for ever (2003^{2002^{2001}}), where no signal is heard. So it
runs in a process of its own, one for each process that asks, started when first needed, with a limit on time and memory; what
it cannot show within the limit is not the same. It forgives a base that is not written (52 for 52_8), since the question names
it, but not another one; and it would take a word for a product of its letters, so words are only compared as they are spelt.
"""

import atexit
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from yosegi.tasks.readers.symbols import AWAY, JAPANESE, PLAIN, fold, spelt

SECONDS = 5
"""For one pair, before the process is given up."""
START = 60
"""For the first pair of a process: computer algebra is slow to import."""
MEMORY = 4 << 30
"""Address space of the process, in bytes."""
LONGEST = 400
"""Characters of an answer. What is longer is a text, and only the same if it is spelt the same."""

WORD = re.compile(r"[^\w\\]*[a-z]{4,}[^\w\\]*")
BASE = re.compile(r"(?<=\d)_\{?(\d+)\}?$")


def same(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether each of these answers is the same as the one beside it."""
    return [_same(*pair) for pair in pairs]


def _same(answer: str, gold: str) -> bool:
    answer, gold = fold(answer), fold(gold)
    a, b = spelt(answer), spelt(gold)
    if a == b or PLAIN.fullmatch(a) and PLAIN.fullmatch(b):
        return a == b or float(a.replace(",", "")) == float(b.replace(",", ""))
    if any(JAPANESE.search(one) or WORD.fullmatch(one) for one in (a, b)):
        return False
    bases = [found[1] for one in (a, b) if (found := BASE.search(one))]
    return len(set(bases)) < 2 and max(len(a), len(b)) <= LONGEST and ALGEBRA.same(answer, gold)


class Algebra:
    """The process that knows computer algebra. It is asked by one thread at a time, and started again when it dies."""

    def __init__(self) -> None:
        self.lock, self.process, self.owner = threading.Lock(), None, 0
        self.restarts = 0

    def same(self, answer: str, gold: str) -> bool:
        """Whether it could show that two answers are the same."""
        with self.lock:
            verdict = None
            for _ in range(2):  # once more if it died of something else than this pair
                if self.process is None or self.owner != os.getpid() or self.process.poll() is not None:
                    self._start()
                    if self._ask("1", "1", START) is None:
                        raise RuntimeError("math-verify does not start; try: python -c 'import math_verify'")
                begun = time.monotonic()
                verdict = self._ask(answer, gold, SECONDS)
                if verdict is not None or time.monotonic() - begun >= SECONDS:
                    break
            return bool(verdict)

    def close(self) -> None:
        """End the process, if it is ours: after a fork it is another's."""
        if self.process is not None and self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe:
                    with contextlib.suppress(OSError):  # a question that it died before reading is still in the pipe
                        pipe.close()
        self.process = None

    def _start(self) -> None:
        self.close()
        here = str(Path(__file__).parents[2])
        path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process: subprocess.Popen[str] | None = subprocess.Popen(
            [sys.executable, "-c", "from yosegi.tasks.readers.equal import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        )
        self.owner = os.getpid()
        self.restarts += 1

    def _ask(self, answer: str, gold: str, seconds: float) -> bool | None:
        """What it says of a pair, or None if it died of it."""
        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        clock = threading.Timer(seconds, process.kill)
        clock.start()
        try:
            process.stdin.write(json.dumps([answer, gold]) + "\n")
            process.stdin.flush()
            if said := process.stdout.readline():
                return json.loads(said)
        except (OSError, ValueError):
            pass
        finally:
            clock.cancel()
        process.kill()
        process.wait()  # else it might still look alive to the next who asks
        return None

    def reset(self) -> None:
        """In a child that was forked: the process is the parent's, and the lock may never be opened again."""
        self.lock, self.process = threading.Lock(), None


ALGEBRA = Algebra()
atexit.register(ALGEBRA.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ALGEBRA.reset)


def serve(asked: IO[str] = sys.stdin, told: IO[str] = sys.stdout) -> None:
    """The other side: a pair of answers a line, true or false a line."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # another system; the limit on time is left
        pass
    import logging

    logging.disable(logging.CRITICAL)
    for line in asked:
        try:
            verdict = _shown(*json.loads(line))
        except Exception:  # what math-verify or sympy stumbles over is not shown to be the same
            verdict = False
        told.write(json.dumps(verdict) + "\n")
        told.flush()


def _shown(answer: str, gold: str) -> bool:
    from math_verify import verify

    return bool(verify(_parsed(gold), _parsed(answer), timeout_seconds=0))


def _parsed(answer: str) -> list[Any]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    for pattern, instead in AWAY[:5]:
        answer = pattern.sub(instead, answer)
    return parse(f"${answer.strip()}$", [LatexExtractionConfig(), ExprExtractionConfig()], parsing_timeout=0)
