"""The cards of the run's experts: what each was trained on and for how long, what its loss did, its base and its licence."""

from dataclasses import dataclass
from typing import Any

from yosegi.reporting.context import Context
from yosegi.reporting.curves import Curve, smooth
from yosegi.reporting.format import known
from yosegi.reporting.read import Row, Run

TITLE = "The experts"
LINK = "Experts"
FOLD = True


@dataclass(frozen=True)
class Card:
    """One expert. `loss` is that of its first step and that of its end, smoothed; `together` how many one pass trained."""

    name: str
    card: Row
    metrics: Row
    size: int
    loss: tuple[float, float] | None
    together: int

    @property
    def time(self) -> float | None:
        """Seconds of its training; experts of one pass share them."""
        return known(self.metrics.get("wall_s"))

    def several(self, key: str) -> str:
        """Returns a count of the training, as text."""
        value = known(self.metrics.get(key))
        return "–" if value is None else f"{value:,.0f}"


def section(context: Context) -> dict[str, Any] | None:
    """Returns the cards of all runs, and the seconds of their trainings, each pass counted once."""
    with_experts = [run for run in context.results.runs if run.experts]
    cards = [
        _card(run, f"{run.name} · " if len(with_experts) > 1 else "", card, size)
        for run in with_experts
        for card, size in run.experts
    ]
    passes = {(c.time, None if c.together > 1 else place) for place, c in enumerate(cards) if c.time is not None}
    has = {key: any(c.card.get(key) for c in cards) for key in ("parents", "license")}
    return {"cards": cards, "time": sum(time for time, _ in passes if time), "has": has} if cards else None


def _card(run: Run, before: str, card: Row, size: int) -> Card:
    metrics = card["metrics"] if isinstance(card.get("metrics"), dict) else {}
    name = str(card.get("name", "?"))
    losses = Curve(name, [row for row in run.metrics if row.get("expert") == name]).values("loss")
    loss = (losses[0], smooth(losses)[-1]) if losses else None
    return Card(before + name, card, metrics, size, loss, int(known(metrics.get("fleet")) or 1))
