"""What a router did in each layer: how the load was shared among the experts, and how sure it was of its choice."""

import math
import statistics
from dataclasses import dataclass, field

from yosegi.findings import Lines, Reference, Series
from yosegi.reporting import grids
from yosegi.reporting.drawings import Plot, Rows, draw_bars, draw_lines
from yosegi.reporting.format import known
from yosegi.reporting.grids import Grid
from yosegi.reporting.read import Row

LINES = 6
"""Tasks drawn as lines of their own; of more, the band from the lowest to the highest."""

Matrix = list[list[float]]


@dataclass
class Load:
    """One router of one run."""

    tasks: dict[str, tuple[float, float]] = field(default_factory=dict)
    """How many experts a token hears, and the load's coefficient of variation: means over the layers."""
    experts: Rows | None = None
    """Of each expert, its share of the weight and of the tokens."""
    left_out: int = 0
    layers: Grid | None = None
    """The load of each expert in each layer."""
    entropy: Plot | None = None
    balance: Plot | None = None
    averaged: int = 0
    """How many layers there are, where a row is the mean of several."""
    rows: int = 0


def load(router: Row, experts: list[str], key: str, listed: int = 40) -> Load:
    """What the file tells; of runs of before it told the load, only the entropy. Of the experts, those with the largest load."""
    tasks = {str(task): shares(weights) for task, weights in (router.get("tasks") or {}).items()}
    rows = max((len(weights) for weights in tasks.values()), default=0)
    names = [str(layer) for layer in router.get("layers") or []]
    names = names if len(names) == rows else [f"layer {i}" for i in range(rows)]
    found = Load(averaged=int(known(router.get("averaged")) or 0), rows=rows)
    if tasks and rows > 1:
        found.entropy = _by_layer(router.get("entropy") or {}, names, "entropy, nats", math.log(max(len(experts), 2)))
    heard, cv = router.get("heard"), router.get("cv")
    if not (tasks and heard and cv):
        return found
    for task, weights in tasks.items():
        if [len(row) for row in heard[task]] != [len(row) for row in weights] or len(cv[task]) != len(weights):
            raise ValueError("heard and cv have the shape of the weights")
        found.tasks[task] = (statistics.fmean(sum(row) for row in heard[task]), statistics.fmean(cv[task]))
    weight = _mean(list(tasks.values()))
    _experts(found, experts, _columns(weight), _columns(_mean([heard[task] for task in tasks])), listed)
    if rows > 1:
        top = max(2 / max(len(experts), 2), *(v for row in weight for v in row))
        found.layers = grids.draw("load of each expert in each layer", f"{key}load", names, experts, weight, top)
        together = {"all tasks together": router["balance"]} if router.get("balance") else {}
        found.balance = _by_layer({**cv, **together}, names, "coefficient of variation", 0.5, *together)
    return found


def shares(weights: Matrix) -> Matrix:
    """Each layer's weights scaled to sum to one; a layer in which nobody is heard stays silent."""
    return [[w / total for w in row] if (total := sum(row)) > 0 else row for row in weights]


def _experts(found: Load, names: list[str], weight: list[float], heard: list[float], most: int) -> None:
    listed = sorted(range(len(names)), key=lambda e: (-weight[e], e))[:most]
    bars = [(names[e], weight[e], f"{100 * heard[e]:.0f} % of tokens") for e in listed]
    found.experts = draw_bars(bars, "share of the weight", Reference(1 / len(names), "an even share"))
    found.left_out = len(names) - len(listed)


def _by_layer(values: Row, names: list[str], y: str, top: float, strong: str = "") -> Plot | None:
    """A line a task over the layers, or the band of all; `strong` stands out, by default their mean. From 0 to at least `top`."""
    lines = {str(task): [known(v) for v in row] for task, row in values.items() if len(row) == len(names)}
    of_tasks = [row for task, row in lines.items() if task != strong]
    if not of_tasks:
        return None
    at_layers = [[v for row in of_tasks if (v := row[i]) is not None] for i in range(len(names))]
    mean = [statistics.fmean(v) if v else None for v in at_layers]
    series = [_series(task, row) for task, row in lines.items() if task != strong]
    if len(of_tasks) > LINES:
        band = [(float(i), statistics.fmean(v), min(v), max(v)) for i, v in enumerate(at_layers) if v]
        series = [Series(f"{len(of_tasks)} tasks, lowest to highest, and their mean", [*band])]
        last = [_series(strong, lines[strong])] if strong else []
    else:
        last = [_series(strong, lines[strong])] if strong else [_series("mean", mean)] if len(of_tasks) > 1 else []
    every = [*series, *last]
    shape = Lines(y, "", every, x="layer" if "." in names[0] else "row", y=y)
    return draw_lines(shape, strong=every[-1].name, words=lambda x: names[int(x)], ends=(0.0, top))


def _series(name: str, row: list[float | None]) -> Series:
    return Series(name, [(float(i), v) for i, v in enumerate(row) if v is not None])


def _columns(rows: Matrix) -> list[float]:
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]


def _mean(of: list[Matrix]) -> Matrix:
    """Over tasks."""
    return [[statistics.fmean(values) for values in zip(*rows, strict=True)] for rows in zip(*of, strict=True)]
