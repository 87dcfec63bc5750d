from tests.conftest import each
from yosegi.sandbox import Outcome
from yosegi.tasks import Example, Score
from yosegi.tasks.readers import programs
from yosegi.tasks.readers.judged import judged

CODE = "def solution():\n    return 3"


@each(
    "prediction",
    [
        CODE,
        f"\n{CODE}\n",
        f"\n{CODE}\n```",
        f"\n{CODE}\n```\n\nThis returns 3.\n```python\ndef solution(): return 4\n```",
        f"Here is the function:\n```python\n{CODE}\n```\nIt returns 3.",
        f"Run\n```\npip install x\n```\nthen\n```py\n{CODE}",
    ],
)
def test_the_program_is_found(prediction):
    assert programs.read(prediction) == CODE


def test_without_a_definition_it_is_what_stands_before_the_fence():
    assert programs.read("\nx = 3\n```\nand so on") == "x = 3"
    assert programs.read("the answer is 3") == "the answer is 3"
    assert programs.read("") == programs.read("```") == ""


def test_docstrings_are_taken_out_and_nothing_else():
    program = 'import math\n\ndef f(x):\n    """Says\n\n    much."""\n    text = """a\n\nb"""\n    return text\n'
    assert programs.bare(program) == 'import math\n\ndef f(x):\n    text = """a\n\nb"""\n    return text'
    assert programs.bare(CODE) == CODE
    alone = 'def f():\n    """Nothing else."""'
    assert programs.bare(alone) == alone


def test_each_prediction_has_its_outcome_and_equal_ones_run_once(monkeypatch):
    ran = []
    run = programs.run
    monkeypatch.setattr("yosegi.tasks.readers.programs.run", lambda jobs: ran.extend(jobs) or run(jobs))
    told = programs.outcomes([CODE, f"\n{CODE}", "", "def (", "x = 1"], [None] * 5, "solution()")
    assert told[0] == told[1] == Outcome(3)
    assert [one.error for one in told] == ["", "", "syntax", "syntax", "exception"]
    assert len(ran) == 3
    assert programs.outcomes(["y = 2"] * 2, [judged("assert y == 2"), judged("assert y == 3")])[1].error == "exception"


def test_a_check_passes_or_says_how_it_failed():
    said = [CODE, "def solution(): return 2", "def (", "import os\nos.fork()"]

    class Threes(programs.Programs):
        def checks(self, example):
            return judged("assert solution() == 3")

    scores = Threes().scores([Example("", "", "")] * 4, said)
    assert scores == [Score(1.0, "passed"), Score(0.0, "exception"), Score(0.0), Score(0.0, "forbidden")]
