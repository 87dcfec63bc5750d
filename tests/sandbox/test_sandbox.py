"""The sandbox is attacked with what a model might write, by accident or not. Each attack is a program of a few lines."""

import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import each
from yosegi import sandbox
from yosegi.errors import Invalid
from yosegi.sandbox import Check, Job, Limits, Outcome, Sandbox, jail

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in jail.MACHINES, reason="the walls are Linux's"
)

QUICK = Limits(cpu_s=1, wall_s=30, memory_mb=256)  # a machine with much else to do takes its time over a CPU second


@pytest.fixture(scope="module")
def box():
    with Sandbox(QUICK, jails=1) as made:
        yield made


@pytest.fixture
def attack(box):
    """attack(program) -> Outcome of `x` after it; and whatever it did, the next program is served."""

    def run(program, ask="x"):
        (outcome,) = box.run([Job(program, ask=ask)])
        assert box.run([Job("x = 1", ask="x + 1")]) == [Outcome(2)]
        return outcome

    return run


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("x = 6 * 7", 42),
        ("x = -9867630.0", -9867630.0),
        ("x = 2**200", 2**200),
        ("x = None", None),
        ("x = True", True),
        ("x = '十二'", "十二"),
        ("x = [1, {'a': (2, 3)}]", [1, {"a": [2, 3]}]),
        ("from fractions import Fraction\nx = Fraction(1, 4)", 0.25),
        ("from decimal import Decimal\nx = Decimal('0.1')", 0.1),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\nx = P(3).a", 3),
        ("x = __name__", "__main__"),
        ("import re, math, heapq, collections.abc, datetime, itertools, cmath, array\nx = math.comb(5, 2)", 10),
        ("import datetime\nx = datetime.datetime.strptime('2020-02-03', '%Y-%m-%d').day", 3),
    ],
)
def test_values_come_back(attack, program, value):
    assert attack(program) == Outcome(value)


def test_the_check_runs_after_the_program_and_apart_from_it(box):
    check = Check("assert f() == 3", ("f",))
    jobs = [Job("def f(): return 3", check, "f() + 1"), Job("def f(): return 2", check)]
    jobs += [
        Job('x = """', Check('assert False, """')),
        Job("from __future__ import annotations\nx: nothing = 1", Check("y: int = 2"), "x + 1"),
    ]
    right, wrong, open_string, future = box.run(jobs)
    assert right == Outcome(4) and future == Outcome(2)
    assert (wrong.error, wrong.message) == ("exception", "AssertionError: ")
    assert open_string.error == "syntax"


def test_the_same_program_ends_the_same(box):
    program = "import random\nx = [random.random(), list({'a', 'b', 'c', 'd', 'e'}), hash('seed')]"
    first = box.run([Job(program, ask="x")])
    with Sandbox(QUICK, jails=1) as another:
        assert another.run([Job(program, ask="x")]) == first
    assert len(first[0].value[1]) == 5


def test_programs_do_not_see_each_other(box):
    jobs = [Job("import math\nmath.pi = 3\nleft = 1"), Job("import math", ask="[math.pi > 3.1, 'left' in globals()]")]
    assert box.run(jobs)[1] == Outcome([True, False])


