"""A library's cosines as a picture, its experts sorted by cluster: blocks on the diagonal are what clustering found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yosegi.reporting.draw import png
from yosegi.reporting.draw.marks import Heat

NAMED = 60
"""With more experts than this their names would be smaller than can be read: the clusters are named instead."""


def draw(evidence: Mapping[str, Any], path: Path) -> None:
    """Writes a PNG file of the evidence that `partitions.by_cluster` keeps."""
    names, cosine, ends = sort(evidence)
    labels = names
    if len(names) > NAMED:
        labels = [""] * len(names)
        for start, end, cluster in zip([0, *ends], ends, evidence["clusters"], strict=False):
            labels[(start + end - 1) // 2] = cluster
    silhouette = evidence["silhouette"]
    quality = "" if silhouette is None else f", silhouette {silhouette:.2f}"
    title = f"cosine in space {evidence['space']}, {evidence['k']} clusters{quality}"
    heat = Heat(title, "", labels, [""] * len(names), cosine, top=1.0, breaks=ends[:-1], printed=False)
    png.write(path, [(title, heat)])


def sort(evidence: Mapping[str, Any]) -> tuple[list[str], list[list[float]], list[int]]:
    """Returns the experts cluster by cluster, their cosines in that order, and where each cluster ends."""
    clusters: Sequence[Sequence[str]] = list(evidence["clusters"].values())
    names = [name for members in clusters for name in members]
    place = {name: row for row, name in enumerate(evidence["experts"])}
    cosine = [[evidence["similarity"][place[one]][place[other]] for other in names] for one in names]
    ends = [sum(map(len, clusters[: count + 1])) for count in range(len(clusters))]
    return names, cosine, ends
