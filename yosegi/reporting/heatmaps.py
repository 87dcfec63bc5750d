"""Who is heard where: routing weights by task, layer and token; and how alike the experts are."""

import re
import statistics
from dataclasses import dataclass, field
from typing import Any

from yosegi.errors import Corrupt
from yosegi.reporting import grids
from yosegi.reporting.choices import Choices, choices
from yosegi.reporting.format import known, number
from yosegi.reporting.grids import NUMBERS, Grid
from yosegi.reporting.loads import Load, load
from yosegi.reporting.read import Found, Row

ROWS = 32
"""Layers drawn of one model; more are averaged within each block of the model, then neighbour by neighbour."""
BYTES = 1_300_000
"""About what all routers of one page may add to it. Every router gets its share, and what the others did not need."""
FRAME = 5000
"""About what one router adds with nothing drawn."""
BARS = 400
"""Experts listed with their load, of all routers together; of one at least ten."""
COLUMNS = 24
"""Experts that have a column of their own in the table of tasks; more are drawn as a grid."""
PROMPTS, TOKENS = 4, 120

Matrix = list[list[float]]


@dataclass(frozen=True)
class Token:
    """A piece of a prompt: its text, the strongest expert, that one's weight, and all weights in words."""

    text: str
    expert: int
    weight: float
    shares: list[tuple[int, float]]
    title: str


@dataclass
class Routing:
    """One router of one run."""

    name: str
    experts: list[str]
    tasks: list[tuple[str, list[float], float | None]] = field(default_factory=list)
    """Task, mean weight per expert over the layers, mean entropy over the layers."""
    top: float = 1.0
    """The weight of the strongest colour: at least twice an equal share, so that equal shares look it."""
    grids: list[Grid] = field(default_factory=list)
    left_out: int = 0
    averaged: int = 0
    """How many layers stand behind the rows, when they were averaged."""
    table: Grid | None = None
    """The tasks as a grid, where there are too many experts for a column each."""
    prompts: list[tuple[str, list[Token], int, int]] = field(default_factory=list)
    """Task, tokens, and how many tokens were left out before and after them."""
    load: Load = field(default_factory=Load)
    choices: Choices = field(default_factory=Choices)


@dataclass(frozen=True)
class Similarity:
    """Cosine of every pair of experts."""

    run: str
    experts: list[str]
    cosine: list[list[float | None]]
    space: str
    top: float
    """The largest cosine of two different experts, or 0.1: the strongest colour."""
    grid: Grid | None


