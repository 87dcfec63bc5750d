"""Paired comparisons as the runs measured them, the largest first, drawn on one axis for each metric."""

from typing import Any

from yosegi.evaluation.exact import ALPHA, FEW_CHANGED
from yosegi.reporting.comparisons import Comparison
from yosegi.reporting.context import Context
from yosegi.reporting.draw.marks import on_axis

TITLE = "Paired comparisons"
LINK = "Comparisons"

LISTED = 400
"""Comparisons listed on one page; of more, those with the smallest p."""


def section(context: Context) -> dict[str, Any] | None:
    """Returns the comparisons with their axes, and how many there are of each verdict."""
    rows = context.comparisons
    if not rows:
        return None
    listed = rows if len(rows) <= LISTED else sorted(rows, key=lambda row: row.p)[:LISTED]
    reach: dict[str, float] = {}
    for row in listed:
        ends = (abs(row.measured.number(key) or 0.0) for key in ("diff", "diff_low", "diff_high"))
        reach[row.metric] = max(reach.get(row.metric, 0.0), *ends)

    def effect(row: Comparison) -> float:
        return abs(row.measured.number("diff") or 0.0) / (reach[row.metric] or 1.0)

    axes, listed = [], sorted(listed, key=effect, reverse=True)
    for row in listed:
        m, wide = row.measured, reach[row.metric] or 1.0
        axes.append(on_axis((-wide, wide), m.number("diff"), m.number("diff_low"), m.number("diff_high")))
    return {
        "listed": list(zip(listed, axes, strict=True)),
        "counts": {kind: sum(row.verdict == kind for row in rows) for kind in ("better", "worse", "noise")},
        "total": len(rows),
        "many_against": len({row.against for row in rows}) > 1,
        "many_metrics": len({row.metric for row in rows}) > 1,
        "few_changed": any(_few(row) for row in rows),
        "few": _few,
        "ALPHA": ALPHA,
    }


def _few(row: Comparison) -> bool:
    """Returns whether so few answers changed that the exact p is conservative, and the mid-p says more."""
    changed = (row.measured.number("gained") or 0) + (row.measured.number("lost") or 0)
    return row.measured.number("mid_p") is not None and changed < FEW_CHANGED
