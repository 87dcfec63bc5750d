"""Which experts are active where: weights by task, layer and token, the load, and how sure a router is.

`routing.json` is what evaluation/routing.py wrote. Shapes: L layers, E experts.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from yosegi.errors import Corrupt
from yosegi.findings import Lines, Reference, Series
from yosegi.reporting.context import Context
from yosegi.reporting.draw.figure import draw_bars, draw_lines
from yosegi.reporting.draw.marks import COLOURS, Heat, Plot, tiles
from yosegi.reporting.format import json_for_page, known, number
from yosegi.reporting.read import Row

TITLE = "Routing"
LINK = "Routing"

SQUARES, MOST = 1_100_000, 30_000
"""Squares of one kind (layers and experts, layers and tokens) of one router: SQUARES over the square of how many routers there
are, since each has tables as well, and at most MOST."""
BARS = 400
"""Experts listed with their load, of all routers together; of one at least ten."""
COLUMNS = 24
"""Experts that have a column of their own in the table of tasks; more are drawn as a grid."""
LINES = 6
"""Tasks drawn as lines of their own; of more, the band from the lowest to the highest."""
OTHER, BLANK = "other", " "
"""The colour of the experts chosen less often, where there are more experts than colours; and that of none."""
PROMPTS, TOKENS = 4, 120
WEIGHED = 40
"""A token with its weights takes the room of so many squares."""

T = TypeVar("T")
Matrix = list[list[float]]


@dataclass
class Trace:
    """One router of routing.json, checked; `key` is unique on the page, `squares` how many of a kind are drawn."""

    row: Row
    experts: list[str]
    key: str
    squares: int

    @cached_property
    def tasks(self) -> dict[str, Matrix]:
        """Returns the weights [L][E] by task."""
        return {str(task): self.checked(weights_LE) for task, weights_LE in (self.row.get("tasks") or {}).items()}

    @cached_property
    def constant(self) -> list[float] | None:
        """Returns the weights [E] that every token of every task has in every layer, if so: there is nothing to draw."""
        tokens = self.row.get("tokens") or []
        rows = [row for weights_LE in self.tasks.values() for row in weights_LE]
        rows += [row for token in tokens for row in token.get("weights") or []]
        lines = {number for token in tokens for line in token.get("chosen") or [] for number in str(line).split()}
        same = bool(self.tasks) and all(max(column) - min(column) < 1e-6 for column in zip(*rows, strict=True))
        return rows[0] if same and len(lines) < 2 else None

    @cached_property
    def information(self) -> float:
        """Returns what the choice of an expert tells about the task, in nats, the mean over layers: 0 if all tasks are alike."""
        tasks = [[_scaled(row) for row in weights_LE] for weights_LE in self.tasks.values()]
        layers = [mean(of_layer) for of_layer in zip(*tasks, strict=False)]
        pairs = [pair for of_task in tasks for pair in zip(of_task, layers, strict=False)]
        terms = [w * math.log(w / together[e]) for row, together in pairs for e, w in enumerate(row) if w > 0]
        return sum(terms) / max(1, len(pairs))

    def layers(self, count: int) -> list[str]:
        """Returns the names of so many layers, or numbers where the file has none that fit."""
        names = [str(layer) for layer in self.row.get("layers") or []]
        return names if len(names) == count else [f"layer {i}" for i in range(count)]

    @property
    def even(self) -> float:
        """Twice an equal share: the weight of the strongest colour is at least that, so that equal shares look it."""
        return 2 / max(len(self.experts), 2)

    def checked(self, weights: Any) -> Matrix:
        """Returns the rows if each has one number for each expert, else raises ValueError."""
        if not weights or any(len(row) != len(self.experts) or None in map(known, row) for row in weights):
            raise ValueError("one weight for each expert")
        return weights

    def first(self, drawings: Sequence[T], size: int) -> tuple[list[T], int]:
        """Returns as many drawings of so many squares as there is room for, and how many are left out."""
        shown = list(drawings[: self.squares // max(size, 1)])
        return shown, len(drawings) - len(shown)


def section(context: Context) -> dict[str, Any] | None:
    """Returns every router of every run, the one whose weights tell most about the task first, oracles (who are told it) last.

    Those that give every token the same weights are named, and not drawn.
    """
    runs = context.results.runs
    several = sum(bool(run.routing) for run in runs) > 1
    many = sum(len(run.routing.get("routers") or {}) for run in runs)
    squares = min(MOST, SQUARES // max(many, 1) ** 2)
    oracles = {str(m.row["model"]) for m in context.results.scores if m.row.get("router") == "oracle"}
    routers, constant = [], {}
    for i, run in enumerate(runs):
        for place, (name, row) in enumerate((run.routing.get("routers") or {}).items()):
            try:
                experts = [str(expert) for expert in row.get("experts") or run.routing.get("experts") or []]
                trace = Trace(row, experts, f"r{i}-{place}-", squares)
                label = f"{run.name} · {name}" if several else str(name)
                if trace.constant is not None:
                    constant[label] = _in_words(trace.constant, experts)
                else:
                    is_oracle = name in oracles
                    routers.append({"name": label, "is_oracle": is_oracle, **draw(trace, max(10, BARS // many))})
            except (TypeError, ValueError, AttributeError, LookupError) as error:
                raise Corrupt(
                    f"{run.path / 'routing.json'}: router {name!r} does not have the expected shape."
                ) from error
    routers = [router for router in routers if router["tasks"] or router["prompts"]]
    routers.sort(key=lambda router: (router["is_oracle"], -router["information"]))
    return {"routers": routers, "constant": constant} if routers or constant else None


def _in_words(weights_E: Sequence[float], experts: Sequence[str]) -> str:
    if max(weights_E) - min(weights_E) < 1e-6:
        return f"{number(weights_E[0])} for each of {len(experts)} experts"
    largest = sorted(zip(weights_E, experts, strict=True), reverse=True)[:6]
    return ", ".join(f"{expert} {number(weight)}" for weight, expert in largest) + (", …" if len(experts) > 6 else "")


def draw(trace: Trace, bars: int = 40) -> dict[str, Any]:
    """Returns the mean weights and entropy by task, the load, and as many layers and tokens as there is room for."""
    entropy = {task: [v for v in of if known(v) is not None] for task, of in (trace.row.get("entropy") or {}).items()}
    tasks = {
        task: (mean(weights_LE), statistics.fmean(values) if (values := entropy.get(task)) else None)
        for task, weights_LE in trace.tasks.items()
    }
    weights, loads, tokens, overview = [w for w, _ in tasks.values()], load(trace, bars), chosen(trace), None
    top = max([trace.even, *(w for of_task in weights for w in of_task)])
    if len(trace.experts) > COLUMNS and len(tasks) > 1:
        description = f"Weights of {len(tasks)} tasks and {len(trace.experts)} experts"
        overview = Heat(description, f"{trace.key}all", list(tasks), trace.experts, weights, top, printed=False)
    grids, left_out = layer_grids(trace)
    return {
        "experts": trace.experts,
        "information": trace.information,
        "most": math.log(max(1, min(len(tasks), len(trace.experts)))),
        "undecided": math.log(max(len(trace.experts), 1)),
        "averaged": int(
            known(trace.row.get("averaged")) or 0
        ),  # layers, where a row of the file is the mean of several
        "tasks": tasks,
        "top": top,
        "overview": overview,
        "load": loads,
        "chosen": tokens,
        "grids": grids,
        "left_out": left_out,
        "prompts": prompts(trace),
    }


def layer_grids(trace: Trace) -> tuple[list[tuple[str, Heat]], int]:
    """Returns the tasks layer by layer, and how many are left out. One row alone is what the table shows already."""
    top = max([trace.even, *(w for weights_LE in trace.tasks.values() for row in weights_LE for w in row)])
    tasks = [(task, rows) for task, rows in trace.tasks.items() if len(rows) > 1]
    shown, left_out = trace.first(tasks, max((len(rows) for _, rows in tasks), default=0) * len(trace.experts))
    grids = []
    for place, (task, rows) in enumerate(shown):
        names, description = trace.layers(len(rows)), f"Weights of {task} by layer"
        grids.append((task, Heat(description, f"{trace.key}{place}", names, trace.experts, rows, top, printed=False)))
    return grids, left_out


def load(trace: Trace, listed: int = 40) -> dict[str, Any]:
    """Returns how the load is shared in each layer and how sure the router is, with the experts that have the largest load.

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


