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
from yosegi.reporting.sections._trace import Trace, mean

TITLE = "Routing"
LINK = "Routing"

SQUARES, MOST = 1_100_000, 30_000
"""Squares of one kind (layers and experts, layers and tokens) of one router: SQUARES over the square of how many routers there
are, since each has tables as well, and at most MOST."""
BARS = 400
"""Experts listed with their load, of all routers together; of one at least ten."""
COLUMNS = 24
"""Experts that have a column of their own in the table of tasks; more are drawn as a grid."""


def section(context: Context) -> dict[str, Any] | None:
    """Every router of every run."""
    runs = context.results.runs
    several = sum(bool(run.routing) for run in runs) > 1
    many = sum(len(run.routing.get("routers") or {}) for run in runs)
    squares = min(MOST, SQUARES // max(many, 1) ** 2)
    routers = []
    for i, run in enumerate(runs):
        for place, (name, row) in enumerate((run.routing.get("routers") or {}).items()):
            try:
                experts = [str(expert) for expert in row.get("experts") or run.routing.get("experts") or []]
                router = draw(Trace(row, experts, f"r{i}-{place}-", squares), max(10, BARS // many))
            except (TypeError, ValueError, AttributeError, LookupError) as error:
                raise Corrupt(
                    f"{run.path / 'routing.json'}: router {name!r} does not have the expected shape."
                ) from error
            routers.append({"name": f"{run.name} · {name}" if several else str(name), **router})
    routers = [router for router in routers if router["tasks"] or router["prompts"]]
    return {"routers": routers} if routers else None


def draw(trace: Trace, bars: int = 40) -> dict[str, Any]:
    """Returns the mean weights and entropy by task, the load, and as many layers and tokens as there is room for."""
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
    return {
        "experts": trace.experts,
        "undecided": math.log(max(len(trace.experts), 1)),
        "averaged": trace.averaged,
        "tasks": tasks,
        "top": top,
        "overview": overview,
        "load": loads,
        "chosen": chosen(trace),
        **_grids(trace),
        "prompts": prompts(trace),
    }


def _grids(trace: Trace) -> dict[str, Any]:
    """The tasks layer by layer. One row alone is what the table shows already."""
    top = max([trace.even, *(w for weights_LE in trace.tasks.values() for row in weights_LE for w in row)])
    tasks = [(task, rows) for task, rows in trace.tasks.items() if len(rows) > 1]
    shown, left_out = trace.first(tasks, max((len(rows) for _, rows in tasks), default=0) * len(trace.experts))
    grids = []
    for place, (task, rows) in enumerate(shown):
        names, description = trace.layers(len(rows)), f"Weights of {task} by layer"
        grids.append((task, Heat(description, f"{trace.key}{place}", names, trace.experts, rows, top, printed=False)))
    return {"grids": grids, "left_out": left_out}
