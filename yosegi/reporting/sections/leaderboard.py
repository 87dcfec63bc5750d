"""The leaderboard: every model on every task with its interval, one table for each metric."""

from typing import Any

from yosegi.reporting.context import Context

TITLE = "Leaderboard"
LINK = "Leaderboard"


def section(context: Context) -> dict[str, Any] | None:
    """Returns the boards, and what the tasks say of themselves."""
    scores = context.results.scores
    stale = [f"{model} on {task} (†)" for model, task in sorted(context.results.stale)]
    remarks = dict.fromkeys(f"{m.task}: {m.row['remark']}" for m in scores if m.row.get("remark"))
    if stale:
        more = f" and {len(stale) - 6} more" if len(stale) > 6 else ""
        remarks[
            f"Measured before the arm was trained again or changed: {', '.join(stale[:6])}{more}. `yosegi eval` again."
        ] = None
    as_expert: dict[str, dict[str, str]] = {}
    for (oracle, task), expert in context.own_experts.items():
        as_expert.setdefault(oracle, {})[task] = expert
    return {"boards": context.boards, "remarks": list(remarks), "as_expert": as_expert} if context.boards else None
