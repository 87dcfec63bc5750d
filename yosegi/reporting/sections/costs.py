"""What it took to ask each model: sizes, times, memory."""

from typing import Any

from yosegi.reporting.context import Context

TITLE = "Sizes, times, memory"
LINK = "Sizes and times"
FOLD = True


def section(context: Context) -> dict[str, Any] | None:
    """Returns what is known of each model."""
    costs = {model: _costs(context, model) for model in context.models}
    models = {model: of_model for model, of_model in costs.items() if any(v is not None for v in of_model.values())}
    return {"models": models} if models else None


def _costs(context: Context, model: str) -> dict[str, float | None]:
    """Returns the largest of each size, and the sum of the times; metrics of one evaluation share one time."""
    rows = [m for m in context.results.scores if m.model == model]
    times: dict[tuple[str, str], float] = {}
    for m in rows:
        times[m.task, str(m.seed)] = max(m.number("wall_s") or 0.0, times.get((m.task, str(m.seed)), 0.0))
    keys = ("trainable_params", "active_params", "peak_mem_mb")
    numbers = {key: [value for m in rows if (value := m.number(key)) is not None] for key in keys}
    return {key: max(values, default=None) for key, values in numbers.items()} | {"wall_s": sum(times.values()) or None}
