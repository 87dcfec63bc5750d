"""HumanEvalPack: HumanEval in several languages, to write a function from its description (synthesize) or to repair one (fix).

Muennighoff et al. 2023, "OctoPack: Instruction Tuning Code Large Language Models", arXiv:2308.07124. MIT licence.
Data, in the data folder only: code/humanevalpack_python and code/humanevalpack_js. For evaluation only.

Parts: `python/synthesize`, `python/fix`, `js/synthesize`, `js/fix`. The model writes the whole function in a fence. `fix`
shows the faulty function and its tests, as the paper does. The metric is pass@1;
`humanevalpack{part=python/fix,samples=20}` as in humaneval. JavaScript runs in node, which no sandbox here confines: see
yosegi/sandbox/node.py.
"""

from collections.abc import Sequence
from dataclasses import replace

from yosegi.errors import UnknownName
from yosegi.sandbox import Check, node
from yosegi.tasks import Example, Score
from yosegi.tasks.readers.data import Row, Source
from yosegi.tasks.readers.judged import judged
from yosegi.tasks.readers.programs import OPEN, Programs, read

FIELDS = ("id", "instruction", "prompt", "solution", "tests", "buggy_solution", "raw")
PARTS = [f"{language}/{way}" for language in ("python", "js") for way in ("synthesize", "fix")]


class Humanevalpack(Programs):
    """Args:
    part: language and way, as in python/fix; by default python/synthesize.
    samples: answers for each problem; with one, it is the greedy one.
    temperature: of these draws."""

    source = Source("HumanEvalPack", {"test": "code/humanevalpack_python"}, FIELDS, evaluation_only=True)

    def __init__(self, part: str = "", samples: int = 1, temperature: float = 0.8):
        super().__init__(samples=samples, temperature=temperature)
        UnknownName.check("part of humanevalpack", filter(None, [part]), PARTS)
        self.name = f"humanevalpack/{part}" if part else "humanevalpack"
        self.language, _, self.way = (part or PARTS[0]).partition("/")
        if self.language == "js":
            node.check()
            self.source = replace(self.source, files={"test": "code/humanevalpack_js"})

    @classmethod
    def parts(cls) -> list[str]:
        """Returns the languages that can be run here, and both ways."""
        return PARTS if not node.why_not() else PARTS[:2]

    def example(self, row: Row) -> Example:
        """Returns the description, or the faulty function with its tests."""
        fence = OPEN if self.language == "python" else OPEN.replace("python", "javascript")
        declaration, name = row["raw"]["declaration"].strip("\n"), row["entry_point"]
        code, faulty = (f"{declaration}\n{row[key].strip(chr(10))}" for key in ("solution", "buggy_solution"))
        ask = row["instruction"].strip()
        if self.way == "fix":
            ask = f"{fence.strip()}\n{faulty}\n\n{row['tests'].strip()}\n```\n\nFix bugs in {name}."
        before = declaration[: declaration.rfind(f"def {name}(")] if self.language == "python" else ""
        return Example(row["id"], ask + fence, f"\n{code}", (code,), {"tests": row["tests"].strip(), "before": before})

    def checks(self, example: Example) -> Check:
        """Returns the tests, with what the declaration has before the function."""
        return judged(example.meta["tests"], example.answers[0], example.meta["before"])

    def scores(self, examples: Sequence[Example], predictions: Sequence[str]) -> list[Score]:
        """Returns 1 where the tests pass."""
        if self.language == "python":
            return super().scores(examples, predictions)
        programs = [read(text, r"^(?:const|let|var|function|async function) ") for text in predictions]
        outcomes = node.run([(code, e.meta["tests"]) for code, e in zip(programs, examples, strict=True)])
        return [
            Score(float(not one.error), one.error or "passed") if code.strip() else Score(0.0)
            for code, one in zip(programs, outcomes, strict=True)
        ]