@pytest.mark.parametrize(
    ("program", "error", "says"),
    [
        ("x = (", "syntax", "SyntaxError"),
        ("x = '\0'", "syntax", ""),
        ("x = '\ud800'", "syntax", ""),
        ("(" * 100_000, "syntax", ""),
        ("x = 1 / 0", "exception", "ZeroDivisionError: division by zero"),
        ("y = 1", "exception", "NameError: name 'x' is not defined"),
        ("import sys\nsys.exit(0)", "exception", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "exception", "KeyboardInterrupt"),
        ("class E(Exception):\n    def __str__(self): raise self\nraise E", "exception", "without a message"),
        ("raise Exception('\\ud800')", "exception", "Exception: ?"),
        ("import numpy", "exception", "No module named 'numpy'"),
        ("def f(): f()\nf()", "exception", "RecursionError"),
        ("x = []\nfor _ in range(100_000): x = [x]", "exception", "RecursionError"),
        ("x = 10**5000", "exception", "4300 digits"),
        ("x = float('nan')", "exception", "not JSON"),
        ("x = float('-inf')", "exception", "not JSON"),
        ("x = [1e999]", "exception", "not JSON"),
        ("x = 1j", "exception", "complex is not JSON"),
        ("x = {1, 2}", "exception", "set is not JSON"),
        ("x = 'a' * 40_000", "exception", "too long"),
        ("x = 'a' * 10**10", "memory", "out of memory"),
        ("x = []\nwhile True: x.append(bytearray(10**6))", "memory", "out of memory"),
        ("while True: pass", "timeout", "CPU time"),
        ("x = 9**9**9", "timeout", "CPU time"),
        ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", "timeout", "CPU time"),
        ("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", "timeout", "CPU time"),
        ("import os\nos._exit(0)", "died", "exit code 0"),
        ("import os\nos.abort()", "died", "signal"),
        ("import os\nos.close(3)", "died", "ended without an answer"),
        ("import os\nos.closerange(0, 99)", "died", "ended without an answer"),
        ("x = '\\ud800'", "died", "cannot be read"),
        ("while True: print('x' * 10_000)", "exception", "File too large"),
    ],
)
def test_programs_that_go_wrong(attack, program, error, says):
    begun = time.monotonic()
    outcome = attack(program)
    assert (outcome.value, outcome.error) == (None, error), outcome
    assert says in outcome.message and len(outcome.message) <= 300 and len(outcome.printed) <= 2000
    assert time.monotonic() - begun < QUICK.wall_s


def test_a_program_that_waits_is_ended_by_the_clock():
    with Sandbox(Limits(wall_s=0.5), jails=1) as box:
        asleep, next_one = box.run([Job("import time\ntime.sleep(60)"), Job("x = 1", ask="x")])
    assert (asleep.error, asleep.message) == ("timeout", "not done after 0.5 s") and next_one.error in ("", "timeout")


@pytest.mark.parametrize(
    "deed",
    [
        "open('/etc/passwd').read()",
        "open(os.path.expanduser('~/.bashrc')).read()",
        "open('/proc/self/environ').read()",
        "open('mine', 'w').write('x')",
        "open('/tmp/mine', 'w').write('x' * 10**9)",
        "os.mkdir('/tmp/mine')",
        "os.unlink('/tmp/mine')",
        "os.listdir('/')",
        "os.stat('/etc/passwd')",
        "os.getcwd()",
        "os.chdir('/')",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.kill(os.getppid(), 9)",
        "os.kill(1, 9)",
        "os.kill(-1, 9)",
        "os.killpg(0, 9)",
        "os.setsid()",
        "os.setuid(0)",
        "os.pipe()",
        "os.memfd_create('a')",
        "os.dup(1)",
        "os.truncate(1, 10**12)",
        "os.sched_setaffinity(0, [0])",
        "os.nice(-5)",
    ],
)
def test_what_the_kernel_refuses(attack, deed):
    outcome = attack(f"import os\n{deed}\nx = 'done'")
    assert outcome.error == "forbidden" and "Operation not permitted" in outcome.message


def test_calls_made_past_python_are_refused_too(attack):
    """A program that digs ctypes out of memory can make any call it likes; the answer is still EPERM."""
    dig = "import gc, errno\nctypes = next(m for m in gc.get_objects() if getattr(m, '__name__', '') == 'ctypes' and hasattr(m, 'CDLL'))"
    dig = dig.replace("gc.get_objects()", "gc.unfreeze() or gc.get_objects()")
    call = "c = ctypes.CDLL(None, use_errno=True)\nx = []\nfor n in {}: x.append([c.syscall(n, 2, 1, 0), ctypes.get_errno()])"
    x86 = os.uname().machine == "x86_64"
    numbers = (
        [41, 42, 56, 57, 58, 59, 62, 101, 157, 257, 272, 310, 311, 435, 437]
        if x86
        else [198, 203, 220, 221, 129, 117, 56]
    )
    outcome = attack(f"{dig}\n{call.format(numbers)}")
    assert outcome == Outcome([[-1, 1]] * len(numbers)), outcome  # socket, connect, clone, fork, exec, kill, ptrace …


