"""What the runs say about their own numbers (findings.json), drawn while there is room on the page."""

from typing import Any

from yosegi.reporting.context import Context
from yosegi.reporting.draw.figure import draw
from yosegi.reporting.draw.table import print_table

TITLE = "Findings"
LINK = "Findings"

BYTES = 300_000
"""About what the figures and tables of all findings may add to the page."""


def section(context: Context) -> dict[str, Any] | None:
    """Returns the findings of every run that has some."""
    room, runs = BYTES, []
    for i, run in enumerate(context.results.runs):
        if run.findings is None:
            continue
        shown = []
        for place, finding in enumerate(run.findings.findings):
            numeric, rows = print_table(finding.table) if finding.table else ([], [])
            drawing = draw(finding.figure, f"f{i}-{place}") if finding.figure else None
            room -= len(repr((rows, drawing)))  # about what they add
            fits = room >= 0
            parts = {"numeric": numeric, "rows": rows if fits else [], "drawing": drawing if fits else None}
            shown.append({"finding": finding, "left_out": drawing is not None and not fits, **parts})
        runs.append((run.name, run.findings.title, shown))
    if not runs:
        return None
    return {"runs": runs, "title": runs[0][1] if len(runs) == 1 else TITLE}