def _by_layer(values: Row, names: list[str], y: str, top: float, strong: str = "mean") -> Plot | None:
    """Returns a line per task over the layers, or the band of all, from 0 to at least `top`; `strong` or the mean stands out."""
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


def chosen(trace: Trace) -> dict[str, Any]:
    """Returns the strongest experts as coloured grids, one example of each task: a column per token, a row per layer."""
    key, experts = f"{trace.key}t", trace.experts
    rows = [row for row in trace.row.get("tokens") or [] if row.get("chosen")]
    grids = [[_line(str(line), len(row["text"]), len(experts)) for line in row["chosen"]] for row in rows]
    colours = _colours(trace, grids)
    size = max((len(grid) * len(row["text"]) for grid, row in zip(grids, rows, strict=True)), default=0)
    shown, left_out = trace.first(list(zip(rows, grids, strict=True)), size)
    examples = []
    for place, (row, grid) in enumerate(shown):
        paths = tiles([[colours[e] if e >= 0 else BLANK for e in line] for line in grid])
        text = [_piece(piece) for piece in row["text"]]
        names = trace.layers(len(grid))
        examples.append({
            "task": str(row.get("task") or ""),
            "key": f"{key}{place}",
            "ends": ("".join(text[:4])[:16], "".join(text[-4:])[-16:]),
            "columns": len(text),
            "rows": len(grid),
            "paths": {colour: path for colour, path in paths.items() if colour != BLANK},
            "data": json_for_page({"rows": names, "columns": text, "chosen": row["chosen"]}),
            "skipped": int(row.get("left_out") or 0),
        })  # fmt: skip
    return {
        "key": key,
        "names": json_for_page(experts),
        "colours": colours,
        "legend": [(colour, name) for colour, name in zip(colours, experts, strict=True) if colour != OTHER],
        "others": colours.count(OTHER),
        "examples": examples,
        "left_out": left_out,
    }


