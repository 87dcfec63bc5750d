"""Any two models on the same questions: is there a difference, and do they have the same questions right?

Equal scores over different questions are what luck looks like: two models that have 2 of 100 right, and not the same two, show
nothing. So each pair has its test and the overlap of what is right, beside the overlap of two models that were right as often
without regard to the question (reporting/pairs.py).
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from yosegi.evaluation.exact import wilson
from yosegi.reporting.answers import Answers
from yosegi.reporting.comparisons import left_by_holm
from yosegi.reporting.context import Context
from yosegi.reporting.pairs import pair

TITLE = "Any two models"
LINK = "Pairs"
FOLD = True

MODELS = 10
"""All pairs of so many models are compared; of more, each with the base and with the first."""
LISTED = 300
"""Pairs listed on one page; of more, those of each task with the smallest p."""
FEW = 0.05
"""Right answers, as a share, that may as well be luck."""


def section(context: Context) -> dict[str, Any] | None:
    """Returns every task with at least two models."""
    tasks = context.digests["pairs"]
    return {"tasks": tasks} if tasks else None


def digest(context: Context, answers: Answers) -> dict[str, Any] | None:
    """Returns the pairs of one task."""
    as_expert = {oracle: expert for (oracle, task), expert in context.own_experts.items() if task == answers.task}
    return compare(answers, LISTED // len(context.results.tasks), as_expert)


def compare(
    answers: Answers, listed: int = LISTED, as_expert: Mapping[str, str] | None = None
) -> dict[str, Any] | None:
    """Returns the pairs of one task, with room for so many, and what all of them show together; None for a single model.

    An oracle that is an expert on this task (`as_expert`) is no model beside it.
    """
    as_expert = {
        oracle: expert for oracle, expert in (as_expert or {}).items() if {oracle, expert} <= answers.rows.keys()
    }
    models = [model for model in answers.rows if model not in as_expert]
    means = {m: sum(answers.mean(m, ids)) / len(ids) if ids else 0.0 for m in models for ids in [answers.ids(m)]}
    ranked = sorted(models, key=lambda model: -means[model])
    wanted = [p for p in combinations(models, 2) if len(models) <= MODELS or {answers.base, ranked[0]} & set(p)]
    rows = [row for a, b in wanted if (row := pair(answers, a, b)) is not None]
    if not rows:
        return None
    ps = [row.p for row in rows if row.p is not None]
    first = next((row for row in rows if {row.a, row.b} == set(ranked[:2])), None)
    few = [row for row in rows if row.noise and max(row.right) <= FEW * row.n and min(row.right)]
    few.sort(key=lambda row: (row.jaccard or 0.0, row.a, row.b))
    nearest = sorted(range(len(rows)), key=lambda i: (rows[i].noise, 1.0 if rows[i].p is None else rows[i].p or 0.0, i))
    return {
        "task": answers.task,
        "as_expert": as_expert,
        "chance": answers.chance,
        "ranked": ranked,
        "rows": [rows[i] for i in sorted(nearest[:listed])],
        "compared": len(rows),
        "all_pairs": len(models) <= MODELS,
        "seeds": len(ps) < len(rows),
        "n": max(row.n for row in rows),
        "apart": sum(not row.noise for row in rows),
        "holm": left_by_holm(ps) if len(ps) == len(rows) > 1 else None,
        "tied": first if first is not None and first.noise and len(rows) > 1 else None,
        "lucky": [(row, wilson(max(row.right), row.n)) for row in few[:2]],
    }
