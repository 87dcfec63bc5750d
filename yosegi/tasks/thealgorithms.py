"""TheAlgorithms: functions of the repository TheAlgorithms/Python, written again from their docstrings. For training.

https://github.com/TheAlgorithms/Python, MIT licence: self-contained functions whose doctests pass when run alone.
Data: code/thealgorithms_py, in the data folder only.

The model sees signature and docstring and writes the function, without the docstring, in the fenced form of `mbpp` and
`gsm_hard`; the sandbox runs the examples of the docstring. A tenth of the files, by hash, is the validation split: functions
of one file are often alike and stay together. Functions whose examples need numpy are left out, since the sandbox has none.
There is no test split: any base trained on public code has read all of these functions. `mbpp` and `gsm_hard` are the
measures of programs.
"""

import ast

from yosegi.sandbox import Check
from yosegi.tasks import Example
from yosegi.tasks.readers import data
from yosegi.tasks.readers.judged import judged
from yosegi.tasks.readers.programs import CLOSE, OPEN, Programs, bare

CHECK = """
import doctest
_test = doctest.DocTestParser().get_doctest({doc!r}, globals(), {name!r}, None, 0)
_output = []
_result = doctest.DocTestRunner(verbose=False).run(_test, out=_output.append, clear_globs=False)
assert _result.attempted and not _result.failed, "".join(_output).strip()[-200:]
assert callable({name})
"""


class Thealgorithms(Programs):
    """Scored by the doctests of the docstring."""

    name = "thealgorithms"
    known_splits = ("train", "validation")

    def rows(self, split: str) -> list[data.Row]:
        """Returns the functions of a split, in upstream order."""
        data.known(split, ("train", "validation"))
        fields = ("id", "prompt", "solution", "entry_point", "raw")
        rows = data.rows("code/thealgorithms_py", None, "TheAlgorithms", fields)
        rows = [row for row in rows if "import numpy" not in row["prompt"]]
        return [row for row in rows if (data.hashed(row["raw"]["path"]) % 10 == 0) == (split == "validation")]

    def example(self, row: data.Row) -> Example:
        """Returns signature and docstring as the prompt, and the function without its docstring."""
        whole = f"{row['prompt']}\n{row['solution']}"
        function = next(node for node in ast.parse(whole).body if isinstance(node, ast.FunctionDef))
        prompt = f"Write the function that this describes.\n\n```python\n{row['prompt']}{CLOSE}{OPEN}"
        before = "\n".join(whole.split("\n")[: function.lineno - 1])
        meta = {"doctest": ast.get_docstring(function), "name": row["entry_point"], "before": before}
        return Example(row["id"], prompt, f"\n{bare(whole)}", (bare(whole),), meta)

    def checks(self, example: Example) -> Check:
        """Returns code that raises unless every example of the docstring comes out as it says."""
        name = example.meta["name"]
        code = CHECK.format(doc=example.meta["doctest"], name=name)
        return judged(code, example.answers[0], example.meta["before"], name=name)
