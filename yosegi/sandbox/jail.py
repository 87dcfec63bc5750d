"""The processes behind `sandbox`: a bare interpreter that forks for each program and never runs one itself.

It is started as a script (`python jail.py LIMITS`), imports nothing of yosegi but the two files beside it (judge.py, program.py),
and exchanges frames of JSON over its stdin and stdout. At its start it parts in two. One half, the cell, never sees a job: it
forks the processes of programs, so nothing of any test is in their memory. The other reads the jobs and forks their judges.
Program and judge hold the ends of two pipes.

Both are confined before their first line is read: by limits, then by a list of the allowed system calls. Everything else,
opening a file or a socket, starting a process or a thread, signalling anyone, fails with EPERM in the kernel.
"""

import ctypes
import functools
import gc
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

if sys.platform != "win32":  # where nothing is run, but this file is imported
    import fcntl
    import resource

MODULES = (
    "__future__ _strptime abc array ast base64 bisect calendar cmath collections collections.abc colorsys contextlib copy "
    "dataclasses datetime decimal difflib doctest enum fractions functools hashlib heapq html inspect io itertools json "
    "keyword linecache math numbers operator pprint queue re statistics string struct textwrap time timeit traceback types "
    "typing unicodedata unittest uuid warnings zlib encodings.ascii encodings.latin_1 encodings.utf_16 encodings.idna"
)
"""The modules that programs can import: the part of the standard library that only computes."""

