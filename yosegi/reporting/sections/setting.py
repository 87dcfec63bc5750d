"""The configuration and the environment of every run, as its files have them."""

from typing import Any

from yosegi.reporting.context import Context
from yosegi.reporting.format import flat

TITLE = "Setting"
LINK = ""


def section(context: Context) -> dict[str, Any] | None:
    """The nested values as rows of name and value."""
    runs = [run for run in context.results.runs if run.config or run.env]
    rows = [
        (name, run.name, flat(value))
        for run in runs
        for name, value in (("Configuration", run.config), ("Environment", run.env))
        if value
    ]
    return {"rows": rows, "several": len(context.results.runs) > 1} if rows else None
