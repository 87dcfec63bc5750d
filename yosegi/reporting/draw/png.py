"""The drawings of the page as PNG files, for a paper or a README. This is the only file that needs matplotlib."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.reporting.draw.marks import Drawing, Heat, Legend, Plot, Rows
from yosegi.reporting.format import number

CJK = ("Hiragino Sans", "Noto Sans CJK JP", "Noto Sans JP", "Yu Gothic", "Meiryo", "IPAexGothic", "IPAGothic")
HUES = ("#2b78b8", "#d9662a", "#11734f", "#c46fa0", "#c9a227", "#4a2f8f", "#7c2d4f", "#55b1c9", "#9a8b80", "#59701f")
INK, GREY = "#2d2620", "#a39583"
COLOUR = {f"c{place}": hue for place, hue in enumerate(HUES)} | {"ink": INK, "other": GREY, "": INK}
LINES: dict[str, dict[str, Any]] = {
    "raw": {"alpha": 0.25, "lw": 0.7},
    "line": {"lw": 1.6},
    "fit": {"lw": 1.2},
    "guide": {"lw": 0.9, "ls": ":", "color": GREY},
    "set0": {"lw": 1.4, "ls": "--"},
    "set1": {"lw": 1.4, "ls": ":"},
    "set2": {"lw": 1.4, "ls": "-."},
}
"""How matplotlib draws each kind of line that page.css styles for the page."""

Panel = tuple[str, Drawing]
"""A title and what is below it."""


def write(path: Path, panels: Sequence[Panel], columns: int = 1, legend: Legend | None = None, x: str = "") -> None:
    """Draw panels side by side (in so many columns) into one PNG file.

    Args:
        path: of the picture.
        panels: titles and drawings.
        columns: how many stand side by side.
        legend: of all panels together; by default that of the first.
        x: a label below all panels.
    """
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}
    style["font.family"] = _fonts(repr((x, panels)))
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # _fonts warns once
        lines = -(-len(panels) // columns)
        wide, high = (max(side) for side in zip(*(_size(drawing, columns) for _, drawing in panels), strict=True))
        figure = Figure(figsize=(min(wide * columns, 24), min(high * lines, 40)), layout="constrained")
        all_axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for place, ((title, drawing), axes) in enumerate(zip(panels, all_axes, strict=False)):
            axes.set_title(title, fontsize=9, loc="left")
            if isinstance(drawing, Plot):
                _plot(axes, drawing)
            elif isinstance(drawing, Rows):
                _rows(axes, drawing, names=place % columns == 0)
            else:
                _heat(figure, axes, drawing)
        for axes in all_axes[len(panels) :]:
            axes.remove()
        entries = legend or getattr(panels[0][1], "legend", ())
        for colour, name in entries:
            all_axes[0].plot([], [], "o", color=COLOUR[colour], label=name)
        labels = [label for axes in all_axes for label in axes.get_legend_handles_labels()[1]]
        if labels:
            figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=min(len(labels), 4))
        if x:
            figure.supxlabel(x, fontsize=9)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=160)
    files.write(path, picture.getvalue())


def _size(drawing: Drawing, columns: int) -> tuple[float, float]:
    """Inches of one panel."""
    if isinstance(drawing, Plot):
        return (5.4, 4.8) if drawing.square else (7.2 if columns == 1 else 3.6, 3.4)
    if isinstance(drawing, Rows):
        return 7.2 if columns == 1 else 2.0, 1.2 + 0.22 * len(drawing.rows)
    return 2.5 + 0.3 * min(len(drawing.columns), 30), 1.5 + 0.25 * min(len(drawing.rows), 36)


def _fonts(text: str) -> list[str]:
    """Fonts to try in turn; a warning if there is Japanese to write and no font for it."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    japanese = next((name for name in CJK if name in installed), None)
    if japanese is None and any("\u3000" <= letter <= "\u9fff" for letter in text):
        warnings.warn(f"No Japanese font is installed (looked for {', '.join(CJK)}): figures show boxes.", stacklevel=2)
    return ["DejaVu Sans", *([japanese] if japanese else [])]


def _plot(axes: Any, plot: Plot) -> None:
    for mark in plot.marks:
        kind, colour = mark.kind.split()[0], COLOUR[mark.colour]
        x, y = zip(*mark.points, strict=True) if mark.points else ((), ())
        if kind in ("band", "bar"):
            axes.fill(x, y, color=colour, alpha=0.16 if kind == "band" else 1.0, lw=0)
        elif kind in ("dot", "check"):
            axes.plot(x, y, "o", color=colour, ms=4, alpha=0.8)
        else:
            pale = {"alpha": 0.55} if "pale" in mark.kind else {}
            label = mark.title if kind in ("fit", "guide") else None
            axes.plot(x, y, label=label, **{"color": colour, **LINES[kind], **pale})
    for x, y, name in plot.names:
        axes.annotate(name, (x, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=7)
    if plot.reference:
        axes.axhline(plot.reference[0], **LINES["guide"])
        axes.annotate(plot.reference[1], (100, plot.reference[0]), ha="right", va="bottom", fontsize=7)
    axes.set(xlim=(-1, 101), ylim=(101, -1), xlabel=plot.x, ylabel=plot.y)
    _ticks(axes.set_xticks, plot.x_ticks)
    _ticks(axes.set_yticks, plot.y_ticks)


def _rows(axes: Any, rows: Rows, names: bool) -> None:
    for y, row in enumerate(rows.rows):
        colour = COLOUR[row.colour]
        bar, mark = row.axis.bar, row.axis.mark
        if bar:
            axes.hlines(y, bar[0], sum(bar), color=colour, alpha=0.45, lw=2.5)
        if mark is not None and rows.zero is not None:
            axes.barh(y, mark - rows.zero, left=rows.zero, color=colour)
        elif mark is not None:
            axes.plot(mark, y, "o", color=colour, ms=4.5)
    if rows.reference:
        axes.axvline(rows.reference[0], **LINES["guide"])
        axes.annotate(rows.reference[1], (rows.reference[0], -0.5), ha="left", va="bottom", fontsize=7)
    axes.set(xlim=(-1, 101), ylim=(len(rows.rows) - 0.5, -0.5), xlabel=rows.x)
    axes.set_yticks(range(len(rows.rows)), [row.label if names else "" for row in rows.rows])
    axes.tick_params(axis="y", length=0)
    _ticks(axes.set_xticks, rows.ticks)


def _heat(figure: Any, axes: Any, heat: Heat) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    values = [[float("nan") if value is None else value for value in row] for row in heat.values]
    ends = (HUES[0], "#ffffff", "#94532a") if heat.signed else ("#ffffff", "#94532a")
    low = -heat.top if heat.signed else heat.low
    wood = LinearSegmentedColormap.from_list("wood", ends)
    image = axes.imshow(values, aspect="auto", cmap=wood, vmin=low, vmax=heat.top, interpolation="nearest")
    figure.colorbar(image, ax=axes, shrink=0.6)
    for place in heat.breaks:
        axes.axhline(place - 0.5, color=INK, lw=0.8)
        axes.axvline(place - 0.5, color=INK, lw=0.8)
    if heat.printed:
        for y, row in enumerate(heat.values):
            for x, value in enumerate(row):
                axes.text(x, y, number(value), ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(heat.columns)), heat.columns, rotation=90, fontsize=7)
    axes.set_yticks(range(len(heat.rows)), heat.rows, fontsize=7)
    axes.tick_params(length=0)


def _ticks(set_ticks: Any, ticks: Sequence[tuple[float, str]]) -> None:
    set_ticks([place for place, _ in ticks], [label for _, label in ticks])
