"""One task as a table: one row per question, one column per model, so that what was gained and lost can be looked up.

Questions whose answer changed stand first: those that most models gained at the top, those most lost below them; then what all
kept, then what nobody has right. A model with several seeds has one column, the mean of its seeds. Any higher score than that of
the base is gained and any lower one lost: the rank of a candidate, or the share of seeds.
"""

from collections import Counter
from typing import Any

from yosegi.reporting.answers import RIGHT, Answers
from yosegi.reporting.context import Context
from yosegi.reporting.pairs import pair

TITLE = "As tables: one row per question, one column per model"
LINK = ""
FOLD = True

CELLS = 4000
"""Squares of all tables of one page."""
COLUMNS = 24


def section(context: Context) -> dict[str, Any] | None:
    """Returns every task that has one."""
    ledgers = context.digests["ledger"]
    return {"ledgers": ledgers} if ledgers else None


def digest(context: Context, answers: Answers) -> dict[str, Any] | None:
    """Returns the table of one task."""
    return ledger(answers, CELLS // len(context.results.tasks))


def ledger(answers: Answers, cells: int = CELLS) -> dict[str, Any] | None:
    """Returns the table of one task with at most so many squares; None where there is no room, or one model only.

    A line is an example, its group, and the kind and the score of each model.
    """
    models = list(answers.rows)[:COLUMNS]
    means = {m: dict(zip(ids, answers.mean(m, ids), strict=True)) for m in models for ids in [answers.ids(m)]}
    ids = list(dict.fromkeys(key for of_model in means.values() for key in of_model))
    room = cells // max(len(models), 1)
    if len(answers.rows) < 2 or room < 5 or not ids:
        return None
    base = answers.base
    before = means.get(base or "", {})
    kinds = {key: [_kind(means[m].get(key), before.get(key)) for m in models] for key in ids}
    ids.sort(key=lambda key: (*_place(kinds[key]), key))
    first = {key: row for m in reversed(models) for key, row in answers.rows[m][0].items()}
    return {
        "task": answers.task,
        "base": base,
        "models": models,
        "lines": [
            (
                first[key],
                _group(kinds[key], bool(before)),
                [*zip(kinds[key], (means[m].get(key) for m in models), strict=True)],
            )
            for key in ids[:room]
        ],
        "counts": {m: Counter(kinds[key][i] for key in ids) for i, m in enumerate(models)},
        "pairs": {m: pair(answers, base, m) if base and base != m else None for m in models},
        "questions": len(ids),
        "all_models": len(answers.rows),
        "seeds": max(len(seeds) for seeds in answers.rows.values()),
        "fractions": any(score not in (0, 1) for of_model in means.values() for score in of_model.values()),
    }


def _kind(score: float | None, before: float | None) -> str:
    if score is None:
        return "-"
    before = score if before is None else before
    return "g" if score > before else "l" if score < before else "k" if score >= RIGHT else "w"


def _place(kinds: list[str]) -> tuple[int, int]:
    """Changed before kept before wrong; among the changed, gained minus lost."""
    gained, lost, kept = (kinds.count(kind) for kind in "glk")
    if gained or lost:
        return 0, lost - gained
    differ = kept and "w" in kinds  # no base, and the models disagree
    return (0 if differ else 1 if kept else 2), -kept


def _group(kinds: list[str], has_base: bool) -> str:
    place, net = _place(kinds)
    if place == 0 and has_base:
        return "gained by more" if net < 0 else "lost by more" if net > 0 else "gained by some, lost by others"
    return ("the models disagree", "right in all", "right in none")[place]