def routings(found: Found) -> list[Routing]:
    """Every router of every run."""
    several = sum(bool(run.routing) for run in found.runs) > 1
    many = sum(len(run.routing.get("routers") or {}) for run in found.runs)
    whole, left, out = BYTES, many, []
    for number_of_run, run in enumerate(found.runs):
        everywhere = run.routing.get("experts") or []
        for place, (name, router) in enumerate((run.routing.get("routers") or {}).items()):
            try:
                key, room = f"r{number_of_run}-{place}-", whole // left - FRAME
                experts = [str(name) for name in router.get("experts") or everywhere]
                one = _routing(f"{run.name} · {name}" if several else str(name), experts, router, key)
                one.load = load(router, experts, key, max(10, BARS // many))
                took = len(repr((one.tasks, one.table, one.load)))
                one.choices = choices(router, experts, f"{key}t", (room - took) // 2)
                took += one.choices.bytes
                took += _grids(one, router, key, (room - took) // 2)
                took += _prompts(one, router, room - took)
                whole, left = whole - took - FRAME, left - 1
            except (TypeError, ValueError, AttributeError, LookupError) as error:
                raise Corrupt(f"{run.path / 'routing.json'}: router {name!r} has not the expected shape.") from error
            if one.tasks or one.prompts:
                out.append(one)
    return out


def _routing(name: str, experts: list[str], router: Row, key: str) -> Routing:
    one = Routing(name, experts)
    entropy = router.get("entropy") or {}
    for task, weights in (router.get("tasks") or {}).items():
        _check(weights, len(experts))
        heard = [statistics.fmean(row[i] for row in weights) for i in range(len(experts))]
        known_entropy = [v for v in entropy.get(task) or [] if known(v) is not None]
        one.tasks.append((str(task), heard, statistics.fmean(known_entropy) if known_entropy else None))
    one.top = max([2 / max(len(experts), 2), *(w for _, heard, _ in one.tasks for w in heard)])
    if len(experts) > COLUMNS and len(one.tasks) > 1:
        rows = [task for task, _, _ in one.tasks]
        one.table = grids.draw(
            "of tasks and experts", f"{key}all", rows, experts, [heard for _, heard, _ in one.tasks], one.top
        )
    return one


def _prompts(one: Routing, router: Row, budget: int) -> int:
    """The first prompts token by token, while there is room; how much of it they took."""
    took = 0
    told = [prompt for prompt in router.get("tokens") or [] if "weights" in prompt or "chosen" not in prompt]
    for prompt in told[:PROMPTS]:
        text, weights = prompt["text"], prompt["weights"]
        _check(weights, len(one.experts))
        tokens = [_token(str(t), w, one.experts) for t, w in list(zip(text, weights, strict=True))[:TOKENS]]
        cost = sum(len(token.title) + 50 * len(token.shares) + 60 for token in tokens)
        if took + cost <= budget:
            took += cost
            before = int(prompt.get("left_out") or 0)
            one.prompts.append((str(prompt.get("task") or ""), tokens, before, max(0, len(text) - TOKENS)))
    return took


def _check(weights: Any, experts: int) -> None:
    if not weights or any(len(row) != experts or any(known(v) is None for v in row) for row in weights):
        raise ValueError("one weight for each expert")


def _token(text: str, weights: list[float], experts: list[str]) -> Token:
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    total = sum(max(w, 0) for w in weights) or 1.0
    title = "\n".join([repr(text), *(f"{experts[i]} {number(weights[i])}" for i in order[:4])])
    shares = [(i, round(100 * max(weights[i], 0) / total, 1)) for i in order[:4] if weights[i] > 0.02 * total]
    return Token(text.replace("\n", "⏎"), order[0], weights[order[0]], shares, title)


def _grids(one: Routing, router: Row, key: str, budget: int) -> int:
    """Draw the tasks layer by layer while there is room; how much of it they took."""
    took = 0
    tasks = router.get("tasks") or {}
    layers = [str(layer) for layer in router.get("layers") or []]
    top = max([2 / max(len(one.experts), 2), *(v for w in tasks.values() for row in w for v in row)])
    for place, (task, weights) in enumerate(tasks.items()):
        names = layers if len(layers) == len(weights) else [f"layer {i}" for i in range(len(weights))]
        rows, values = _fold(names, weights)
        one.averaged = int(known(router.get("averaged")) or 0) or (len(names) if len(rows) < len(names) else 0)
        grid = grids.draw(str(task), f"{key}{place}", rows, one.experts, values, top)
        if len(rows) == 1:  # what the table shows already
            continue
        if took + grid.bytes > budget:
            one.left_out += 1
        else:
            one.grids.append(grid)
            took += grid.bytes
    return took


def _fold(names: list[str], weights: Matrix) -> tuple[list[str], Matrix]:
    """At most ROWS rows: first the linears of one block become one row, then neighbouring blocks."""
    if len(names) <= ROWS:
        return names, weights
    blocks: dict[str, Matrix] = {}
    for name, row in zip(names, weights, strict=True):
        found = re.search(r"(?:^|\.)(\d+)(?:\.|$)", name)
        blocks.setdefault(f"block {found[1]}" if found else name, []).append(row)
    names, values = list(blocks), [_mean(rows) for rows in blocks.values()]
    step = -(-len(names) // ROWS)
    if step == 1:
        return names, values
    firsts = range(0, len(names), step)
    return [f"{names[i]} +" for i in firsts], [_mean(values[i : i + step]) for i in firsts]


def _mean(rows: Matrix) -> list[float]:
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]


def similarities(found: Found) -> list[Similarity]:
    """The matrix of every run that has one."""
    out: list[Similarity] = []
    for place, run in enumerate(found.runs):
        if not run.similarity:
            continue
        names = [str(name) for name in run.similarity.get("experts") or []]
        cosine = run.similarity.get("cosine")
        if not isinstance(cosine, list) or [len(row) for row in cosine] != [len(names)] * len(names):
            raise Corrupt(f"{run.path / 'similarity.json'} is not a square, one row an expert.")
        cosine = [[known(value) for value in row] for row in cosine]  # an expert of zeros is like no other: NaN
        others = [abs(v) for y, row in enumerate(cosine) for x, v in enumerate(row) if x != y and v is not None]
        top = max([0.1, *others])
        grid = None
        if len(names) > NUMBERS:
            grid = grids.draw("", f"s{place}", names, names, cosine, top)
        out.append(Similarity(run.name, names, cosine, str(run.similarity.get("space") or ""), top, grid))
    return out
