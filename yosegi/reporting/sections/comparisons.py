"""Paired comparisons as the runs measured them, as one forest plot, the largest effects first; metrics of other units below."""

from typing import Any

from yosegi.evaluation.exact import ALPHA
from yosegi.reporting.context import Context
from yosegi.reporting.forest import forests

TITLE = "Paired comparisons"
LINK = "Comparisons"

LISTED = 400
"""Comparisons listed on one page; of more, those with the smallest p."""


def section(context: Context) -> dict[str, Any] | None:
    """Returns the forest plots, and how many comparisons there are of each verdict."""
    rows = context.comparisons
    if not rows:
        return None
    listed = rows if len(rows) <= LISTED else sorted(rows, key=lambda row: row.p)[:LISTED]
    return {
        "forests": forests(listed, context.boards),
        "listed": len(listed),
        "counts": {kind: sum(row.verdict == kind for row in rows) for kind in ("better", "worse", "noise")},
        "total": len(rows),
        "few_changed": any(row.is_few for row in rows),
        "same": len(context.results.comparisons) - len(rows),
        "ALPHA": ALPHA,
    }
