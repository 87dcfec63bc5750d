"""What was learnt and what was forgotten for it: the loss on texts that no training saw, by the tokens that were read."""

from typing import Any

from yosegi.findings import Lines, Series
from yosegi.reporting.context import Context
from yosegi.reporting.curves import VALIDATION, Curve, stages
from yosegi.reporting.draw.figure import draw_lines
from yosegi.reporting.draw.marks import Legend, Plot, colours
from yosegi.reporting.read import Results

TITLE = "Learnt and forgotten"
LINK = ""


def section(context: Context) -> dict[str, Any] | None:
    """Returns a panel per set of texts, and each training's loss on every set before and after."""
    curves = watched(context.results)
    panels, legend = plots(context.results)
    losses = [[[loss for _, loss in curve.points(VALIDATION, name)] for name, _ in panels] for curve in curves.values()]
    return {"panels": panels, "rows": list(zip(legend, curves.values(), losses, strict=True))} if panels else None


def watched(results: Results) -> dict[str, Curve]:
    """Returns the trainings of all stages that were measured on a named set of validation texts."""
    with_sets = {stage: curves for stage, curves in stages(results).items() if any(curve.sets for curve in curves)}
    return {
        f"{stage} · {curve.name}" if len(with_sets) > 1 else curve.name: curve
        for stage, curves in with_sets.items()
        for curve in curves
        if curve.sets
    }


def plots(results: Results) -> tuple[list[tuple[str, Plot]], Legend]:
    """Returns a plot per set, a line per training. Every plot has all trainings in one order: they keep their colours."""
    curves = watched(results)
    sets = list(dict.fromkeys(name for curve in curves.values() for name in curve.sets))
    both = [[curve.points(VALIDATION, of, x) for curve in curves.values() for of in sets] for x in ("step", "tokens")]
    counted = [*map(len, both[0])] == [*map(len, both[1])]
    x, label = ("tokens", "tokens read") if counted else ("step", "step")
    panels = []
    for name in sets:
        series = [Series(training, curve.points(VALIDATION, name, x)) for training, curve in curves.items()]
        if (plot := draw_lines(Lines(name, "", series, label, "loss, nats per token"))) is not None:
            plot.legend = []  # the table has the colours
            panels.append((name, plot))
    return panels, [(colour, name) for name, colour in colours(curves).items()]
