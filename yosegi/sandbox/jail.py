"""The process behind `sandbox`: a bare interpreter that forks once for each program and never runs one itself.

It is started as a script (`python jail.py LIMITS`), imports nothing of yosegi, and exchanges frames of JSON over its stdin and
stdout. Each program gets a process of its own, forked from this one with its modules already imported, and is confined there
before its first line is read: by limits, then by a list of the allowed system calls. Everything else, opening a file or a socket,
starting a process or a thread, signalling anyone, fails with EPERM in the kernel.
"""

import ctypes
import gc
import json
import os
import random
import secrets
import select
import signal
import struct
import sys
import time
import types
from contextlib import suppress

MODULES = (
    "__future__ _strptime abc array ast base64 bisect calendar cmath collections collections.abc colorsys contextlib copy "
    "dataclasses datetime decimal difflib doctest enum fractions functools hashlib heapq html inspect io itertools json "
    "keyword linecache math numbers operator pprint queue re statistics string struct textwrap time timeit traceback types "
    "typing unicodedata unittest uuid warnings zlib encodings.ascii encodings.latin_1 encodings.utf_16 encodings.idna"
)
"""The modules that programs can import: the part of the standard library that only computes."""

FRAME = struct.Struct(">I")
MOST = 1 << 16  # bytes of an answer
PRINTED = 1 << 20  # bytes that may be printed; more is an error in the program
SHOWN = 2000  # bytes of them that are kept

# Numbers by machine, from the kernel's unistd_64.h and asm-generic/unistd.h. `time` has none on aarch64.
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS = {
    "x86_64": {
        "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
        "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28,
        "nanosleep": 35, "getpid": 39, "exit": 60, "gettimeofday": 96, "getrusage": 98, "times": 100,
        "sigaltstack": 131, "gettid": 186, "time": 201, "futex": 202, "restart_syscall": 219, "clock_gettime": 228,
        "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "getrandom": 318,
    },
    "aarch64": {
        "read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62, "mmap": 222, "mprotect": 226, "munmap": 215,
        "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "sched_yield": 124, "mremap": 216,
        "madvise": 233, "nanosleep": 101, "getpid": 172, "exit": 93, "gettimeofday": 169, "getrusage": 165,
        "times": 153, "sigaltstack": 132, "gettid": 178, "futex": 98, "restart_syscall": 128, "clock_gettime": 113,
        "clock_getres": 114, "clock_nanosleep": 115, "exit_group": 94, "getrandom": 278,
    },
}  # fmt: skip


def main() -> None:
    """Says whether programs can be confined here, then answers one job after the other until stdin is closed."""
    limits = json.loads(sys.argv[1])
    _leave_home()
    for module in ("resource", *MODULES.split()):
        __import__(module)
    gc.freeze()  # what exists now is no garbage: a fork that does not touch it does not copy it
    reason = _why_not()
    limits["walled"] = reason is None
    if limits["unjailed"]:
        reason = None
    _send({"refused": reason})
    while reason is None and (head := os.read(0, FRAME.size)):
        job = b""
        while len(job) < FRAME.unpack(head)[0]:
            job += os.read(0, 1 << 20)
        _send(_run(json.loads(job), limits))


def _send(message: dict) -> None:
    body = json.dumps(message).encode()
    rest = memoryview(FRAME.pack(len(body)) + body)
    while rest:
        rest = rest[os.write(1, rest) :]


def _leave_home() -> None:
    """Clears the environment, moves to a folder that no longer exists, and leaves the network if that is allowed."""
    import tempfile  # not for programs

    os.environ.clear()
    empty = tempfile.mkdtemp()
    os.chdir(empty)
    os.rmdir(empty)  # noqa: PTH106 (an unlinked folder: nothing can be put into it, and nothing is left behind)
    if sys.platform == "linux":
        # user, network and IPC namespaces, where the kernel allows it: a second wall behind the list of calls
        ctypes.CDLL(None).unshare(0x10000000 | 0x40000000 | 0x08000000)


def _why_not() -> str | None:
    """Returns why programs cannot be confined, after trying it on a process that does nothing; None if they can."""
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in MACHINES:
        return f"this is {os.uname().sysname} on {machine}, and the walls are Linux's, on {' or '.join(MACHINES)}"
    pid = os.fork()
    if pid == 0:
        try:
            _wall_in(machine)
            for forbidden in (lambda: os.open("/", os.O_RDONLY), os.fork, lambda: os.kill(os.getpid(), 0)):
                with suppress(PermissionError):
                    forbidden()
                    os._exit(1)
            os._exit(0)
        except BaseException:
            os._exit(2)
    if os.waitpid(pid, 0)[1]:
        return "the kernel does not let a process give up its system calls (seccomp filters)"
    return None


