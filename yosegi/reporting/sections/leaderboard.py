"""The leaderboard: every model on every task with its interval, one table for each metric."""

from typing import Any

from yosegi.reporting.context import Context

TITLE = "Leaderboard"
LINK = "Leaderboard"


def section(context: Context) -> dict[str, Any] | None:
    """Returns the boards, and what the tasks say of themselves."""
    scores = context.results.scores
    remarks = dict.fromkeys(f"{m.task}: {m.row['remark']}" for m in scores if m.row.get("remark"))
    return {"boards": context.boards, "remarks": list(remarks)} if context.boards else None
