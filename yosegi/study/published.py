"""What others have measured of a base, beside what we measure: is ours inside, and if not, what differs?

Scores of SmolLM2-135M-Instruct from its card (huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct, read in November 2026):
lighteval, in bf16, without examples unless it says so. The card has no ARC-easy and ARC-challenge of their own, only their
average. Of OpenBookQA and CommonsenseQA it has the model before it learnt to follow instructions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from yosegi import files
from yosegi.bases import Base
from yosegi.evaluation.statistics import interval, over_tasks
from yosegi.findings import Cell, Finding, Table
from yosegi.run import Run
from yosegi.study.measures import rounded


class Published(NamedTuple):
    """A score from 0 to 100, what it is measured on here, and what differs here."""

    name: str
    score: float
    tasks: Sequence[str]
    field: str  # of an item
    differs: str


CHAT = "asked through the chat template"
CUT = "answers of few tokens"
BEFORE = "theirs is the model before it learnt instructions; asked through the chat template"
SMOLLM2 = (
    Published("ARC (average)", 37.3, ("arc_easy", "arc_challenge"), "acc_norm", CHAT),
    Published("MMLU (cloze)", 29.3, ("mmlu",), "acc_norm", f"43 of 57 subjects; {CHAT}"),
    Published("OpenBookQA", 34.6, ("openbookqa",), "acc_norm", BEFORE),
    Published("CommonsenseQA", 33.9, ("commonsenseqa",), "acc_norm", BEFORE),
    Published("GSM8K (5-shot)", 1.4, ("gsm8k",), "score", f"no worked examples; {CUT}"),
    Published("BBH (3-shot)", 28.2, ("bbh",), "score", f"theirs by likelihood; {CUT}"),
    Published("IFEval (prompts and instructions)", 29.9, ("ifeval",), "score", f"ours of prompts, strict; {CUT}"),
)
SCORES = {"smollm2": SMOLLM2}


def published_finding(base: Base, rows: Sequence[Mapping[str, Any]], run: Run) -> Finding | None:
    """Returns the published scores of this base beside ours, for the tasks that were asked; None if there are none.

    Args:
        base: it is looked up by its name.
        rows: of one evaluation, those of the arm "base" among them.
        run: its items.
    """
    items = {row["task"]: row["items"] for row in rows if row["model"] == "base"}
    table, outside = list[list[Cell]](), list[str]()
    for one in SCORES.get(base.name, ()):
        if any(task not in items for task in one.tasks):
            continue
        read = [[item[one.field] for item in files.read_jsonl(run.path / items[task])] for task in one.tasks]
        value, low, high = over_tasks(read) if len(read) > 1 else (sum(read[0]) / len(read[0]), *interval(read[0]))
        inside = low <= one.score / 100 <= high
        outside += [] if inside else [one.name]
        ours = rounded(value, max(0.0, low), min(1.0, high))
        table.append(
            [
                one.name,
                ours,
                sum(map(len, read)),
                round(one.score / 100, 4),
                "inside" if inside else "outside",
                one.differs,
            ]
        )
    if not table:
        return None
    text = [
        f"{len(table) - len(outside)} of {len(table)} published scores lie in the 95 % interval of ours"
        + (f"; outside: {', '.join(outside)}." if outside else ".")
        + " A wide interval holds much: more questions say more (--questions)."
    ]
    text += [f"Read in {base.dtype}; the weights of this file are rounded to about five bits (Q4_1), theirs were bf16."]
    heads = ["benchmark", "ours", "questions", "published", "", "what differs here"]
    return Finding(
        "Beside the published scores", text, Table(heads, table, "Choices by log-likelihood per character (acc_norm).")
    )