def _run(job: dict, limits: dict) -> dict:
    """Runs one program in one process; returns its answer, or how it ended, and the beginning of its output."""
    read, write = os.pipe()
    sink = os.memfd_create("printed") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
    secret = secrets.token_hex(8).encode()  # so that its output, wherever it goes, is not taken for its answer
    pid = os.fork()
    if pid == 0:
        try:
            _live(job, limits, write, sink, secret)
        finally:
            os._exit(1)
    os.close(write)
    answer, late, deadline = b"", False, time.monotonic() + limits["wall_s"]
    poll = select.poll()
    poll.register(read, select.POLLIN)
    while len(answer) <= MOST:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            late = True
            break
        if not (more := os.read(read, MOST)):
            break
        answer += more
    os.kill(pid, signal.SIGKILL)  # it may have left something running
    _, status, used = os.wait4(pid, 0)
    os.close(read)
    os.lseek(sink, 0, os.SEEK_SET)
    printed = os.read(sink, SHOWN).decode(errors="replace")
    os.close(sink)
    if answer.startswith(secret) and len(answer) <= MOST and not late:
        return {"answer": answer[len(secret) :].decode(errors="replace"), "printed": printed}
    if late:
        return {"error": "timeout", "message": f"not done after {limits['wall_s']:g} s", "printed": printed}
    if os.WIFSIGNALED(status) and used.ru_utime + used.ru_stime > 0.5 * limits["cpu_s"]:
        return {"error": "timeout", "message": f"used up {limits['cpu_s']} s of CPU time", "printed": printed}
    how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
    return {"error": "died", "message": f"ended without an answer ({how})", "printed": printed}


def _live(job: dict, limits: dict, write: int, sink: int, secret: bytes) -> None:
    """Runs a program in its process, which ends here, whatever the program has left running or registered."""
    import resource  # Windows, where this file is imported too, does not have it

    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(write, 63)  # away from the four that it will have
    for place, source in enumerate((null, sink, sink, 63)):
        os.dup2(source, place)
    os.closerange(4, 256)
    sys.stdin, sys.stdout, sys.stderr = (
        open(fd, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115, PTH123
        for fd, mode in enumerate("rww")
    )
    for limit, value in (
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_AS, limits["memory_mb"] << 20),
        (resource.RLIMIT_FSIZE, PRINTED),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 4),
    ):
        with suppress(OSError, ValueError):  # not every system has every limit: `_why_not` has tested what matters
            resource.setrlimit(limit, (value, value))
    random.seed(0)
    for name in ("ctypes", "_ctypes", "resource", "select", "__main__"):
        sys.modules.pop(name, None)
    if limits["walled"]:
        _wall_in(os.uname().machine)
    answer = json.dumps(_answer(job)).encode()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    os.write(3, secret + answer)
    os._exit(0)


def _wall_in(machine: str) -> None:
    """From here on the kernel allows only CALLS; any other fails with EPERM. It cannot be undone, also not by root."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return
    kill, allow, refuse = 0x80000000, 0x7FFF0000, 0x00050001
    program = [(load, 0, 0, 4), (equal, 1, 0, MACHINES[machine]), (give, 0, 0, kill), (load, 0, 0, 0)]
    for number in CALLS[machine].values():
        program += [(equal, 0, 1, number), (give, 0, 0, allow)]
    code = b"".join(struct.pack("HBBI", *line) for line in [*program, (give, 0, 0, refuse)])
    lines = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(lines)))
    system = ctypes.CDLL(None, use_errno=True)
    number, none = ctypes.c_ulong, ctypes.c_ulong(0)
    system.prctl(1, number(signal.SIGKILL), none, none, none)  # PR_SET_PDEATHSIG: not longer than the jail
    if system.prctl(38, number(1), none, none, none):  # PR_SET_NO_NEW_PRIVS
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if system.prctl(22, number(2), header, none, none):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "seccomp")


def _answer(job: dict) -> dict:
    """Runs the program and the check, and evaluates the expression. An error becomes one line."""
    space = types.ModuleType("__main__")
    sys.modules["__main__"] = space
    try:
        program = compile(job["program"], "<program>", "exec", dont_inherit=True)
    except BaseException as error:
        return {"error": "syntax", "message": _line(error)}
    try:
        exec(program, space.__dict__)
        exec(compile(job["then"], "<check>", "exec", dont_inherit=True), space.__dict__)
        value = _plain(eval(job["ask"], space.__dict__))
        if len(json.dumps(value, allow_nan=False)) > MOST // 2:
            raise ValueError("the answer is too long")
        return {"value": value}
    except MemoryError:
        return {"error": "memory", "message": "out of memory"}
    except PermissionError as error:
        return {"error": "forbidden", "message": _line(error)}
    except BaseException as error:
        return {"error": "exception", "message": _line(error)}


def _plain(value: object) -> object:
    """Returns fractions and decimals as floats; the rest must be JSON already."""
    kind = type(value)
    if kind.__name__ in ("Fraction", "Decimal") and kind.__module__ in ("fractions", "decimal"):
        return float(value)  # type: ignore[arg-type]
    return value


def _line(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}".split("\n")[0][:300].encode(errors="replace").decode()
    except BaseException:  # its own __str__ may be part of the attack
        return "an error without a message"


if __name__ == "__main__":
    main()
