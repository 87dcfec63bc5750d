"""The audit of what was read out of the answers: how many could not be read, and a few of them to look at.

A score is only as good as its extractor. Three things a table of scores hides: texts in which no answer was found, texts that
the limit cut off, and wrong answers that contain the target word for word.
"""

from dataclasses import dataclass
from typing import Any

from yosegi.reporting.answers import RIGHT, Answers, in_turn
from yosegi.reporting.context import Context
from yosegi.reporting.format import known
from yosegi.reporting.read import Row

TITLE = "Answers that could not be read"
LINK = ""

SHOWN = 3
"""Examples of each model and task."""
PAGE = 24
"""Examples of one page."""
LONGEST = 60
"""Characters of a target that is looked for in wrong answers: a longer one (a whole solution) says nothing."""


@dataclass(frozen=True)
class Audit:
    """One model on one task, all seeds together. Examples say why they are shown."""

    model: str
    task: str
    n: int
    judged: int
    unread: int
    cut_off: int
    contains: int | None
    """Wrong answers in which the target stands; None where targets are too long to look for."""
    examples: list[tuple[str, Row]]


def digest(context: Context, answers: Answers) -> list[Audit]:
    """Every model of one task."""
    return [audit(answers, model) for model in answers.rows]


def audit(answers: Answers, model: str) -> Audit:
    """Returns what was wrong with the answers of one model."""
    rows = [row for by_id in answers.rows[model] for row in by_id.values()]
    sought = [row for row in rows if 2 <= len(_target(row)) <= LONGEST]
    reasons = {
        "not readable": [row for row in rows if row.get("parsed") is False],
        "contains the target": [
            row
            for row in sought
            if row["score"] < RIGHT
            and row.get("parsed") is not False
            and _target(row) in str(row.get("prediction") or "")
        ],
        "cut off": [row for row in rows if row.get("truncated") is True and row["score"] < RIGHT],
    }
    unread, contains, cut_off = map(len, reasons.values())
    examples: dict[str, tuple[str, Row]] = {}
    for why, row in in_turn([[(why, row) for row in of_kind[:SHOWN]] for why, of_kind in reasons.items()]):
        examples.setdefault(str(row["id"]), (why, row))
    judged = sum(row.get("parsed") is not None for row in rows)
    shown = list(examples.values())[:SHOWN]
    return Audit(model, answers.task, len(rows), judged, unread, cut_off, contains if sought else None, shown)


def _target(row: Row) -> str:
    return str(row.get("target") or "").strip()


def section(context: Context) -> dict[str, Any] | None:
    """The share of unreadable answers by model and task, what was wrong, some examples, and what the limit cut off."""
    audits = [audit for of_task in context.digests["extraction"] for audit in of_task]
    unread = {(audit.model, audit.task): audit.unread / audit.judged for audit in audits if audit.judged}
    truncated: dict[str, dict[str, float]] = {}
    for m in context.results.scores:  # what the results say of parse failures is better than what we count
        if (share := known(m.row.get("parse_failures"))) is not None:
            unread[m.model, m.task] = share
        if share := known(m.row.get("truncated")):
            truncated.setdefault(m.model, {})[m.task] = share
    if not unread and not truncated:
        return None
    faulty = [audit for audit in audits if audit.unread or audit.cut_off or audit.contains]
    return {
        "unread": unread,
        "models": [model for model in context.models if any(model == m for m, _ in unread)],
        "tasks": [task for task in context.results.tasks if any(task == t for _, t in unread)],
        "faulty": faulty,
        "examples": in_turn([[(audit, *example) for example in audit.examples] for audit in faulty])[:PAGE],
        "truncated": {model: truncated[model] for model in context.models if model in truncated},
    }
