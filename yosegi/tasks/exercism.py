"""Exercism: exercises of the Python track, each a description and a module to write, judged by its unit tests.

https://github.com/exercism/python, MIT licence. Data, in the data folder only: code/exercism_py. For evaluation: there is
no training split, since any base trained on public code has read many solutions. Exercises that need threads or files,
which the sandbox has not, are left out, and one whose own solution takes too long.

The module is written in a fence; the tests import it under its name, and all of them must pass.
"""

import re
from dataclasses import replace

from yosegi.sandbox import Check
from yosegi.tasks import Example
from yosegi.tasks.readers.data import Row, Source
from yosegi.tasks.readers.judged import judged
from yosegi.tasks.readers.programs import OPEN, Programs

CHECK = """
import sys, types, unittest
_tests = types.ModuleType("tests")
sys.modules["tests"] = _tests
exec(compile({!r}, "tests", "exec"), _tests.__dict__)
_result = unittest.TestResult()
unittest.defaultTestLoader.loadTestsFromModule(_tests).run(_result)
assert _result.testsRun and _result.wasSuccessful(), [str(one[0]) for one in _result.errors + _result.failures][:3]
"""


class Exercism(Programs):
    """Scored by the unit tests."""

    name = "exercism"
    max_new_tokens = 600
    source = Source(
        "Exercism",
        {"test": "code/exercism_py"},
        ("id", "instruction", "prompt", "solution", "tests", "entry_point"),
        evaluation_only=True,
    )

    def rows(self, split: str) -> list[Row]:
        """Returns the exercises that the sandbox can run."""
        needs = re.compile(r"import (?:threading|mock)\b|from unittest import mock|killer_sudoku")
        return [row for row in super().rows(split) if not needs.search(row["tests"] + row["solution"])]

    def example(self, row: Row) -> Example:
        """Returns the description and the stub; the answer is the module."""
        code = row["solution"].strip()
        stub = f"Complete the module {row['entry_point']}.py.\n\n```python\n{row['prompt'].strip()}\n```"
        ask = f"{row['instruction'].strip()}\n\n{stub}"
        return Example(row["id"], ask + OPEN, f"\n{code}", (code,), {"tests": row["tests"], "name": row["entry_point"]})

    def checks(self, example: Example) -> Check:
        """Returns code that runs the unit tests, which import the program as a module."""
        tests = example.meta["tests"]
        return replace(judged(tests, example.answers[0], module=example.meta["name"]), code=CHECK.format(tests))
