"""What was forgotten: one number per model, then task by task."""

from typing import Any

from yosegi.reporting.context import Context
from yosegi.reporting.forgetting import forgetting

TITLE = "Forgetting"
LINK = "Forgetting"

LISTED = 40
"""Ids that the pointer tells of the questions gained and lost."""


def section(context: Context) -> dict[str, Any] | None:
    """Returns a line per model, where general tasks were asked."""
    lines = forgetting(context.results, context.models)
    return {"lines": lines, "LISTED": LISTED} if lines else None
