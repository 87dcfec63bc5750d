r"""Are two mathematical answers the same? \frac12 and 0.5, (1, 2) and \left( 1,2 \right), x+1 and 1+x.

First the final answer is found in a text, in English or Japanese: what is announced wins over what is not (_answers.py):

    \boxed{…}   >   #### …   >   The answer is … / 答えは…です。   >   the last $…$   >   the last number

Then two answers are the same if they are spelt the same once spaces, sizes, units and degree signs are gone, or if math-verify
(https://github.com/huggingface/Math-Verify) can show it. It builds symbolic expressions, and a model can write one that takes
for ever (2003^{2002^{2001}}), where no signal is heard. So it runs in a process of its own, one for each process that asks,
started when first needed, with a limit on time and memory; what it cannot show within the limit is not the same. It forgives
a base that is not written (52 for 52_8), since the question names it.
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
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from yosegi.tasks._answers import ANNOUNCED, BEFORE, boxed, last_number

SECONDS = 5
"""For one pair, before the process is given up."""
START = 60
"""For the first pair of a process: computer algebra is slow to import."""
MEMORY = 4 << 30
"""Address space of the process, in bytes."""
LONGEST = 400
"""Characters of an answer. What is longer is a text, and only the same if it is spelt the same."""
READ = 8000

JAPANESE = re.compile(r"[\u3005-\u30ff\u3400-\u9fff]+")
MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
PLAIN = re.compile(r"[+-]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)")
AWAY = (  # what does not tell two answers apart, and what stands instead
    (re.compile(r"(?<!\\)\\(?:(?:left|right|displaystyle|[bB]ig[lr]?)(?![a-z])|[!,;: ])"), ""),
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\^ ?\{? ?\\circ ?\}?|°"), ""),
    (re.compile(r"\\?%|\\?\$|\\(?:text|mbox|mathrm) ?\{ ?percent ?\}"), ""),
    (re.compile(r"(?<=[\d}]) ?\\(?:text|mbox|mathrm) ?\{[^{}\d]*\}(?:\^ ?\{?\d\}?)?$"), ""),  # 5.4 \text{ cents}
    (re.compile(r"\\(?:text|mbox|mathrm|textbf|mathbf) ?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))(?=[^()\[\]]*$)"), ""),
    (re.compile(r"\{,\}"), ""),
    (re.compile(r"\\frac ?(\d) ?(\d)"), r"\\frac{\1}{\2}"),
)


def final(text: str) -> str | None:
    """The answer a text ends up with, as it is written there; None where none can be found."""
    text = _fold(text[-READ:])
    for announced in (boxed, _hashes, _phrases):
        for segment in announced(text):
            if answer := _bare(segment):
                return answer
    if math := MATH.findall(text):
        return _bare(next(filter(None, math[-1]))) or None
    return _bare(text) if _is_math(text.strip()) else last_number(text)


def spelt(answer: str) -> str:
    """One spelling for answers that differ in nothing but looks."""
    for pattern, instead in AWAY:
        answer = pattern.sub(instead, answer)
    answer = re.sub(r"\s+", "", answer).rstrip(".").casefold()
    return re.sub(r"^[a-z]=(?=[^=]+$)", "", answer)


def same(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether each of these answers is the same as the one beside it."""
    return [_same(*pair) for pair in pairs]


def _same(answer: str, gold: str) -> bool:
    a, b = spelt(_fold(answer)), spelt(_fold(gold))
    if a == b or PLAIN.fullmatch(a) and PLAIN.fullmatch(b):
        return a == b or float(a.replace(",", "")) == float(b.replace(",", ""))
    return max(len(answer), len(gold)) <= LONGEST and ALGEBRA.same(_fold(answer), _fold(gold))


def _fold(text: str) -> str:
    for pattern, instead in BEFORE:
        text = pattern.sub(instead, text)
    text = unicodedata.normalize("NFKC", text)
    text = re.sub("[−–—‐]", "-", text).replace("\N{FRACTION SLASH}", "/").replace("{\\,}", "")
    return re.sub(r"(?<![\d}/^_])(\d+) +(\d+)/(\d+)(?!\d)", r"\1\\frac{\2}{\3}", text)  # 1 4/5


def _hashes(text: str) -> list[str]:
    found = re.findall(r"^\s*#### *(\S.*)$", text, re.MULTILINE)
    return [line for line in found[::-1] if not re.match(r"\d+[.)]\s+\S|[A-Za-z]+\s+\d+", line)]


def _phrases(text: str) -> list[str]:
    """What stands between an announcement and the end of its sentence; only where that can be mathematics."""
    found = []
    for phrase in list(ANNOUNCED.finditer(text))[-20:]:
        said = re.split(r"。|\n|\.(?=\s|$)", text[phrase.end() :].lstrip(" :=\n"), maxsplit=1)[0]
        if re.search(r"[\d\\$]", said) or last_number(f"答えは{said}") or re.fullmatch(r"\W*\w+\W*", said):
            found.append(said)
    return found[::-1]


def _is_math(text: str) -> bool:
    """Whether a whole text is one line of mathematics: no words in it but LaTeX's own and those in \\text{}."""
    told = re.sub(r"\\(?:text|mbox|mathrm|textbf) ?\{[^{}]*\}|\\(?:begin|end) ?\{\w+\}|\\[A-Za-z]+", " 0 ", text)
    return (
        0 < len(text) <= LONGEST
        and not re.search(r"\n|[^\W\d_]{3}|[\u3040-\u9fff]", told)
        and bool(re.search(r"\w", told))
    )


def _bare(segment: str) -> str:
    """An answer without what stands around it: $…$, 個です, apples, **."""
    segment = segment.strip()
    if (math := MATH.findall(segment)) and not segment.startswith("\\$"):
        return next(filter(None, math[0])).strip()
    segment = re.sub(r"\*\*|`", "", segment).strip(" 。、,:").rstrip(".")
    if JAPANESE.search(segment):
        told = re.sub(r"(?:です|だ|である|になる|となる|になります|となります)$", "", segment)
        if re.fullmatch(r"[\d,.〇一二三四五六七八九十百千万億兆分の/ -]+\D{0,4}", told) and (
            number := last_number(told)
        ):
            return number
        segment = JAPANESE.sub(" ", told).strip() or told
    if found := re.fullmatch(rf"(?:approximately|about|\\approx|=)?\s*(\$?{PLAIN.pattern})(?:\s+[A-Za-z ]+)?", segment):
        return found[1]
    return segment


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
            [sys.executable, "-c", "from yosegi.tasks._equal import serve; serve()"],
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
