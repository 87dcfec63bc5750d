import shutil

import pytest

from yosegi import tasks
from yosegi.errors import Invalid
from yosegi.sandbox import node

here = pytest.mark.skipif(not shutil.which("node"), reason="no node on this system")


def test_javascript_is_refused_in_one_line_unless_it_is_allowed(monkeypatch):
    monkeypatch.delenv("YOSEGI_UNJAILED", raising=False)
    monkeypatch.setattr(node.shutil, "which", lambda name: "/usr/bin/node")
    with pytest.raises(Invalid, match="YOSEGI_UNJAILED=1") as error:
        tasks.load("humanevalpack/js/fix")
    assert "\n" not in str(error.value)
    monkeypatch.setattr(node.shutil, "which", lambda name: None)
    monkeypatch.setenv("YOSEGI_UNJAILED", "1")
    with pytest.raises(Invalid, match="there is no node here"):
        node.run([("1", "1")])


@here
def test_a_failed_assertion_and_an_error_are_told_apart(monkeypatch):
    monkeypatch.setenv("YOSEGI_UNJAILED", "1")
    program = "const add = (a, b) => a + b;"
    right, wrong, broken = node.run(
        [(program, "console.assert(add(1, 2) === 3)"), (program, "console.assert(add(1, 2) === 4)"), ("const = 1", "")]
    )
    assert (right.error, wrong.error, broken.error) == ("", "exception", "syntax")
