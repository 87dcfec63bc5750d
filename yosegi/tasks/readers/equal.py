r"""Are two mathematical answers the same? \frac12 and 0.5, (1, 2) and \left( 1,2 \right), x+1 and 1+x.

They are if they have the same spelling (symbols.py) or equal values (values.py), unless they name two different units. What
has no value there is shown to math-verify (https://github.com/huggingface/Math-Verify), and of two numbers that it calls
equal the values have to agree at two precisions. It builds symbolic expressions, and some that a model can write take for
ever (2003^{2002^{2001}}) in code that no signal interrupts. So it runs in a process of its own, started when first needed,
with a limit on time and memory; what it cannot show within the limit is not the same. A base that is not written is
forgiven (52 for 52_8), since the question names it, but another base is not. math-verify would read a word as a product of
its letters, so words are only compared by their spelling.
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
from pathlib import Path
from typing import IO, Any

from yosegi.tasks.readers.symbols import JAPANESE, LOOKS, PLAIN, fold, spelt, tidy, unit
from yosegi.tasks.readers.values import agree

SECONDS = 5
"""The time for one pair; after it the process is killed."""
START = 60
"""The time for the first pair of a process: computer algebra is slow to import."""
MEMORY = 4 << 30
"""The address space of the process, in bytes."""
LONGEST = 400
"""Answers of more characters are texts, which are only compared by their spelling."""

WORD = re.compile(r"[^\w\\]*[a-z]{4,}[^\w\\]*")
BASE = re.compile(r"(?<=\d)_\{?(\d+)\}?$")


def same(answer: str, gold: str) -> bool:
    """Returns whether two answers are equal as mathematics."""
    answer, gold = fold(answer), fold(gold)
    units = [unit(answer), unit(gold)]
    if all(units) and units[0] != units[1]:
        return False
    a, b = spelt(answer), spelt(gold)
    if a == b or PLAIN.fullmatch(a) and PLAIN.fullmatch(b):
        return a == b or float(a.replace(",", "")) == float(b.replace(",", ""))
    if any(JAPANESE.search(one) or WORD.fullmatch(one) for one in (a, b)):
        return False
    bases = [match[1] for one in (a, b) if (match := BASE.search(one))]
    if len(set(bases)) > 1 or max(len(a), len(b)) > LONGEST:
        return False
    answer, gold = (BASE.sub("", tidy(one)) for one in (answer, gold))
    verdict = agree(answer, gold)
    return ALGEBRA.same(answer, gold) if verdict is None else verdict


class Algebra:
    """The process that runs math-verify. Threads take turns with it, and it is started again when it dies."""

    def __init__(self) -> None:
        self.lock, self.process, self.owner = threading.Lock(), None, 0
        self.restarts = 0

    def same(self, answer: str, gold: str) -> bool:
        """Returns whether math-verify could show that two answers are the same."""
        with self.lock:
            for _ in range(2):  # once more if it died of something else than this pair
                if self.process is None or self.owner != os.getpid() or self.process.poll() is not None:
                    self._start()
                begun = time.monotonic()
                verdict = self._ask(answer, gold, SECONDS)
                if verdict is not None or time.monotonic() - begun >= SECONDS:
                    return bool(verdict)
            return False

    def close(self) -> None:
        """Ends the process, if this process started it: after a fork it belongs to the parent."""
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
        if self._ask("1", "1", START) is None:
            raise RuntimeError("math-verify does not start; try: python -c 'import math_verify'")

    def _ask(self, answer: str, gold: str, seconds: float) -> bool | None:
        """Returns the verdict on a pair, or None if the process died or took too long."""
        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        clock = threading.Timer(seconds, process.kill)
        clock.start()
        try:
            process.stdin.write(json.dumps([answer, gold]) + "\n")
            process.stdin.flush()
            if line := process.stdout.readline():
                return json.loads(line)
        except (OSError, ValueError):
            pass
        finally:
            clock.cancel()
        process.kill()
        process.wait()  # otherwise it might still look alive to the next caller
        return None


ALGEBRA = Algebra()
atexit.register(ALGEBRA.close)
if hasattr(os, "register_at_fork"):
    # in a forked child the process is the parent's, and the lock may be held for ever
    os.register_at_fork(after_in_child=ALGEBRA.__init__)


def serve(pairs: IO[str] = sys.stdin, verdicts: IO[str] = sys.stdout) -> None:
    """Runs in the process: reads one pair of answers per line and writes true or false per line."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # another system; the limit on time is left
        pass
    import logging

    logging.disable(logging.CRITICAL)
    for line in pairs:
        try:
            verdict = _shown(*json.loads(line))
        except Exception:  # math-verify or sympy failed: nothing has been shown
            verdict = False
        verdicts.write(json.dumps(verdict) + "\n")
        verdicts.flush()


def _shown(answer: str, gold: str) -> bool:
    from math_verify import verify

    read = _parsed(gold), _parsed(answer)
    return bool(verify(*read, timeout_seconds=0)) and _confirmed(read[0][0], read[1][0])


def _confirmed(gold: Any, answer: Any) -> bool:
    """Returns whether two numbers that were called equal are, at two precisions; of other things the word has to do."""
    if not (getattr(gold, "is_number", False) and getattr(answer, "is_number", False)):
        return type(gold) is not str or type(answer) is not str or spelt(gold) == spelt(answer)
    values = [(gold.evalf(digits), answer.evalf(digits)) for digits in (25, 50)]
    return all(bool(abs(x - y) <= abs(x) * 1e-15) for x, y in values)


def _parsed(answer: str) -> list[Any]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    for pattern, instead in LOOKS[:5]:
        answer = pattern.sub(instead, answer)
    return parse(f"${answer.strip()}$", [LatexExtractionConfig(), ExprExtractionConfig()], parsing_timeout=0)