FRAME = struct.Struct(">I")
ENDED = struct.Struct(">Id")  # how a program ended, and its CPU seconds
REPORT = 5  # where the judge writes its answer
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
    register, os.register_at_fork = os.register_at_fork, lambda **_: None
    for module in MODULES.split():
        __import__(module)
    os.register_at_fork = register  # threading's part of it would take a third of a fork, and there are no threads
    judge, program = _sides()
    sys.stdin, sys.stdout, sys.stderr = (
        open(fd, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115, PTH123
        for fd, mode in enumerate("rww")
    )  # those of the forks, which have other files there
    for name in ("ctypes", "_ctypes", "fcntl", "resource", "select", "socket", "_socket", "__main__"):
        sys.modules.pop(name, None)  # not for programs
    gc.freeze()  # what exists now is no garbage: a fork that does not touch it does not copy it
    reason = _why_not()
    limits["walled"] = reason is None
    if limits["unjailed"]:
        reason = None
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        _cell(theirs, limits, program.live)
    theirs.close()
    _send({"refused": reason})
    while reason is None and (head := os.read(0, FRAME.size)):
        job = b""
        while len(job) < FRAME.unpack(head)[0]:
            job += os.read(0, 1 << 20)
        _send(_run(json.loads(job), limits, ours, judge.judge))


def _send(message: dict) -> None:
    body = json.dumps(message).encode()
    rest = memoryview(FRAME.pack(len(body)) + body)
    while rest:
        rest = rest[os.write(1, rest) :]


def _sides() -> tuple[types.ModuleType, types.ModuleType]:
    """Returns the modules of the judge and of the program, which lie beside this file, without the rest of yosegi."""
    for name in ("yosegi", "yosegi.sandbox"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120
    from yosegi.sandbox import judge, program

    for name in [name for name in sys.modules if name.split(".")[0] == "yosegi"]:
        del sys.modules[name]  # not for programs
    return judge, program


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
    _walls()
    pid = os.fork()
    if pid == 0:
        try:
            _wall_in()
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


def _cell(calls: socket.socket, limits: dict, live: Callable[[], None]) -> NoReturn:
    """Forks a process for each program. No test and no expected value was ever in this one, nor is in its forks."""
    while True:
        _, handles, _, _ = socket.recv_fds(calls, 1, 3)
        if len(handles) < 3:
            os._exit(0)
        asked, answers, sink = handles
        if (pid := os.fork()) == 0:
            _confine((os.open(os.devnull, os.O_RDONLY), sink, sink, asked, answers), limits, live)
        for handle in handles:
            os.close(handle)
        calls.recv(1)  # the judge has come to its verdict
        os.kill(pid, signal.SIGKILL)  # it may have left something running
        _, status, used = os.wait4(pid, 0)
        calls.send(ENDED.pack(status, used.ru_utime + used.ru_stime))


def _run(job: dict, limits: dict, cell: socket.socket, judge: Callable[[dict], dict]) -> dict:
    """Judges one program: it in one process, its tests in another. Returns the answer, or how it ended, and what was printed."""
    asked, calls = os.pipe()
    replies, answers = os.pipe()
    read, write = os.pipe()
    sink = os.memfd_create("printed") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
    socket.send_fds(cell, [b"p"], [asked, answers, sink])
    os.close(asked)
    os.close(answers)
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_RDWR)
        _confine((null, null, null, calls, replies, write), limits, lambda: _report(judge(job)))
    for handle in (calls, replies, write):
        os.close(handle)
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
    os.kill(pid, signal.SIGKILL)
    _, status, used = os.wait4(pid, 0)
    seconds = used.ru_utime + used.ru_stime
    cell.send(b"e")
    program_status, program_seconds = ENDED.unpack(cell.recv(ENDED.size))
    os.close(read)
    os.lseek(sink, 0, os.SEEK_SET)
    printed = os.read(sink, SHOWN).decode(errors="replace")
    os.close(sink)
    if answer and len(answer) <= MOST and not late:
        if answer != b'{"error": "ended"}':
            return {"answer": answer.decode(errors="replace"), "printed": printed}
        status, seconds = program_status, program_seconds
    if late:
        return {"error": "timeout", "message": f"not done after {limits['wall_s']:g} s", "printed": printed}
    if os.WIFSIGNALED(status) and seconds > 0.5 * limits["cpu_s"]:
        return {"error": "timeout", "message": f"used up {limits['cpu_s']} s of CPU time", "printed": printed}
    how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
    return {"error": "died", "message": f"ended without an answer ({how})", "printed": printed}


def _report(answer: dict) -> None:
    """Sends the judge's answer from its process."""
    body = json.dumps({"error": "ended"} if answer.get("error") == "ended" else answer).encode()
    for start in range(0, len(body), MOST):
        os.write(REPORT, body[start : start + MOST])


def _confine(handles: tuple[int, ...], limits: dict, live: Callable[[], None]) -> NoReturn:
    """Gives this process, a fork, its handles as 0, 1, 2 … and its limits, builds the walls, and lives until it ends."""
    try:
        far = [fcntl.fcntl(handle, fcntl.F_DUPFD, 64) for handle in handles]  # away from the few that it will have
        for place, source in enumerate(far):
            os.dup2(source, place)
        os.closerange(len(handles), 256)
        for limit, value in (
            (resource.RLIMIT_CPU, limits["cpu_s"]),
            (resource.RLIMIT_AS, limits["memory_mb"] << 20),
            (resource.RLIMIT_FSIZE, PRINTED),
            (resource.RLIMIT_NPROC, 0),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, len(handles)),
        ):
            with suppress(OSError, ValueError):  # not every system has every limit: `_why_not` has tested what matters
                resource.setrlimit(limit, (value, value))
        random.seed(0)
        if limits["walled"]:
            _wall_in()
        live()
        for stream in (sys.stdout, sys.stderr):
            with suppress(BaseException):
                stream.flush()
        os._exit(0)
    finally:
        os._exit(1)


def _wall_in() -> None:
    """From here on the kernel allows only CALLS; any other fails with EPERM. It cannot be undone, also not by root."""
    header, system, _ = _walls()
    number, none = ctypes.c_ulong, ctypes.c_ulong(0)
    system.prctl(1, number(signal.SIGKILL), none, none, none)  # PR_SET_PDEATHSIG: not longer than the jail
    if system.prctl(38, number(1), none, none, none):  # PR_SET_NO_NEW_PRIVS
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if system.prctl(22, number(2), header, none, none):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "seccomp")


@functools.cache
def _walls() -> tuple[Any, ctypes.CDLL, Any]:
    """Returns the filter of system calls, made once for all forks, the C library, and the memory that the filter lies in."""
    machine = os.uname().machine
    load, equal, give = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return
    kill, allow, refuse = 0x80000000, 0x7FFF0000, 0x00050001
    program = [(load, 0, 0, 4), (equal, 1, 0, MACHINES[machine]), (give, 0, 0, kill), (load, 0, 0, 0)]
    for number in CALLS[machine].values():
        program += [(equal, 0, 1, number), (give, 0, 0, allow)]
    code = b"".join(struct.pack("HBBI", *line) for line in [*program, (give, 0, 0, refuse)])
    lines = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(lines)))
    return header, ctypes.CDLL(None, use_errno=True), lines


if __name__ == "__main__":
    main()
