"""Honest programs are judged as if the tests ran beside them; what crosses the pipe arrives as it was."""

import os
import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from tests.conftest import each
from yosegi.sandbox import Check, Job, Limits, Sandbox, jail, literals
from yosegi.sandbox.judge import Program
from yosegi.sandbox.remote import Remote

walls = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in jail.MACHINES, reason="the walls are Linux's"
)


def no_object(name, content=None):
    raise ValueError(name)


@each(
    "value",
    [
        None, True, False, 0, -1, 2**53, -(2**70), 10**4000, 0.1, -0.0, 1e308, float("inf"), 1j, complex(0.1, -2), "", "十二", "\ud800",
        b"\x00\xff", bytearray(b"ab"), [], [[1], "a", None], (), ((1,), [2]), {1, 2}, set(), frozenset({"a"}), {}, {(1, 2): [3], None: {"a": 1}},
        range(1, 10, 3), Fraction(1, 3), Decimal("0.10"), Decimal("-Infinity"), Counter("aab"), OrderedDict(b=1, a=2), deque([1, 2], 5),
        date(2020, 2, 29), datetime(2020, 2, 29, 1, 2, 3, 4), datetime(2020, 1, 1, tzinfo=UTC), time(1, 2), timedelta(1, 2, 3),
        {"a": 1}.keys(), {"a": 1}.items(), [{"int": "0x5"}],
    ],
)  # fmt: skip
def test_a_literal_arrives_as_it_was(value):
    import json

    back = literals.decode(json.loads(json.dumps(literals.encode(value, no_object))), no_object)
    assert type(back) is type(value) and back == value and repr(back) == repr(value) or isinstance(value, set)


def test_views_and_default_dicts_arrive_as_literals():
    views = literals.encode([{"a": 1}.values(), defaultdict(int, a=1)], no_object)
    values, default = literals.decode(views, no_object)
    assert list(values) == [1] and default == {"a": 1} and default.default_factory is None


def test_what_a_subclass_says_of_itself_is_not_asked():
    class Liar(int):
        __int__ = __index__ = __eq__ = __hash__ = lambda *_: 5
        __repr__ = __str__ = lambda _: "5"

    class Lying(list):
        __iter__ = __len__ = __eq__ = lambda *_: iter([5])

    assert type(literals.plain(Liar(3))) is int and literals.plain(Liar(3)) == 3
    assert literals.plain(Lying([1, 2])) == [1, 2]
    assert literals.plain(object()) is None
    with pytest.raises(ValueError, match="Liar"):
        literals.encode(Liar(3), lambda value: no_object(type(value).__name__))


def written(chance, depth=0):
    """JSON as a program could write it: mostly almost right."""
    kinds = [*literals.KINDS, "object", "builtin", "local", "iterator", "number", "plain", "raises", "?"]
    leaves = [
        None,
        True,
        -1,
        0,
        3,
        2**64,
        0.5,
        float("nan"),
        "",
        "a",
        "0x5",
        "int",
        "eval",
        "1/0",
        "2020-01-01",
        "\ud800",
        "__class__",
    ]
    if depth > 3 or chance.random() < 0.3:
        return chance.choice(leaves)
    content = [written(chance, depth + 1) for _ in range(chance.randrange(4))]
    if chance.random() < 0.3:
        return content
    inner = {"number": chance.choice([0, 1, 2, -1, True, "0"])} if chance.random() < 0.2 else written(chance, depth + 1)
    return {chance.choice(kinds): chance.choice([content, inner]) for _ in range(1 if chance.random() < 0.95 else 2)}


def types_in(value):
    yield type(value)
    if isinstance(value, dict):
        yield from (kind for pair in value.items() for item in pair for kind in types_in(item))
    elif isinstance(value, list | tuple | set | frozenset | deque | KEYS | VALUES | ITEMS):
        yield from (kind for item in value for kind in types_in(item))


KEYS, VALUES, ITEMS = literals.KEYS, literals.VALUES, literals.ITEMS


