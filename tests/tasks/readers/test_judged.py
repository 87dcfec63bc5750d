from tests.conftest import each
from yosegi.tasks.readers.judged import judged

CLASS = (
    "class P:\n    def __init__(self): pass\n    def __eq__(self, other): return True\n    def size(self): return 1\n"
)


@each(
    "code, given, names, before",
    [
        ("assert f(1) == 2", {}, ("f",), ""),
        ("assert set(f(1)) == {helper(2)}", {"solution": "def f(x): pass\ndef helper(x): pass"}, ("f", "helper"), ""),
        ("assert abs(f(1)) == 2", {"solution": "def f(x): pass\ndef abs(x): pass"}, ("abs", "f"), ""),
        ("assert abs(f(1)) == 2", {"solution": "def f(x): pass\ndef g(x): pass"}, ("f",), ""),
        ("assert sum(1, 2) == 3", {"solution": "def sum(a, b): pass"}, ("sum",), ""),
        ("assert sum(1, 2) == 3", {}, ("sum",), ""),
        ("assert math.isclose(f(1), 2)", {}, ("f",), "import math"),
        ("assert math.isclose(f(1), 2)", {"solution": "import math\ndef f(x): pass"}, ("f",), "import math"),
        ("assert gcd(1, 2) == f()", {"solution": "from math import gcd, pi\ndef f(): pass"}, ("f",), "from math import gcd, pi"),
        ("x = 1\ndef g(f): assert f(x) == x\ng(h)\nfor i in range(3): pass", {}, ("h",), ""),
        ("def check(f):\n    import math\n    assert f(math.pi)\ncheck(f)", {"name": "f"}, ("f",), ""),
        ("assert poly(f(1)) == 0", {"before": "def poly(x): return x", "solution": "def poly(x): pass\ndef f(x): pass"}, ("f",), "def poly(x): return x"),
        ("assert f.x == LIMIT", {"solution": "LIMIT: int = 3\nf = None"}, ("LIMIT", "f"), ""),
        ("def check(candidate", {"name": "f"}, ("f",), ""),
    ],
)  # fmt: skip
def test_the_data_say_what_is_the_programs(code, given, names, before):
    check = judged(code, **given)
    assert (check.names, check.before, check.code, check.operators) == (names, before, code, ())


@each(
    "code, solution, operators",
    [
        ("assert P() == P()", CLASS, ("__eq__",)),
        ("from points import P", CLASS, ("__eq__",)),
        ("assert points.P() == 3", CLASS, ("__eq__",)),
        ("assert f() == 3", f"{CLASS}def f(): return 3", ()),
        ("assert P() == P()", "@dataclass\nclass P:\n    x: int", ("__eq__",)),
        ("assert P() < P()", "@total_ordering\nclass P:\n    def __lt__(self, other): pass", ("__ge__", "__gt__", "__le__", "__lt__")),
        ("assert P() == P()", "class P: pass", ()),
    ],
)  # fmt: skip
def test_objects_speak_for_themselves_where_the_solutions_do(code, solution, operators):
    assert judged(code, solution).operators == operators
