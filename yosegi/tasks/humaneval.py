"""HumanEval: Python functions from a signature and a docstring, judged by tests.

Chen et al. 2021, "Evaluating Large Language Models Trained on Code", arXiv:2107.03374. MIT licence.
Data: code/humaneval in the data folder, else openai/openai_humaneval on the Hub. For evaluation only.

The model goes on after the docstring, and its answer ends where the function does; a whole program in a fence is accepted,
too. The sandbox runs the tests. The metric is pass@1 of the greedy answer; `humaneval{samples=20,temperature=0.8}` draws
that many answers for each problem and gives pass@1 and the unbiased pass@k of the paper (programs.py).
"""

from yosegi.tasks import Example
from yosegi.tasks.readers import data
from yosegi.tasks.readers.data import Hub, Row, Source
from yosegi.tasks.readers.programs import Completions


def _from_hub(row: Row) -> Row:
    kept = {
        "solution": row["canonical_solution"],
        "tests": row["test"],
        **{k: row[k] for k in ("prompt", "entry_point")},
    }
    return {"id": f"humaneval/{row['task_id'].rpartition('/')[2]}", **kept}


class Humaneval(Completions):
    """Scored by the tests."""

    name = "humaneval"
    source = Source(
        "HumanEval",
        {"test": "code/humaneval"},
        ("id", "prompt", "solution", "tests", "entry_point"),
        {"test": Hub("openai/openai_humaneval", "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544", _from_hub, "test")},
        evaluation_only=True,
    )

    def example(self, row: data.Row) -> Example:
        """Returns signature and docstring, to be gone on from."""
        tests = f"{row['tests']}\ncheck({row['entry_point']})"
        meta = {"tests": tests, "name": row["entry_point"]}
        solution = row["solution"].strip("\n")
        return Example(row["id"], row["prompt"].rstrip(), f"\n{solution}", (f"\n{solution}",), meta, chat=False)
