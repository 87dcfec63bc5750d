"""Which experts are active where: routing weights by task, layer and token, for each router of each run."""

import math
import statistics
from typing import Any

from yosegi.errors import Corrupt
from yosegi.reporting.context import Context
from yosegi.reporting.draw.marks import Heat
from yosegi.reporting.format import known
from yosegi.reporting.sections._load import load
from yosegi.reporting.sections._tokens import chosen, prompts
from yosegi.reporting.sections._trace import Trace, fold, mean

TITLE = "Routing"
LINK = "Routing"

BYTES = 1_300_000
"""About what all routers of one page may add to it. Every router gets its share, and what the others did not need."""
FRAME = 5000
"""About what one router adds with nothing drawn."""
BARS = 400
"""Experts listed with their load, of all routers together; of one at least ten."""
COLUMNS = 24
"""Experts that have a column of their own in the table of tasks; more are drawn as a grid."""


def section(context: Context) -> dict[str, Any] | None:
    """Every router of every run."""
    runs = context.results.runs
    several = sum(bool(run.routing) for run in runs) > 1
    many = sum(len(run.routing.get("routers") or {}) for run in runs)
    room, routers = BYTES, []
    for i, run in enumerate(runs):
        for place, (name, row) in enumerate((run.routing.get("routers") or {}).items()):
            share = room // (many - len(routers)) - FRAME
            try:
                experts = [str(expert) for expert in row.get("experts") or run.routing.get("experts") or []]
                trace = Trace(row, experts, f"r{i}-{place}-", share)
                router = draw(trace, max(10, BARS // many))
            except (TypeError, ValueError, AttributeError, LookupError) as error:
                raise Corrupt(
                    f"{run.path / 'routing.json'}: router {name!r} does not have the expected shape."
                ) from error
            room -= FRAME + share - trace.room
            routers.append({"name": f"{run.name} · {name}" if several else str(name), **router})
    routers = [router for router in routers if router["tasks"] or router["prompts"]]
    return {"routers": routers} if routers else None


def draw(trace: Trace, bars: int = 40) -> dict[str, Any]:
    """Returns what there is room for: the mean weights and entropy by task, the load, layers, and tokens."""
    entropy = {
        task: [v for v in values if known(v) is not None] for task, values in (trace.row.get("entropy") or {}).items()
    }
    tasks = {
        task: (mean(weights_LE), statistics.fmean(values) if (values := entropy.get(task)) else None)
        for task, weights_LE in trace.tasks.items()
    }
    weights, overview, loads = [w for w, _ in tasks.values()], None, load(trace, bars)
    top = max([trace.even, *(w for of_task in weights for w in of_task)])
    if len(trace.experts) > COLUMNS and len(tasks) > 1:
        description = f"Weights of {len(tasks)} tasks and {len(trace.experts)} experts"
        overview = Heat(description, f"{trace.key}all", list(tasks), trace.experts, weights, top, printed=False)
    trace.room -= len(repr((tasks, overview, loads)))
    return {
        "experts": trace.experts,
        "undecided": math.log(max(len(trace.experts), 1)),
        "tasks": tasks,
        "top": top,
        "overview": overview,
        "load": loads,
        "chosen": chosen(trace),
        **_grids(trace),
        "prompts": prompts(trace),
    }


def _grids(trace: Trace) -> dict[str, Any]:
    """The tasks layer by layer, in half of the room. One row alone is what the table shows already."""
    top = max([trace.even, *(w for weights_LE in trace.tasks.values() for row in weights_LE for w in row)])
    grids, averaged = [], trace.averaged
    for place, (task, weights_LE) in enumerate(trace.tasks.items()):
        rows, values = fold(trace.layers(len(weights_LE)), weights_LE)
        averaged = averaged or (len(weights_LE) if len(rows) < len(weights_LE) else 0)
        heat = Heat(
            f"Weights of {task} by layer", f"{trace.key}{place}", rows, trace.experts, values, top, printed=False
        )
        if len(rows) > 1:
            grids.append((task, heat))
    fits = trace.take([heat.bytes for _, heat in grids], 0.5)
    drawn = [grid for grid, fit in zip(grids, fits, strict=True) if fit]
    return {"grids": drawn, "left_out": len(grids) - len(drawn), "averaged": averaged}
