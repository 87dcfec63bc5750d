"""The leaderboard: every model on every task with its interval, one table for each metric."""

from typing import Any

from yosegi.reporting.context import Context

TITLE = "Leaderboard"
LINK = "Leaderboard"


def section(context: Context) -> dict[str, Any] | None:
    """Returns the boards, and what the tasks say of themselves."""
    scores = context.results.scores
    remarks = dict.fromkeys(f"{m.task}: {m.row['remark']}" for m in scores if m.row.get("remark"))
    as_expert: dict[str, dict[str, str]] = {}
    for (oracle, task), expert in context.own_experts.items():
        as_expert.setdefault(oracle, {})[task] = expert
    return {"boards": context.boards, "remarks": list(remarks), "as_expert": as_expert} if context.boards else None
