"""What a router did in each layer: how the load was shared among the experts, and how sure it was of its choice.

Shapes: L layers, E experts.
"""

import math
import statistics
from typing import Any

from yosegi.findings import Lines, Reference, Series
from yosegi.reporting.draw.figure import draw_bars, draw_lines
from yosegi.reporting.draw.marks import Heat, Plot
from yosegi.reporting.format import known
from yosegi.reporting.read import Row
from yosegi.reporting.sections._trace import Trace, mean

LINES = 6
"""Tasks drawn as lines of their own; of more, the band from the lowest to the highest."""


def load(trace: Trace, listed: int = 40) -> dict[str, Any]:
    """Returns what the file tells, with the experts that have the largest load.

    `tasks` says how many experts are active for a token, and the load's coefficient of variation, means over the layers;
    `experts` the share of the weight and of the tokens that each has.
    """
    row, experts = trace.row, trace.experts
    shares = {task: [_scaled(row) for row in weights_LE] for task, weights_LE in trace.tasks.items()}
    rows = max(map(len, shares.values()), default=0)
    loads: dict[str, Any] = {"rows": rows, "tasks": {}, "left_out": 0}
    loads |= dict.fromkeys(("experts", "layers", "entropy", "balance"))
    names = trace.layers(rows)
    if rows > 1:
        loads["entropy"] = _by_layer(row.get("entropy") or {}, names, "entropy, nats", math.log(max(len(experts), 2)))
    active, cv = row.get("active"), row.get("cv")
    if not (shares and active and cv):
        return loads
    for task, share_LE in shares.items():
        if [len(row) for row in active[task]] != [len(row) for row in share_LE] or len(cv[task]) != len(share_LE):
            raise ValueError("active and cv have the shape of the weights")
        loads["tasks"][task] = (statistics.fmean(sum(row) for row in active[task]), statistics.fmean(cv[task]))
    load_LE, active_LE = (
        [mean(of_layer) for of_layer in zip(*by_task, strict=True)]
        for by_task in (shares.values(), [active[task] for task in shares])
    )
    load_E, active_E = mean(load_LE), mean(active_LE)
    largest = sorted(range(len(experts)), key=lambda e: (-load_E[e], e))[:listed]
    bars = [(experts[e], load_E[e], f"{100 * active_E[e]:.0f} % of tokens") for e in largest]
    loads["experts"] = draw_bars(bars, "share of the weight", Reference(1 / len(experts), "an even share"))
    loads["left_out"] = len(experts) - len(largest)
    if rows > 1:
        top, description = max(trace.even, *map(max, load_LE)), "Load of each expert in each layer"
        loads["layers"] = Heat(description, f"{trace.key}load", names, experts, load_LE, top, printed=False)
        together = {"all tasks together": row["balance"]} if row.get("balance") else {}
        loads["balance"] = _by_layer({**cv, **together}, names, "coefficient of variation", 0.5, *together)
    return loads


def _scaled(weights_E: list[float]) -> list[float]:
    """Weights that sum to one; where no expert is active they stay zero."""
    return [w / total for w in weights_E] if (total := sum(weights_E)) > 0 else weights_E


def _by_layer(values: Row, names: list[str], y: str, top: float, strong: str = "mean") -> Plot | None:
    """A line per task over the layers, or the band of all; `strong` stands out, by default the mean. From 0 to at least `top`."""
    lines = {str(task): [known(v) for v in row] for task, row in values.items() if len(row) == len(names)}
    of_tasks = [row for task, row in lines.items() if task != strong]
    if not of_tasks:
        return None
    at_layers = [[v for v in column if v is not None] for column in zip(*of_tasks, strict=True)]
    means = [statistics.fmean(v) if v else None for v in at_layers]
    series = [Series(task, list(enumerate(row))) for task, row in lines.items() if task != strong]
    if len(of_tasks) > LINES:
        band = [(i, m, min(v), max(v)) for i, (m, v) in enumerate(zip(means, at_layers, strict=True)) if v]
        series = [Series(f"{len(of_tasks)} tasks, lowest to highest, and their mean", band)]
    if strong in lines or 1 < len(of_tasks) <= LINES:
        series.append(Series(strong, list(enumerate(lines.get(strong, means)))))
    figure = Lines(y, "", series, x="layer" if "." in names[0] else "row", y=y)
    return draw_lines(figure, strong=series[-1].name, name_of_x=lambda x: names[int(x)], reach=(0.0, top))
