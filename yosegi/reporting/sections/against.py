"""This run against another one: the same arms on the same tasks, as a forest plot, and the settings that differ."""

from typing import Any

from yosegi.reporting.against import against
from yosegi.reporting.boards import boards
from yosegi.reporting.context import Context
from yosegi.reporting.forest import forests

TITLE = "Against another run"
LINK = "Other run"


def section(context: Context) -> dict[str, Any] | None:
    """Returns what both runs measured, where there is another run."""
    if context.other is None:
        return None
    (run,), (other,) = context.results.runs, context.other.runs
    theirs = boards(context.other)
    both = against(context.boards[0], theirs[0], (run, other)) if context.boards and theirs else None
    name = other.name if other.name != run.name else f"{other.path.parent.name}/{other.name}"
    return {
        "title": f"Against {name}",
        "other": name,
        "both": both,
        "forests": forests(both.rows, context.boards) if both else [],
        "counts": {
            kind: sum(row.verdict == kind for row in both.rows) if both else 0
            for kind in ("better", "worse", "noise", "not paired")
        },
    }