def _line(line: str, tokens: int, experts: int) -> list[int]:
    """Returns the expert of every token, -1 where none stands out. A line of one number is that number for all, "" is none."""
    numbers = [int(number) for number in line.split()] or [-1]
    numbers = numbers * tokens if len(numbers) == 1 else numbers
    if len(numbers) != tokens or any(not -1 <= e < experts for e in numbers):
        raise ValueError("one expert for each token")
    return numbers


def _colours(trace: Trace, grids: list[list[list[int]]]) -> list[str]:
    """Returns a colour for each expert, the same in all examples; of many experts, for those chosen most often."""
    experts = len(trace.experts)
    if experts <= COLOURS:
        return [f"c{e}" for e in range(experts)]
    counts = Counter(e for grid in grids for row in grid for e in row if e >= 0)
    if not counts:  # a trace of the weights alone
        weights = [row for example in trace.row.get("tokens") or [] for row in example.get("weights") or []]
        counts = Counter(row.index(max(row)) for row in weights)
    most = sorted(counts, key=lambda e: (-counts[e], e))[:COLOURS]
    return [f"c{most.index(e)}" if e in most else OTHER for e in range(experts)]


def prompts(trace: Trace) -> list[dict[str, Any]]:
    """Returns the first examples with the weights of each token, while there is room."""
    with_weights = [row for row in trace.row.get("tokens") or [] if "weights" in row or "chosen" not in row]
    shown, _ = trace.first(with_weights[:PROMPTS], WEIGHED * max((len(row["text"]) for row in with_weights), default=0))
    examples = []
    for row in shown:
        pairs = list(zip(row["text"], trace.checked(row["weights"]), strict=True))
        tokens = [_token(str(text), weights, trace.experts) for text, weights in pairs[:TOKENS]]
        before, after = int(row.get("left_out") or 0), max(0, len(pairs) - TOKENS)
        examples.append({"task": str(row.get("task") or ""), "tokens": tokens, "before": before, "after": after})
    return examples


def _token(text: str, weights: list[float], experts: list[str]) -> dict[str, Any]:
    """Returns a piece of a prompt: its text, the shares of its strongest experts in per cent, and their weights in words."""
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))[:4]
    total = sum(max(w, 0) for w in weights) or 1.0
    title = "\n".join([repr(text), *(f"{experts[i]} {number(weights[i])}" for i in order)])
    shares = [(i, round(100 * max(weights[i], 0) / total, 1)) for i in order if weights[i] > 0.02 * total]
    return {"text": _piece(text), "shares": shares, "title": title}


def _piece(text: Any) -> str:
    return str(text).replace("\n", "⏎")


def _scaled(weights_E: list[float]) -> list[float]:
    """Weights that sum to one; where no expert is active they stay zero."""
    return [w / total for w in weights_E] if (total := sum(weights_E)) > 0 else weights_E


def mean(rows: Sequence[Sequence[float]]) -> list[float]:
    """Returns the mean of each column."""
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]
