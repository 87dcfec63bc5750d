"""Which expert was the strongest, token by token and layer by layer, for one example of each task."""

from collections import Counter
from dataclasses import dataclass, field

from yosegi.reporting.items import json_for_page
from yosegi.reporting.read import Row

COLOURS = 10
"""How many there are. With more experts, those chosen most often have one each, and the others share grey."""
OTHER = "other"


@dataclass(frozen=True)
class Choice:
    """One example: a column a token, a row a layer. `paths` has a path for each colour."""

    task: str
    key: str
    first: str
    last: str
    columns: int
    rows: int
    paths: list[tuple[str, str]]
    data: str
    skipped: int

    @property
    def bytes(self) -> int:
        """About what it adds to the page."""
        return 500 + len(self.data) + sum(len(path) for _, path in self.paths)


@dataclass
class Choices:
    """One router of one run."""

    key: str = ""
    names: str = "[]"
    """The experts, as data for the pointer."""
    hues: list[str] = field(default_factory=list)
    """The class of each expert's colour."""
    legend: list[tuple[str, str]] = field(default_factory=list)
    """Class of the colour, and expert."""
    others: int = 0
    """How many experts share grey."""
    grids: list[Choice] = field(default_factory=list)
    left_out: int = 0

    @property
    def bytes(self) -> int:
        """About what it adds to the page."""
        return sum(grid.bytes for grid in self.grids)


def choices(router: Row, experts: list[str], key: str, budget: int) -> Choices:
    """Draw the examples while there is room on the page."""
    found = Choices(key, json_for_page(experts))
    told = [prompt for prompt in router.get("tokens") or [] if prompt.get("chosen")]
    whole = [[_line(str(line), len(prompt["text"]), len(experts)) for line in prompt["chosen"]] for prompt in told]
    found.hues = _hues(router, whole, len(experts))
    layers = [str(layer) for layer in router.get("layers") or []]
    for place, (prompt, rows) in enumerate(zip(told, whole, strict=True)):
        names = layers if len(layers) == len(rows) else [f"layer {i}" for i in range(len(rows))]
        one = _choice(prompt, rows, names, f"{key}{place}", found.hues)
        if found.bytes + one.bytes > budget:
            found.left_out += 1
        else:
            found.grids.append(one)
    found.legend = [(hue, name) for hue, name in zip(found.hues, experts, strict=True) if hue != OTHER]
    found.others = found.hues.count(OTHER)
    return found


def _line(line: str, tokens: int, experts: int) -> list[int]:
    """The expert of every token: -1 if none stands out. One number is said for all of them; nothing, for none."""
    said = [int(number) for number in line.split()] or [-1]
    said = said * tokens if len(said) == 1 else said
    if len(said) != tokens or any(not -1 <= e < experts for e in said):
        raise ValueError("one expert for each token")
    return said


def _hues(router: Row, whole: list[list[list[int]]], experts: int) -> list[str]:
    """A colour for each expert, the same in all examples."""
    if experts <= COLOURS:
        return [f"c{e}" for e in range(experts)]
    counts = Counter(e for rows in whole for row in rows for e in row if e >= 0)
    if not counts:  # of before the choice of each layer was told
        every = [row for prompt in router.get("tokens") or [] for row in prompt.get("weights") or []]
        counts = Counter(row.index(max(row)) for row in every)
    most = sorted(counts, key=lambda e: (-counts[e], e))[:COLOURS]
    return [f"c{most.index(e)}" if e in most else OTHER for e in range(experts)]


def _choice(prompt: Row, rows: list[list[int]], names: list[str], key: str, hues: list[str]) -> Choice:
    paths: dict[str, list[str]] = {}
    for y, row in enumerate(rows):
        x = 0
        while x < len(row):
            end = next((i for i in range(x, len(row)) if row[i] != row[x]), len(row))
            if row[x] >= 0:
                paths.setdefault(hues[row[x]], []).append(f"M{x} {y}.5h{end - x}")
            x = end
    text = [str(piece).replace("\n", "⏎") for piece in prompt["text"]]
    data = json_for_page({"rows": names, "columns": text, "chosen": prompt["chosen"]})
    drawn = [(colour, "".join(parts)) for colour, parts in sorted(paths.items())]
    first, last = ("".join(text[:4])[:16], "".join(text[-4:])[-16:]) if text else ("", "")
    skipped = int(prompt.get("left_out") or 0)
    return Choice(str(prompt.get("task") or ""), key, first, last, len(text), len(rows), drawn, data, skipped)