def test_whatever_a_program_writes_becomes_a_literal_a_number_or_an_error():
    """Half of the 20,000 answers are readable. Of what is read, nothing has a method of the program's."""
    harmless = {type(None), bool, int, float, str, list, Remote, type} | {
        kind for kind, _, _ in literals.KINDS.values()
    }
    chance, program, read = random.Random(0), Program(), 0
    for _ in range(20_000):
        content = written(chance)
        try:
            value = program.decode(content)
        except Exception:
            continue
        kinds = set(types_in(value))
        assert kinds <= harmless, (content, kinds)
        read += 1

    assert 8_000 < read < 11_000


@each(
    "old, new",
    [
        ([3, 1], [1, 3]), ([1], []), ([], [1, [2]]), ({"a": 1}, {"b": 2}), ({1}, {2}), (bytearray(b"a"), bytearray(b"bc")),
        (deque([1]), deque([2, 3])), ([[1], 5], [[2, 3], 6]), ({"a": [1]}, {"a": [2], "b": 3}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)  # fmt: skip
def test_what_a_program_changed_in_place_is_changed(old, new):
    inside = [item for item in (old.values() if isinstance(old, dict) else old) if isinstance(item, list)]
    literals.update(old, new)
    assert old == new and list(old) == list(new)
    assert all(any(item is one for one in (old.values() if isinstance(old, dict) else old)) for item in inside)


def test_another_type_is_not_put_in():
    old = [1]
    literals.update(old, (2,))
    assert old == [1]


OPERATORS = ("__eq__", "__add__", "__lt__", "__contains__", "__hash__")
HONEST = [
    ("def f(x): x.sort()", "a = [3, 1]; f(a); assert a == [1, 3]"),
    ("def f(x): x.sort()", "a = [3, 1]; f(x=a); assert a == [1, 3]"),
    ("def f(x): x[0].append(1)", "a = [2]; b = [a]; f(b); assert a == [2, 1] and b[0] is a"),
    ("def f(x):\n    yield from x", "assert list(f([1, 2])) == [1, 2] and next(f('a')) == 'a' and sorted(f({2, 1})) == [1, 2]"),
    ("f = lambda x: map(str, x)", "assert set(f([1, 2])) == {'1', '2'} and '1' in f([1])"),
    ("f = sum", "assert f([1, 2]) == 3"),
    ("def f(x): return type(x)", "assert f(1) is int and f([]) == list"),
    ("def f(x): return lambda y: x + y", "assert f(1)(2) == 3 and callable(f(1))"),
    ("def f(g, x): return [g(i) for i in x]", "n = []; assert f(n.append, [1, 2]) == [None, None] and n == [1, 2]"),
    ("def f(g, x): return g(g, x)", "assert f(lambda g, x: x + 1, 1) == 2"),
    ("def f(g): return g(lambda x: x + 1)", "assert f(lambda h: h(4)) == 5"),
    ("def f(x): return x", "g = lambda: 0; assert f(g) is g and f(len) == len and f(int) is int"),
    ("def f(g):\n    try: g()\n    except ValueError as e: return str(e)", "def g(): raise ValueError('no')\nassert f(g) == 'no'"),
    ("def f(x): raise ValueError('no', 3)", "try: f(1)\nexcept ValueError as e: assert e.args == ('no', 3) and str(e) == \"('no', 3)\"\nelse: assert 0"),
    ("class E(KeyError):\n    def __str__(self): return 'mine'\ndef f(x): raise E(x)", "try: f(1)\nexcept KeyError as e: assert str(e) == 'mine' and type(e).__name__ == 'E'\nelse: assert 0"),
    ("import json\ndef f(x): return json.loads(x)", "import json\ntry: f('{')\nexcept json.JSONDecodeError: pass\nelse: assert 0"),
    ("def f(x): print(x, end='!')", "import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()) as out: f('hi')\nassert out.getvalue() == 'hi!'"),
    ("def f(): return input() + input()", "import io, sys\nsys.stdin = io.StringIO('a\\nb\\nc\\n')\nassert f() == 'ab' and sys.stdin.readline() == 'c\\n'"),
    ("import random\ndef f(): return random.random()", "import random\nrandom.seed(5); a = f(); random.seed(5); assert a == f() != f()"),
    ("class f:\n    size = 3\n    def __init__(self, x): self.x = x\n    def up(self, by=1): self.x += by; return self", "a = f(2); assert a.up().up(by=3).x == 6 and f.size == 3; a.x = 9; assert a.x == 9 and isinstance(a, f) and hasattr(a, 'up')"),
    ("class f:\n    def __len__(self): return 2\n    def __getitem__(self, i): return 'ab'[i]\n    def __repr__(self): return '<f>'", "a = f(); assert len(a) == 2 and a[1] == 'b' and list(a) == ['a', 'b'] and repr(a) == str(a) == f'{a}' == '<f>' and a"),
    ("class f:\n    def __init__(self): self.d = {}\n    def __setitem__(self, k, v): self.d[k] = v\n    def __delitem__(self, k): del self.d[k]\n    def __enter__(self): return self\n    def __exit__(self, *a): self.d['end'] = 1", "a = f()\nwith a as b: b['x'] = [1]\nassert a.d == {'x': [1], 'end': 1}; del a['x']; assert a.d == {'end': 1}"),
    ("from collections import namedtuple\nP = namedtuple('P', 'x y')\nf = lambda: P(1, 2)", "assert f() == (1, 2) and f()[0] == 1"),
    ("import collections\nf = lambda: collections.Counter('aab')", "assert f() == {'a': 2, 'b': 1} and f().most_common(1) == [('a', 2)]"),
    ("f = object()", "g = f; assert f == f and f is g and f in [f] and {f: 1}[g] == 1 and f != 5"),
    ("def f(x): return 2**x", "assert f(20000) == 2**20000"),
    ("import sys\nsys.setrecursionlimit(3000)\ndef f(x): return x and f(x - 1) + 1", "assert f(2000) == 2000"),
    ("f = 5", "assert f == 5"),
]  # fmt: skip
"""Programs and what holds of them."""

POINT = (
    "from functools import total_ordering\n@total_ordering\nclass f:\n    def __init__(self, x): self.x = x\n"
    "    def __eq__(self, other): return self.x == other.x\n    def __lt__(self, other): return self.x < other.x\n"
    "    def __hash__(self): return hash(self.x)\n    def __add__(self, other): return f(self.x + getattr(other, 'x', other))\n"
    "    __radd__ = __add__\n    def __contains__(self, item): return item == self.x\n"
)
OBJECTS = "assert f(1) == f(1) != f(2) and f(1) < f(2) and f(1) + f(2) == f(3) == 2 + f(1) and 1 in f(1) and len({f(1), f(1)}) == 1"


@walls
def test_honest_programs_pass_and_their_opposites_fail():
    jobs = [Job(program, Check(code, ("f",))) for program, code in HONEST]
    jobs.append(Job(POINT, Check(OBJECTS, ("f",), operators=OPERATORS)))
    opposites = [Job(job.program, Check(f"{job.check.code}\nassert f != f", ("f",))) for job in jobs]
    wrong = [Job("f = 5", Check(code, ("f",))) for _, code in HONEST[:-1]] + [Job(POINT, Check(OBJECTS, ("f",)))]
    missing = [Job("g = 5", Check(code, ("f",))) for _, code in HONEST]
    with Sandbox(Limits(cpu_s=2, wall_s=60), jails=1) as box:
        outcomes = box.run(jobs + opposites + wrong + missing)
    failed = [(job, one) for job, one in zip(jobs, outcomes, strict=False) if one.error]
    assert not failed, "\n\n".join(f"{job.program}\n{job.check.code}\n{one}" for job, one in failed)
    passed = [job for job, one in zip(opposites + wrong + missing, outcomes[len(jobs) :], strict=True) if not one.error]
    assert not passed, passed


@walls
def test_code_of_the_data_runs_before_the_tests_and_the_program_cannot_replace_it():
    check = Check("assert twice(f(2)) == 8 and len([1]) == 1", ("f",), before="def twice(x): return 2 * x")
    with Sandbox(Limits(cpu_s=2, wall_s=60), jails=1) as box:
        right, wrong = box.run(
            [Job("def f(x): return 4", check), Job("def f(x): return 3\ndef twice(x): return 8\nlen = twice", check)]
        )
    assert (right.error, wrong.error, wrong.message) == ("", "exception", "AssertionError: ")