def test_no_network(attack):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        outcome = attack(f"import socket\nsocket.create_connection(('127.0.0.1', {port}))\nx = 1")
        assert outcome.error in ("exception", "forbidden")
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_threads_and_nothing_that_outlives_the_answer(attack):
    assert "can't start new thread" in attack("import threading\nthreading.Thread(target=print).start()").message
    later = "import atexit, sys, weakref\nclass D:\n    def __del__(self): \n        while True: pass\n"
    begun = time.monotonic()
    assert attack(f"{later}d = D()\natexit.register(D().__del__)\nsys.excepthook = D\nx = 5").error in ("", "timeout")
    assert attack("class D:\n    def __del__(self):\n        while True: pass\nd = D()\nx = 5") == Outcome(5)
    assert time.monotonic() - begun < 20


def test_the_environment_of_the_caller_is_not_there(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hf_secret")
    with Sandbox(QUICK, jails=1) as box:
        seen, memory = box.run(
            [Job("import os", ask="dict(os.environ)"), Job("import sys", ask="[sys.argv, sys.path]")]
        )
    assert seen == Outcome({})
    assert "SECRET" not in str(memory.value) and f"{Path.home()}/." not in str(memory.value[0])


@pytest.mark.parametrize(
    "forged",
    [
        "print('{\"value\": 99}')",
        "import os\nos.write(3, b'{\"value\": 99}')",
        "import os\nos.write(3, b'\\x00\\x00\\x00\\x0c{\"value\": 99}')",
        "import os\nfor fd in range(64):\n    try: os.write(fd, b'{\"value\": 99}\\n')\n    except OSError: pass",
        "import os\nos.write(3, b'{\"value\": 99}')\nos._exit(0)",
        "import os\nos.write(3, b'0' * 16 + b'{\"value\": 99}')\nos._exit(0)",
        "import os\nos.write(3, b'[' * 200_000)",
        "import sys\nsys.stdout = sys.stderr = None",
        "import sys\nsys.stdout.close()",
        "import json\njson.dumps = lambda *a, **k: '{\"value\": 99}' * 9",
        "import builtins\nbuiltins.print = builtins.len = builtins.str = None",
    ],
)
def test_a_forged_answer_is_not_believed(attack, forged):
    outcome = attack(f"{forged}\nx = 1")
    assert outcome.value in (None, 1), outcome


@each(
    "text",
    [
        "",
        "{",
        "[" * 50_000,
        "1",
        "null",
        '{"value": NaN}',
        '{"value": "\\ud800"}',
        '{"error": 1, "message": 2}',
        '{"value": 1, "error": ""}',
    ],
)
def test_what_cannot_be_read_is_no_answer(text):
    assert sandbox.read_answer(text) == {"error": "died", "message": "its answer cannot be read"}


def test_what_is_printed_is_kept_apart_and_cut(attack):
    assert attack("print('hello')\nx = 1") == Outcome(1, printed="hello\n")
    assert attack("import sys\nprint('oh', file=sys.stderr)\nx = 1") == Outcome(1, printed="oh\n")
    assert attack("import sys\nsys.stdout.buffer.write(b'\\xff\\xfe')\nx = 1").printed == "\ufffd\ufffd"
    assert attack("print('\\ud800')\nx = 1").printed == "\\ud800\n"
    assert len(attack("print('x' * 100_000)\nx = 1").printed) == 2000
    assert attack("input()").error == "exception"


def test_many_programs_in_many_jails_keep_their_order():
    jobs = [Job(f"x = {i} * 2", ask="x") for i in range(60)]
    with Sandbox(QUICK, jails=3) as box:
        assert [outcome.value for outcome in box.run(jobs)] == [2 * i for i in range(60)]
        assert len({one.process.pid for one in box.jails}) == 3
        assert box.run([]) == []


def test_one_stuck_program_does_not_hold_up_the_others():
    jobs = [Job("while True: pass"), *[Job("x = 1", ask="x")] * 20]
    with Sandbox(QUICK, jails=2) as box:
        result = box.run(jobs)
    assert result[0].error == "timeout" and result[1:] == [Outcome(1)] * 20


def test_a_jail_that_was_killed_is_replaced():
    with Sandbox(QUICK, jails=1) as box:
        assert box.run([Job("x = 1", ask="x")]) == [Outcome(1)]
        threading.Timer(0.3, box.jails[0].process.kill).start()
        (outcome,) = box.run([Job("import time\ntime.sleep(1.5)", ask="1")])
        assert outcome.error == "died" and "the jail did not answer" in outcome.message
        assert box.run([Job("x = 2", ask="x")]) == [Outcome(2)]


def test_ctrl_c_ends_everything_and_leaves_no_answer_for_the_next(monkeypatch):
    with Sandbox(QUICK, jails=1) as box:
        box.jails[0].start()
        before = box.jails[0].process.pid
        receive = box.jails[0]._receive
        monkeypatch.setattr(box.jails[0], "_receive", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            box.run([Job("x = 'stale'", ask="x")])
        monkeypatch.setattr(box.jails[0], "_receive", receive)
        assert box.run([Job("x = 'fresh'", ask="x")]) == [Outcome("fresh")]
        assert not Path(f"/proc/{before}").exists()


def living(session):
    """The processes of a jail that have not ended."""
    states = [
        path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()
    ]
    return sum(int(fields[3]) == session and fields[0] != "Z" for fields in states)


def test_closing_leaves_no_process():
    box = Sandbox(QUICK, jails=2)
    box.run([Job("x = 1")] * 4)
    pids = [one.process.pid for one in box.jails]
    assert [living(pid) for pid in pids] == [2, 2], "the half that judges, and the cell"
    box.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    late = time.monotonic() + 30  # the cell is not our child: it ends a moment later
    while any(map(living, pids)) and time.monotonic() < late:
        time.sleep(0.01)
    assert not any(map(living, pids))
    box.close()


def test_a_fork_of_the_caller_does_not_end_its_jails():
    with Sandbox(QUICK, jails=1) as box:
        box.run([Job("x = 1")])
        if (pid := os.fork()) == 0:
            box.close()
            os._exit(0)
        os.waitpid(pid, 0)
        before = box.jails[0].process.pid
        assert box.run([Job("x = 1", ask="x")]) == [Outcome(1)] and box.jails[0].process.pid == before


def test_the_kept_sandbox_is_one_a_process():
    assert sandbox.run([Job("x = 3", ask="x")]) == [Outcome(3)]
    assert sandbox._kept(os.getpid()) is sandbox._kept(os.getpid())


@pytest.fixture
def no_walls(tmp_path, monkeypatch):
    """A machine whose kernel we have no list of calls for."""
    for file in Path(jail.__file__).parent.glob("*.py"):
        text = file.read_text(encoding="utf-8").replace('{"x86_64": 0xC000003E, "aarch64": 0xC00000B7}', "{}")
        (tmp_path / file.name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(jail, "__file__", str(tmp_path / "jail.py"))


def test_without_walls_programs_are_refused_in_one_line(no_walls):
    with Sandbox(QUICK, jails=2) as box, pytest.raises(Invalid) as error:
        box.run([Job("x = 1")] * 3)
    assert "cannot be confined here: this is Linux on" in str(error.value) and "YOSEGI_UNJAILED=1" in str(error.value)
    assert "\n" not in str(error.value)


def test_unless_the_user_says_otherwise(no_walls, monkeypatch):
    monkeypatch.setenv("YOSEGI_UNJAILED", "1")
    monkeypatch.setenv("SECRET_TOKEN", "hf_secret")
    with Sandbox(QUICK, jails=1) as box:
        value, loop, secret = box.run(
            [Job("x = 1", ask="x"), Job("while True: pass"), Job("import os", ask="dict(os.environ)")]
        )
    assert value == Outcome(1) and loop.error == "timeout" and secret == Outcome({})


def test_the_walls_stand_also_when_the_user_would_do_without(monkeypatch):
    monkeypatch.setenv("YOSEGI_UNJAILED", "1")
    with Sandbox(QUICK, jails=1) as box:
        assert box.run([Job("open('/etc/passwd')")])[0].error == "forbidden"


def test_the_calls_are_those_of_the_kernels_headers():
    """Where the headers are installed. A wrong number would open a wrong door."""
    import re

    files = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "/usr/include/asm-generic/unistd.h"}
    looked = 0
    for machine, header in files.items():
        if Path(header).is_file():
            pairs = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())
            there = {name: int(number) for name, number in pairs}
            assert jail.CALLS[machine] == {name: there[name] for name in jail.CALLS[machine]}
            looked += 1
    assert set(jail.CALLS["x86_64"]) - set(jail.CALLS["aarch64"]) == {"time"}
    if not looked:
        pytest.skip("no kernel headers here")
