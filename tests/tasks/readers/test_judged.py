import ast

import pytest

from tests.conftest import each
from yosegi import tasks
from yosegi.tasks.readers.judged import OPERATORS, judged

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
        ("assert P() == P()", "", tuple(sorted(OPERATORS))),
        ("assert f() == f()", "", ()),
    ],
)  # fmt: skip
def test_objects_speak_for_themselves_where_the_solutions_do(code, solution, operators):
    assert judged(code, solution).operators == operators


EQUAL = """
class Equal:
    def __getattr__(self, name): return self
    def __call__(self, *args, **named): return self
for name in "eq ne lt le gt ge contains bool instancecheck".split():
    setattr(Equal, f"__{name}__", lambda *args: True)
for name in "add radd sub rsub mul rmul abs neg float int index hash len round iter".split():
    setattr(Equal, f"__{name}__", lambda *args: 0)
"""


@pytest.mark.data
@each("name", ["mbpp", "humaneval", "humanevalpack", "exercism", "thealgorithms"])
def test_tests_of_the_real_data_pass_solutions_and_nothing_that_equals_everything(name):
    """A sample of them. Of the 1,619 problems one passes the second: an empty list is right there, too."""
    task = tasks.load(name)
    rows = task.examples("validation" if name == "thealgorithms" else "test")[::9]
    equal = []
    for example in rows:
        tree = ast.parse(example.answers[0] if name != "humaneval" else example.prompt + example.answers[0])
        defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        functions = "\n".join(f"def {one}(*args, **named): return Equal()" for one in defined)
        equal.append(f"```python{EQUAL}{functions}\n```")
    scores = task.scores(rows * 2, [example.target for example in rows] + equal)
    assert [score.answer for score in scores] == ["passed"] * len(rows) + ["exception"] * len(rows)


@pytest.mark.data
def test_five_exercises_compare_objects_of_the_program():
    task = tasks.load("exercism")
    trusting = [example.id for example in task.examples("test") if "__eq__" in task.checks(example).operators]
    assert [one.partition("/")[2] for one in trusting] == [
        "clock",
        "complex-numbers",
        "dot-dsl",
        "pov",
        "rational-numbers",
    ]
