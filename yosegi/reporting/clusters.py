"""A library's cosines as a picture, its experts sorted by cluster: blocks on the diagonal are what clustering found."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.reporting.figures import _fonts

NAMED = 60
"""With more experts than this their names would be smaller than can be read."""


def draw(evidence: Mapping[str, Any], path: Path) -> None:
    """Write a PNG.

    Args:
        evidence: as `partitions.by_cluster` keeps it.
        path: of the picture.
    """
    import matplotlib
    from matplotlib.figure import Figure

    names, cosine, ends = sort(evidence)
    side = min(2.5 + 0.16 * len(names), 11)
    with matplotlib.rc_context({"font.family": _fonts("".join(names)), "font.size": 8}):
        figure = Figure(figsize=(side + 0.8, side), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(cosine, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        for end in ends[:-1]:
            axes.axhline(end - 0.5, color="#2d2620", lw=0.8)
            axes.axvline(end - 0.5, color="#2d2620", lw=0.8)
        if len(names) <= NAMED:
            axes.set_yticks(range(len(names)), names)
        else:
            starts = [0, *ends[:-1]]
            axes.set_yticks([(a + b - 1) / 2 for a, b in zip(starts, ends, strict=True)], list(evidence["clusters"]))
        axes.set_xticks([])
        axes.tick_params(length=0)
        silhouette = evidence["silhouette"]
        told = "" if silhouette is None else f", silhouette {silhouette:.2f}"
        axes.set_title(f"cosine in space {evidence['space']}, {evidence['k']} clusters{told}", fontsize=9)
        figure.colorbar(image, ax=axes, shrink=0.6)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=160)
    files.write(path, picture.getvalue())


def sort(evidence: Mapping[str, Any]) -> tuple[list[str], list[list[float]], list[int]]:
    """The experts cluster by cluster, their cosines in that order, and where each cluster ends."""
    clusters: Sequence[Sequence[str]] = list(evidence["clusters"].values())
    names = [name for members in clusters for name in members]
    place = {name: row for row, name in enumerate(evidence["experts"])}
    cosine = [[evidence["similarity"][place[one]][place[other]] for other in names] for one in names]
    ends = [sum(map(len, clusters[: count + 1])) for count in range(len(clusters))]
    return names, cosine, ends
