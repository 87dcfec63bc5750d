"""Runs programs that a model wrote, each in a process of its own that can compute and nothing else, and judges them from another.

On Linux (x86_64, aarch64; as root or not) a program has limited CPU seconds, wall seconds and memory, and the kernel refuses all
but some thirty system calls: it cannot open, list or write a file, reach a network, start a process or a thread, signal anyone,
or see the caller's environment. It cannot outlive its time, and it never runs in the caller's process. Its answer is JSON text of
at most 64 KB, and is checked. Hashes and `random` are seeded, so that the same program gives the same answer.

Checks run in a process of their own, as confined as the program's. They call the program through a pipe and get literals back,
so a program can neither read what they expect nor change how they compare (judge.py).

What is not promised stands in docs/reliability.md: tests that compare objects of the program's own classes trust these classes,
and a hole in the kernel's own list of calls would be a hole here.

Where these walls do not exist (macOS, a kernel without seccomp filters) every program is refused, unless the environment has
YOSEGI_UNJAILED=1: then there are only time-outs and the limits of the system, and programs can read your files. On Windows
nothing is run at all.
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
from queue import SimpleQueue
from typing import Any

from yosegi.errors import Invalid
from yosegi.sandbox import jail

START_S = 60.0  # for the jail to import its modules; it takes a tenth of a second unless the machine is very busy
GRACE_S = 10.0  # a jail that is this late with its answer will not answer


@dataclass(frozen=True)
class Check:
    """Code that raises if a program is wrong. It never meets the program's process.

    Args:
        code: the tests.
        names: what they take from the program.
        before: code of the data, not of the program, that runs before the tests: imports, and functions that they use.
        module: the name under which they import the program.
        operators: special methods, as in __eq__, that the reference solution's own classes define. Only with them may objects
            of the program say how they compare with each other.
    """

    code: str
    names: tuple[str, ...] = ()
    before: str = ""
    module: str = ""
    operators: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """A program, the check that judges it, and the expression whose value in the program is returned."""

    program: str
    check: Check | None = None
    ask: str = "None"


@dataclass(frozen=True)
class Limits:
    """The limits of one program. A slow program reaches the CPU time, a sleeping one the wall time."""

    cpu_s: int = 3
    wall_s: float = 20.0
    memory_mb: int = 512


@dataclass(frozen=True)
class Outcome:
    """The value of the expression, or what went wrong.

    `error` is "" or one of: syntax, exception, forbidden (a system call was refused), memory, timeout, died (the process
    ended, or its answer could not be read). `printed` is the first 2000 bytes of its output.
    """

    value: Any = None
    error: str = ""
    message: str = ""
    printed: str = ""


class Sandbox:
    """Several jails, each a bare interpreter that forks for every program. They start when they are first used.

    Args:
        limits: the limits of each program.
        jails: how many programs run at a time; by default one for each CPU, at most four.
    """

    def __init__(self, limits: Limits | None = None, jails: int | None = None):
        self.limits, self.owner = limits or Limits(), os.getpid()
        free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.jails = [_Jail(self.limits) for _ in range(jails or min(free, 4))]

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Returns the outcome of each job, in their order. Raises Invalid where programs cannot be confined."""
        self.jails[0].start()  # a refusal is raised here and not in a thread
        idle = SimpleQueue[_Jail]()
        for one in self.jails:
            idle.put(one)

        def work(job: Job) -> Outcome:
            one = idle.get()
            try:
                return one.run(job)
            finally:
                idle.put(one)

        with ThreadPoolExecutor(len(self.jails)) as threads:
            try:
                return list(threads.map(work, jobs))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self.close()
                raise

    def close(self) -> None:
        """Ends the jails and whatever runs in them. A fork of this process, which also exits, is not their owner."""
        if os.getpid() == self.owner:
            for one in self.jails:
                one.close()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run(jobs: Sequence[Job]) -> list[Outcome]:
    """Runs jobs under the default limits, in jails that live as long as this process."""
    return _kept(os.getpid()).run(jobs)


@lru_cache(maxsize=1)
def _kept(pid: int) -> Sandbox:
    """Returns the sandbox of a process: a fork must not write into the pipes of its parent."""
    sandbox = Sandbox()
    atexit.register(sandbox.close)
    return sandbox


class _Jail:
    """One interpreter in a process of its own, and the pipes to it. One caller at a time."""

    def __init__(self, limits: Limits):
        self.limits, self.lock = limits, threading.RLock()
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, job: Job) -> Outcome:
        """Returns the outcome of one job. A jail that does not answer is replaced; the job counts as dead."""
        with self.lock:
            self.start()
            try:
                body = json.dumps(asdict(job)).encode()
                rest = memoryview(jail.FRAME.pack(len(body)) + body)
                while rest:
                    rest = rest[os.write(self.process.stdin.fileno(), rest) :]  # type: ignore[union-attr]
                reply = self._receive(self.limits.wall_s + GRACE_S)
            except (OSError, EOFError, ValueError) as error:
                self.close()
                return Outcome(error="died", message=f"the jail did not answer ({error})")
        if "answer" in reply:
            reply |= read_answer(reply["answer"])
        return Outcome(reply.get("value"), reply.get("error", ""), reply.get("message", ""), reply["printed"])

    def close(self) -> None:
        """Ends the jail with everything in it. It does not wait for the lock, so that a waiting caller is released."""
        process, self.process = self.process, None
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def start(self) -> None:
        """Starts the interpreter unless it runs; raises Invalid with the reason if it cannot be confined."""
        with self.lock:
            if self.process and self.process.poll() is None:
                return
            if not hasattr(os, "fork") or not sys.executable:
                raise Invalid(f"Programs that a model wrote cannot be confined here: {sys.platform} cannot fork.")
            limits = asdict(self.limits) | {"unjailed": os.environ.get("YOSEGI_UNJAILED") == "1"}
            # -I would also ignore the seed of the hashes, so: what -I does, and an environment with nothing else in it
            loader = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-S", "-B", jail.__file__, json.dumps(limits)],
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
                self.close()
                raise Invalid(
                    f"Programs that a model wrote cannot be confined here: {refused}. "
                    "YOSEGI_UNJAILED=1 runs them anyway, with your rights."
                )

    def _receive(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        (length,) = jail.FRAME.unpack(self._read(jail.FRAME.size, deadline))
        return json.loads(self._read(length, deadline))

    def _read(self, count: int, deadline: float) -> bytes:
        if (process := self.process) is None or process.stdout is None:
            raise EOFError("it was closed")
        handle, content = process.stdout.fileno(), b""
        while len(content) < count:
            if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise EOFError("too late")
            if not (more := os.read(handle, count - len(content))):
                raise EOFError("it has ended")
            content += more
        return content


def read_answer(text: str) -> dict[str, Any]:
    """Returns the answer of a program, if it has the form of an honest one: {"value": …} or {"error": …, "message": …}."""
    with suppress(ValueError, TypeError, RecursionError):
        row = json.loads(text)
        # Neither NaN nor half a surrogate pair could be written to a file later.
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
        if set(row) == {"value"} or (
            set(row) == {"error", "message"} and all(isinstance(v, str) for v in row.values())
        ):
            return row
    return {"error": "died", "message": "its answer cannot be read"}
