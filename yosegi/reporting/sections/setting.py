"""The configuration and the environment of every run, as its files have them."""

from typing import Any

from yosegi.reporting.context import Context
from yosegi.reporting.format import flat

TITLE = "Setting"
LINK = ""
FOLD = True


def section(context: Context) -> dict[str, Any] | None:
    """Returns the nested values as rows of name and value."""
    runs = context.results.runs
    parts = [(run.name, {"Configuration": run.config, "Environment": run.env}) for run in runs]
    rows = [(name, run, flat(value)) for run, values in parts for name, value in values.items() if value]
    return {"rows": rows, "several": len(runs) > 1} if rows else None
