"""Run programs that a model wrote, each in a process of its own that can compute and nothing else.

On Linux (x86_64, aarch64; as root or not) a program has CPU seconds, wall seconds and memory, and the kernel refuses it
every system call but some thirty: it cannot open, list or write a file, reach a network, start a process or a thread,
signal anyone, or see the caller's environment. It cannot outlive its time, and it never runs in the caller's process.
What comes back is JSON text, at most 64 KB, read with suspicion. Hashes and `random` are seeded: same program, same end.

What is not promised: that a program is honest about itself. It runs in one process with the check that judges it, so one
written to deceive can pass the check. And a hole in the kernel's own list of calls would be a hole here.

Where these walls cannot be had (macOS, a kernel without seccomp filters) every program is refused, unless you say
YOSEGI_UNJAILED=1: then there are only time-outs and what the system has of limits, and programs can read your files.
On Windows nothing is run at all.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from yosegi.errors import Invalid
from yosegi.sandbox import jail

START_S = 60.0  # for the jail to import its modules; it takes a tenth of a second unless the machine is very busy
GRACE_S = 10.0  # a jail that is this late with its answer is not coming back


@dataclass(frozen=True)
class Job:
    """A program, a check of ours that runs after it in the same namespace, and the expression whose value comes back."""

    program: str
    then: str = ""
    ask: str = "None"


@dataclass(frozen=True)
class Limits:
    """Of one program. CPU time is what a slow program runs out of: the wall is for those that sleep."""

    cpu_s: int = 3
    wall_s: float = 20.0
    memory_mb: int = 512


@dataclass(frozen=True)
class Outcome:
    """The value of what was asked, or how it went wrong.

    `error` is "" or one of: syntax, exception, forbidden (a system call was refused), memory, timeout, died (the process
    ended, or its answer could not be read). `printed` is the first 2000 bytes of its output.
    """

    value: Any = None
    error: str = ""
    message: str = ""
    printed: str = ""


class Sandbox:
    """Some jails side by side, each a bare interpreter that forks for every program. They start when first needed.

    Args:
        limits: of each program.
        jails: how many programs run at a time; by default one a CPU, at most four.
    """

    def __init__(self, limits: Limits | None = None, jails: int | None = None):
        self.limits, self.owner = limits or Limits(), os.getpid()
        free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.jails = [_Jail(self.limits) for _ in range(jails or min(free, 4))]

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """What became of each, in order. Raises Invalid where programs cannot be shut in."""
        first = self.jails[0]
        first.start()  # a refusal is the caller's to hear, not a thread's
        if len(jobs) < 2 or len(self.jails) == 1:
            return [first.run(job) for job in jobs]
        waiting = list(enumerate(jobs))[::-1]
        found: list[Outcome | None] = [None] * len(jobs)

        def work(jail: _Jail) -> None:
            while True:
                try:
                    place, job = waiting.pop()
                except IndexError:
                    return
                found[place] = jail.run(job)

        with ThreadPoolExecutor(len(self.jails)) as threads:
            try:
                for done in [threads.submit(work, jail) for jail in self.jails[: len(jobs)]]:
                    done.result()
            except BaseException:
                waiting.clear()
                self.close()
                raise
        return [outcome or Outcome(error="died", message="never ran") for outcome in found]

    def close(self) -> None:
        """End the jails and whatever runs in them. A fork of this process, which also exits, is not their owner."""
        if os.getpid() == self.owner:
            for one in self.jails:
                one.close()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run(jobs: Sequence[Job]) -> list[Outcome]:
    """Run jobs in jails that are kept for the life of this process, under the usual limits."""
    return _kept(os.getpid()).run(jobs)


@lru_cache(maxsize=1)
def _kept(pid: int) -> Sandbox:
    """One sandbox a process: a fork must not talk into the pipes of its parent."""
    sandbox = Sandbox()
    atexit.register(sandbox.close)
    return sandbox


class _Jail:
    """One interpreter on the other side, and the pipes to it. One caller at a time."""

    def __init__(self, limits: Limits):
        self.limits, self.lock = limits, threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Be ready for jobs, or raise Invalid with the reason."""
        with self.lock:
            self._start()

    def run(self, job: Job) -> Outcome:
        """What became of one job. A jail that fell silent is replaced; the job counts as dead."""
        with self.lock:
            self._start()
            try:
                self._send(asdict(job))
                found = self._receive(self.limits.wall_s + GRACE_S)
            except (OSError, EOFError, ValueError) as error:
                self._close()
                return Outcome(error="died", message=f"the jail did not answer ({error})")
            except BaseException:  # Ctrl-C: the answer that is still to come must not be taken for the next one's
                self._close()
                raise
        if "said" in found:
            found |= _heard(found["said"])
        return Outcome(found.get("value"), found.get("error", ""), found.get("message", ""), found["printed"])

    def close(self) -> None:
        """End the jail with everything in it. Not waiting for the lock is the point: whoever holds it is let go."""
        self._close()

    def _start(self) -> None:
        if self.process and self.process.poll() is None:
            return
        if not hasattr(os, "fork") or not sys.executable:
            raise Invalid(f"Programs that a model wrote cannot be shut in here: {sys.platform} cannot fork.")
        unjailed = os.environ.get("YOSEGI_UNJAILED") == "1"
        # -I would also ignore the seed of the hashes, so: what -I does, and an environment with nothing else in it
        command = [
            sys.executable,
            "-P",
            "-s",
            "-S",
            "-B",
            jail.__file__,
            json.dumps(asdict(self.limits) | {"unjailed": unjailed}),
        ]
        loader = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", **loader},
            cwd=Path(os.sep),
            start_new_session=True,
            bufsize=0,
        )
        try:
            refused = self._receive(START_S)["refused"]
        except (OSError, EOFError, ValueError) as error:
            refused = f"the interpreter {sys.executable} did not start bare ({error})"
        if refused:
            self._close()
            raise Invalid(
                f"Programs that a model wrote cannot be shut in here: {refused}. "
                "YOSEGI_UNJAILED=1 runs them all the same, with your rights."
            )

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process and self.process.stdin
        body = json.dumps(message).encode()
        rest = memoryview(jail.FRAME.pack(len(body)) + body)
        while rest:
            rest = rest[os.write(self.process.stdin.fileno(), rest) :]

    def _receive(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        (length,) = jail.FRAME.unpack(self._read(jail.FRAME.size, deadline))
        return json.loads(self._read(length, deadline))

    def _read(self, count: int, deadline: float) -> bytes:
        assert self.process and self.process.stdout
        handle, found = self.process.stdout.fileno(), b""
        while len(found) < count:
            if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise EOFError("too late")
            if not (more := os.read(handle, count - len(found))):
                raise EOFError("it has ended")
            found += more
        return found

    def _close(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


def _heard(text: str) -> dict[str, Any]:
    """What a program said, if it is what an honest one says: {"value": …} or {"error": …, "message": …}."""
    try:
        found = json.loads(text, parse_constant=_no_number)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair could not be written down later
        if set(found) == {"value"} or (
            set(found) == {"error", "message"} and all(isinstance(v, str) for v in found.values())
        ):
            return found
    except (ValueError, TypeError, RecursionError):
        pass
    return {"error": "died", "message": "its answer cannot be read"}


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
