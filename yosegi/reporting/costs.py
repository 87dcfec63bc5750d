"""What it took: sizes, times, memory, and the experts of the library."""

from dataclasses import dataclass
from typing import Any

from yosegi.reporting.format import known
from yosegi.reporting.read import Found


@dataclass(frozen=True)
class Cost:
    """One model over all its tasks."""

    model: str
    trainable: int | None
    active: int | None
    wall_s: float | None
    peak_mem_mb: float | None


@dataclass(frozen=True)
class Card:
    """One expert of a library."""

    name: str
    task: str
    rank: Any
    alpha: Any
    targets: str
    init: str
    parents: str
    bytes: int
    metrics: dict[str, Any]


def costs(found: Found, models: list[str]) -> list[Cost]:
    """A row for each model of which anything is known."""
    rows: list[Cost] = []
    for model in models:
        mine = [m for m in found.plain if m.model == model]

        def most(key: str, mine: list[Any] = mine) -> Any:
            return max((v for m in mine if (v := known(m.row.get(key))) is not None), default=None)

        times: dict[tuple[str, str], float] = {}  # metrics of one evaluation share one time
        for m in mine:
            if (wall := known(m.row.get("wall_s"))) is not None:
                times[m.task, str(m.seed)] = max(wall, times.get((m.task, str(m.seed)), 0.0))
        row = Cost(
            model, most("trainable_params"), most("active_params"), sum(times.values()) or None, most("peak_mem_mb")
        )
        if any(v is not None for v in (row.trainable, row.active, row.wall_s, row.peak_mem_mb)):
            rows.append(row)
    return rows


def cards(found: Found) -> list[Card]:
    """Every expert of every library, by run and name."""
    several = sum(bool(run.experts) for run in found.runs) > 1
    return [
        Card(
            name=f"{run.name} · {card.get('name', '?')}" if several else str(card.get("name", "?")),
            task=_words(card.get("task")),
            rank=card.get("rank"),
            alpha=card.get("alpha"),
            targets=_words(card.get("targets")),
            init=_words(card.get("init")),
            parents=_words(card.get("parents")),
            bytes=weight,
            metrics=card["metrics"] if isinstance(card.get("metrics"), dict) else {},
        )
        for run in found.runs
        for card, weight in run.experts
    ]


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
