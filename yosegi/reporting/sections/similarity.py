"""How alike the experts are: the cosine of every pair."""

from typing import Any

from yosegi.errors import Corrupt
from yosegi.reporting.context import Context
from yosegi.reporting.draw.marks import Heat
from yosegi.reporting.format import known

TITLE = "How alike the experts are"
LINK = "Similarity"


def section(context: Context) -> dict[str, Any] | None:
    """Returns a heat map for every run that has a matrix."""
    maps: list[tuple[str, Heat]] = []
    space = ""
    for place, run in enumerate(context.results.runs):
        if not run.similarity:
            continue
        names = [str(name) for name in run.similarity.get("experts") or []]
        rows = run.similarity.get("cosine")
        if not isinstance(rows, list) or [len(row) for row in rows] != [len(names)] * len(names):
            raise Corrupt(f"{run.path / 'similarity.json'} is not a square with one row per expert.")
        cosine = [[known(value) for value in row] for row in rows]  # an expert of zeros is like no other: NaN
        others = [abs(v) for y, row in enumerate(cosine) for x, v in enumerate(row) if x != y and v is not None]
        top, description = max([0.1, *others]), f"Cosine of {len(names)} experts"
        maps.append((run.name, Heat(description, f"s{place}", names, names, cosine, top, diagonal=True)))
        space = space or str(run.similarity.get("space") or "")
    return {"maps": maps, "space": space} if maps else None
