"""A forest plot: comparisons below each other around one line of no difference, the largest effect first."""

from collections.abc import Sequence
from dataclasses import dataclass

from yosegi.reporting.boards import SHARE, Board
from yosegi.reporting.comparisons import Comparison, low_is_good
from yosegi.reporting.draw.marks import Axis, on_axis
from yosegi.reporting.draw.scale import Tick, ticks

ROOM = 1.04


@dataclass(frozen=True)
class Forest:
    """Differences of one unit on one axis. `low` says whether less is better, so that the better side is the left one."""

    metrics: list[str]
    rows: list[tuple[Comparison, Axis]]
    ticks: list[Tick]
    low: bool

    @property
    def columns(self) -> list[str]:
        """Returns what the rows differ in beside model and task, so that it has to be printed."""
        names = ("metric", "against", "seed")
        return [name for name in names if len({getattr(row, name) for row, _ in self.rows}) > 1]


def forests(rows: Sequence[Comparison], boards: Sequence[Board]) -> list[Forest]:
    """Returns one forest of the metrics that the leaderboard opens with, if they have one unit, then one for each other unit.

    Scores from 0 to 1 have one unit, whatever they are called; any other metric has its own.
    """
    first = boards[0].metric if boards else {}
    shares = {name for board in boards for name, ends in board.axis.items() if ends == SHARE and not low_is_good(name)}
    groups: dict[tuple[bool, str], list[Comparison]] = {}
    for row in rows:
        unit = "" if row.metric in shares else row.metric
        groups.setdefault((first.get(row.task, row.metric) != row.metric, unit), []).append(row)
    ordered = sorted(groups.items(), key=lambda group: (group[0][0], -len(group[1])))
    return [_forest(group) for _, group in ordered]


def _forest(rows: Sequence[Comparison]) -> Forest:
    numbers = [(m.number("diff"), m.number("diff_low"), m.number("diff_high")) for m in (row.measured for row in rows)]
    reach = max((abs(v) for of in numbers for v in of if v is not None), default=0.0) * ROOM or 1.0
    drawn = [(row, on_axis((-reach, reach), *of)) for row, of in zip(rows, numbers, strict=True)]
    drawn.sort(key=lambda one: abs(one[0].measured.number("diff") or 0.0), reverse=True)
    labels = [
        (50 + 50 * value / reach, f"{value:+g}".replace("-", "−") if value else "0")
        for value in ticks(-reach, reach, 6)
    ]
    metrics = list(dict.fromkeys(row.metric for row in rows))
    return Forest(metrics, drawn, labels, low_is_good(metrics[0]))
