"""A few questions with what every model answered: of each task the one that most gained, the one that most lost, and so on."""

from typing import Any

from yosegi.reporting.answers import KINDS, Answers, in_turn
from yosegi.reporting.context import Context
from yosegi.reporting.format import text

TITLE = "Examples"
LINK = "Examples"
FOLD = True

SHOWN = 12
"""Examples on one page."""
WANTED = {"g": "gained by most", "l": "lost by most", "w": "right in none", "k": "right in all"}


def section(context: Context) -> dict[str, Any] | None:
    """One example of each task in turn."""
    examples = in_turn(context.digests["examples"])[:SHOWN]
    return {"examples": examples} if examples else None


def digest(context: Context, answers: Answers) -> list[dict[str, Any]]:
    """Returns the question most models gained, the one most lost, one nobody has right, one all have; no question twice."""
    ids, kinds = answers.kinds()
    taken: dict[str, dict[str, Any]] = {}
    for letter, why in WANTED.items():
        counts = {key: list(kinds[key].values()).count(letter) for key in ids}
        most = max(ids, key=lambda key: counts[key])  # the first of equals
        if counts[most] >= (len(answers.rows) if letter in "kw" else 1) and most not in taken:
            taken[most] = {"task": answers.task, "id": most, "why": why, **_texts(answers, most, kinds[most])}
    return list(taken.values())


def _texts(answers: Answers, key: str, kinds: dict[str, str]) -> dict[str, Any]:
    """Returns the question, and of every model the kind, the prediction, and whether an answer could be read out of it."""
    rows = {model: seeds[0][key] for model, seeds in answers.rows.items() if key in seeds[0]}
    question = {part: text(next(iter(rows.values())).get(part)) for part in ("prompt", "target")}
    predictions = [
        (model, KINDS[kinds[model]], text(row.get("prediction")), row.get("parsed") is not False)
        for model, row in rows.items()
    ]
    return question | {"answers": predictions}
