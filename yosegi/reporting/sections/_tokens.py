"""Routing token by token, for one example of each task: the strongest expert in every layer, and the weights under the text."""

from collections import Counter
from typing import Any

from yosegi.reporting.draw.marks import COLOURS, tiles
from yosegi.reporting.format import json_for_page, number
from yosegi.reporting.read import Row
from yosegi.reporting.sections._trace import Trace

OTHER = "other"
"""The colour of the experts chosen less often, where there are more experts than colours."""
PROMPTS, TOKENS = 4, 120
SQUARES = 40
"""A token with its weights takes the room of so many squares."""
BLANK = " "


def chosen(trace: Trace) -> dict[str, Any]:
    """Returns the strongest experts as coloured grids: a column per token, a row per layer."""
    key, experts = f"{trace.key}t", trace.experts
    rows = [row for row in trace.row.get("tokens") or [] if row.get("chosen")]
    grids = [[_line(str(line), len(row["text"]), len(experts)) for line in row["chosen"]] for row in rows]
    colours = _colours(trace, grids)
    size = max((len(grid) * len(row["text"]) for grid, row in zip(grids, rows, strict=True)), default=0)
    shown, left_out = trace.first(list(zip(rows, grids, strict=True)), size)
    return {
        "key": key,
        "names": json_for_page(experts),
        "colours": colours,
        "legend": [(colour, name) for colour, name in zip(colours, experts, strict=True) if colour != OTHER],
        "others": colours.count(OTHER),
        "examples": [
            _example(row, grid, trace.layers(len(grid)), f"{key}{place}", colours)
            for place, (row, grid) in enumerate(shown)
        ],
        "left_out": left_out,
    }


def _line(line: str, tokens: int, experts: int) -> list[int]:
    """The expert of every token, -1 where none stands out. A line of one number is that number for all; an empty one is none."""
    numbers = [int(number) for number in line.split()] or [-1]
    numbers = numbers * tokens if len(numbers) == 1 else numbers
    if len(numbers) != tokens or any(not -1 <= e < experts for e in numbers):
        raise ValueError("one expert for each token")
    return numbers


def _colours(trace: Trace, grids: list[list[list[int]]]) -> list[str]:
    """A colour for each expert, the same in all examples; of many experts, for those chosen most often."""
    experts = len(trace.experts)
    if experts <= COLOURS:
        return [f"c{e}" for e in range(experts)]
    counts = Counter(e for grid in grids for row in grid for e in row if e >= 0)
    if not counts:  # a trace of the weights alone
        weights = [row for example in trace.row.get("tokens") or [] for row in example.get("weights") or []]
        counts = Counter(row.index(max(row)) for row in weights)
    most = sorted(counts, key=lambda e: (-counts[e], e))[:COLOURS]
    return [f"c{most.index(e)}" if e in most else OTHER for e in range(experts)]


def _example(row: Row, grid: list[list[int]], names: list[str], key: str, colours: list[str]) -> dict[str, Any]:
    paths = tiles([[colours[e] if e >= 0 else BLANK for e in line] for line in grid])
    text = [str(piece).replace("\n", "⏎") for piece in row["text"]]
    return {
        "task": str(row.get("task") or ""),
        "key": key,
        "ends": ("".join(text[:4])[:16], "".join(text[-4:])[-16:]),
        "columns": len(text),
        "rows": len(grid),
        "paths": {colour: path for colour, path in paths.items() if colour != BLANK},
        "data": json_for_page({"rows": names, "columns": text, "chosen": row["chosen"]}),
        "skipped": int(row.get("left_out") or 0),
    }


def prompts(trace: Trace) -> list[dict[str, Any]]:
    """Returns the first examples with the weights of each token, while there is room."""
    with_weights = [row for row in trace.row.get("tokens") or [] if "weights" in row or "chosen" not in row]
    shown, _ = trace.first(with_weights[:PROMPTS], SQUARES * max((len(row["text"]) for row in with_weights), default=0))
    examples = []
    for row in shown:
        pairs = list(zip(row["text"], trace.checked(row["weights"]), strict=True))
        tokens = [_token(str(text), weights, trace.experts) for text, weights in pairs[:TOKENS]]
        before, after = int(row.get("left_out") or 0), max(0, len(pairs) - TOKENS)
        examples.append({"task": str(row.get("task") or ""), "tokens": tokens, "before": before, "after": after})
    return examples


def _token(text: str, weights: list[float], experts: list[str]) -> dict[str, Any]:
    """A piece of a prompt: its text, the shares of its strongest experts in per cent, and their weights in words."""
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))[:4]
    total = sum(max(w, 0) for w in weights) or 1.0
    title = "\n".join([repr(text), *(f"{experts[i]} {number(weights[i])}" for i in order)])
    shares = [(i, round(100 * max(weights[i], 0) / total, 1)) for i in order if weights[i] > 0.02 * total]
    return {"text": text.replace("\n", "⏎"), "shares": shares, "title": title}
