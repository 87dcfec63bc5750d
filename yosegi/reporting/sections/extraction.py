"""The audit of what was read out of the answers: how many could not be read, and a few of them to look at.

A score is only as good as its extractor. Three things a table of scores hides: texts in which no answer was found, texts that
the limit cut off, and wrong answers that contain the target word for word.
"""

import re
from typing import Any

from yosegi.reporting.answers import RIGHT, Answers, in_turn
from yosegi.reporting.context import Context
from yosegi.reporting.read import Row

TITLE = "Answers that could not be read"
LINK = ""
FOLD = True

SHOWN = 3
"""Examples of each model and task."""
PAGE = 24
"""Examples of one page."""
LONGEST = 60
"""Characters of a target that is looked for in wrong answers: a longer one (a whole solution) says nothing."""


def digest(context: Context, answers: Answers) -> list[dict[str, Any]]:
    """Returns every model of one task."""
    return [audit(answers, model) for model in answers.rows]


def audit(answers: Answers, model: str) -> dict[str, Any]:
    """Returns what was wrong with the answers of one model, all seeds together, and examples with why they are shown.

    `contains` counts wrong answers in which the target stands; it is None where targets are too long to look for.
    """
    rows = [row for by_id in answers.rows[model] for row in by_id.values()]
    sought = [row for row in rows if 2 <= len(_target(row)) <= LONGEST]
    wrong = [row for row in sought if row["score"] < RIGHT and row.get("parsed") is not False]
    reasons = {
        "not readable": [row for row in rows if row.get("parsed") is False],
        "contains the target": [row for row in wrong if _stands_in(_target(row), str(row.get("prediction") or ""))],
        "cut off": [row for row in rows if row.get("truncated") is True and row["score"] < RIGHT],
    }
    unread, contains, cut_off = map(len, reasons.values())
    examples: dict[str, tuple[str, Row]] = {}
    for why, row in in_turn([[(why, row) for row in of_kind[:SHOWN]] for why, of_kind in reasons.items()]):
        examples.setdefault(str(row["id"]), (why, row))
    return {
        "model": model,
        "task": answers.task,
        "n": len(rows),
        "judged": sum(row.get("parsed") is not None for row in rows),
        "unread": unread,
        "cut_off": cut_off,
        "contains": contains if sought else None,
        "examples": list(examples.values())[:SHOWN],
    }


def _target(row: Row) -> str:
    return str(row.get("target") or "").strip()


def _stands_in(target: str, text: str) -> bool:
    """Returns whether a target stands in a text by itself: 12 is not in 312, nor in 12.5."""
    return re.search(rf"(?<![A-Za-z0-9.,]){re.escape(target)}(?![A-Za-z0-9]|[.,]\d)", text) is not None


def section(context: Context) -> dict[str, Any] | None:
    """Returns the share of unreadable answers by model and task, what was wrong, some examples, and what the limit cut off."""
    audits = [audit for of_task in context.digests["extraction"] for audit in of_task]
    unread = {(a["model"], a["task"]): a["unread"] / a["judged"] for a in audits if a["judged"]}
    truncated: dict[str, dict[str, float]] = {}
    for m in context.results.scores:  # what the results say of parse failures is better than what we count
        if (share := m.number("parse_failures")) is not None:
            unread[m.model, m.task] = share
        if share := m.number("truncated"):
            truncated.setdefault(m.model, {})[m.task] = share
    if not unread and not truncated:
        return None
    faulty = [a for a in audits if a["unread"] or a["cut_off"] or a["contains"]]
    # Models and tasks of which everything could be read say nothing.
    unreadable = [key for key, share in unread.items() if share]
    return {
        "unread": unread,
        "models": [model for model in context.models if any(model == m for m, _ in unreadable)],
        "tasks": [task for task in context.results.tasks if any(task == t for _, t in unreadable)],
        "faulty": faulty,
        "examples": in_turn([[(a, *example) for example in a["examples"]] for a in faulty])[:PAGE],
        "truncated": {model: truncated[model] for model in context.models if model in truncated},
    }
