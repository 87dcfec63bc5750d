"""What it took: sizes, times, memory, and the experts of the library."""

from typing import Any

from yosegi.reporting.context import Context
from yosegi.reporting.format import known

TITLE = "Sizes, times, memory"
LINK = "Sizes and times"


def section(context: Context) -> dict[str, Any] | None:
    """What is known of each model, and the card of each expert with its size."""
    with_experts = [run for run in context.results.runs if run.experts]
    experts = [
        (f"{run.name} · {card.get('name', '?')}" if len(with_experts) > 1 else str(card.get("name", "?")), card, size)
        for run in with_experts
        for card, size in run.experts
    ]
    costs = {model: _costs(context, model) for model in context.models}
    models = {model: of for model, of in costs.items() if any(value is not None for value in of.values())}
    return {"models": models, "experts": experts} if models or experts else None


def _costs(context: Context, model: str) -> dict[str, float | None]:
    """The largest of each size, and the sum of the times; metrics of one evaluation share one time."""
    mine = [m for m in context.results.scores if m.model == model]
    times: dict[tuple[str, str], float] = {}
    for m in mine:
        if (time := known(m.row.get("wall_s"))) is not None:
            times[m.task, str(m.seed)] = max(time, times.get((m.task, str(m.seed)), 0.0))
    costs: dict[str, float | None] = {
        key: max((value for m in mine if (value := known(m.row.get(key))) is not None), default=None)
        for key in ("trainable_params", "active_params", "peak_mem_mb")
    }
    return costs | {"wall_s": sum(times.values()) or None}
