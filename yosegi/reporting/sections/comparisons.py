"""Paired comparisons as the runs measured them, drawn on one axis for each metric."""

from typing import Any

from yosegi.reporting.comparisons import ALPHA
from yosegi.reporting.context import Context
from yosegi.reporting.draw.marks import on_axis

TITLE = "Paired comparisons"
LINK = "Comparisons"

LISTED = 400
"""Comparisons listed on one page; of more, those with the smallest p."""


def section(context: Context) -> dict[str, Any] | None:
    """The comparisons with their axes, and how many there are of each verdict."""
    rows = context.comparisons
    if not rows:
        return None
    reach: dict[str, float] = {}
    for row in rows:
        ends = (abs(v) for v in (row.diff, row.low, row.high) if v is not None)
        reach[row.metric] = max(reach.get(row.metric, 0.0), *ends, 0.0)
    wide = {metric: ends or 1.0 for metric, ends in reach.items()}
    listed = rows if len(rows) <= LISTED else sorted(rows, key=lambda row: row.p)[:LISTED]
    axes = [on_axis((-wide[row.metric], wide[row.metric]), row.diff, row.low, row.high) for row in listed]
    return {
        "listed": list(zip(listed, axes, strict=True)),
        "counts": {kind: sum(row.verdict == kind for row in rows) for kind in ("better", "worse", "noise")},
        "total": len(rows),
        "many_against": len({row.against for row in rows}) > 1,
        "many_metrics": len(reach) > 1,
        "ALPHA": ALPHA,
    }
