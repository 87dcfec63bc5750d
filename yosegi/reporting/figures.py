"""The leaderboard and the training curves as PNG, for a paper or a README. Only this file and clusters.py need matplotlib."""

import io
import warnings
from typing import Any

from yosegi import files
from yosegi.findings import Bars, Dots, Figure, Lines, Matrix, Reference, Scatter
from yosegi.reporting import curves, leaderboard, validation
from yosegi.reporting.drawings import LABEL, MARKED, NAMED, least_squares
from yosegi.reporting.drawings import draw as draw_on_page
from yosegi.reporting.format import number
from yosegi.reporting.grids import NUMBERS
from yosegi.reporting.read import Found, Run

CJK = ("Hiragino Sans", "Noto Sans CJK JP", "Noto Sans JP", "Yu Gothic", "Meiryo", "IPAexGothic", "IPAGothic")
COLOURS = ("#2b78b8", "#d9662a", "#4f9a5b", "#9a5bb0", "#c9a227", "#33a0a0", "#c44e6e", "#7a5a44", "#6b7fd1", "#8a8f2f")

DASHES = ("--", ":", "-.")
"""Of the first set of validation texts, the second, …"""


def draw(found: Found) -> None:
    """Write leaderboard.png, curves.png, validation.png and finding-1.png, … (numbered as there) into `figures/` of runs."""
    import matplotlib

    words = [word for m in found.plain for word in (m.model, m.task)]
    words += [str(row.get("expert")) for run in found.runs for row in run.metrics]
    words += [str(run.findings) for run in found.runs if run.findings]
    style: Any = {"font.family": _fonts("".join(words)), "font.size": 9}
    style |= {"axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # said once, in _fonts
        for run in found.runs:
            alone = Found([run], [m for m in found.measurements if m.run == run.name])
            for board in leaderboard.panels(alone)[:1]:
                _save(run, "leaderboard.png", _leaderboard(board))
            if charts := curves.charts(alone):
                _save(run, "curves.png", _curves(charts))
                if found_out := validation.watched(charts):
                    _save(run, "validation.png", _watched(found_out))
            for place, finding in enumerate(run.findings.findings if run.findings else (), 1):
                if finding.figure and (picture := _finding(finding.figure)):
                    _save(run, f"finding-{place}.png", picture)


def _fonts(text: str) -> list[str]:
    """Fonts to try in turn; a warning if there is Japanese to write and no font for it."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    japanese = next((name for name in CJK if name in installed), None)
    if japanese is None and any("\u3000" <= letter <= "\u9fff" for letter in text):
        warnings.warn(f"No Japanese font is installed (looked for {', '.join(CJK)}): figures show boxes.", stacklevel=2)
    return ["DejaVu Sans", *([japanese] if japanese else [])]


def _leaderboard(board: leaderboard.Panel) -> Any:
    """A column of dots for each task, one row a model, with the 95 % interval."""
    from matplotlib.figure import Figure

    wide, high = 1.6 + 1.7 * len(board.tasks), 0.9 + 0.32 * len(board.lines)
    figure = Figure(figsize=(min(wide, 24), high), layout="constrained")
    for place, (task, axes) in enumerate(
        zip(board.tasks, figure.subplots(1, len(board.tasks), sharey=True, squeeze=False)[0], strict=True)
    ):
        low, top = board.axis[board.metric[task]]
        for row, line in enumerate(board.lines):
            cell = line.cells[place]
            if cell.value is None:
                continue
            colour = "#2d2620" if line.is_base else COLOURS[0] if cell.tint >= 0 else COLOURS[1]
            if cell.bar:
                axes.hlines(row, *(low + (top - low) * end / 100 for end in cell.bar), color=colour, alpha=0.45, lw=3)
            axes.plot(cell.value, row, "o", color=colour, ms=5)
            if line.is_base:
                axes.axvline(cell.value, color="#a39583", lw=0.8, ls=":")
        axes.set_title(task, fontsize=9)
        room = (top - low) * 0.03
        axes.set_xlim(low - room, top + room)
        axes.tick_params(length=0)
    first = figure.axes[0]
    first.set_yticks(range(len(board.lines)), [line.model for line in board.lines])
    first.invert_yaxis()
    figure.supxlabel(f"{board.name}, with the 95 % interval", fontsize=9)
    return figure


def _curves(charts: list[curves.Chart]) -> Any:
    """One row of axes a stage: raw pale, smoothed strong."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.2 * len(charts)), layout="constrained")
    for chart, axes in zip(charts, figure.subplots(len(charts), 1, squeeze=False)[:, 0], strict=True):
        for place, curve in enumerate(chart.curves):
            colour, points = COLOURS[place % len(COLOURS)], curve.points("loss")
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, color=colour, alpha=0.25, lw=0.7)
                axes.plot(x, curves.smooth(list(y)), color=colour, lw=1.6, label=curve.name)
            if checks := curve.points("validation_loss"):
                axes.plot(*zip(*checks, strict=True), "o", color=colour, ms=4)
            for of in curve.sets:
                dashes = DASHES[chart.sets.index(of) % len(DASHES)]
                x, y = ([p[i] for p in curve.points("validation_loss", of)] for i in (0, 1))
                axes.plot(x, y, dashes, color=colour, lw=1.4)
        for place, of in enumerate(chart.sets):
            axes.plot([], [], DASHES[place % len(DASHES)], color="#2d2620", label=f"on {of}")
        beside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if chart.sets else {}
        axes.set(xlabel="step", ylabel="loss", title=chart.stage, yscale="log" if chart.log else "linear")
        axes.legend(frameon=False, fontsize=8, ncols=1 + len(chart.curves) // 12, **beside)
    return figure


def _watched(found: validation.Watched) -> Any:
    """A set of validation texts beside the other, a line a training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(3.6 * len(found.panels), 14.4), 3.4), layout="constrained")
    for panel, axes in zip(found.panels, figure.subplots(1, len(found.panels), squeeze=False)[0], strict=True):
        _lines(axes, panel.shape)
        axes.set_title(panel.name, fontsize=9, loc="left")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=8, ncols=min(len(labels), 4))
    return figure


def _finding(shape: Figure) -> Any:
    """What the page draws, on axes of the same range; None if there is no number in it."""
    from matplotlib.figure import Figure as Sheet

    if draw_on_page(shape) is None:
        return None
    high = 4.8 if isinstance(shape, Scatter) else 3.6
    if isinstance(shape, Dots | Matrix):
        high = min(1.2 + 0.21 * len(shape.rows), 40)
    sheet = Sheet(figsize=(5.4 if isinstance(shape, Scatter) else 7.2, high), layout="constrained")
    axes = sheet.subplots()
    match shape:
        case Dots():
            _dots(axes, shape)
        case Scatter():
            _scatter(axes, shape)
        case Lines():
            _lines(axes, shape)
        case Bars():
            _bars(axes, shape)
        case Matrix():
            _matrix(sheet, axes, shape)
    axes.set_title(shape.title, fontsize=9, loc="left")
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        sheet.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=8, ncols=min(len(labels), 4))
    return sheet


def _dots(axes: Any, shape: Dots) -> None:
    groups = list(dict.fromkeys(dot.group for dot in shape.rows))
    for place, group in enumerate(groups):
        colour, of = COLOURS[place % len(COLOURS)], [(y, d) for y, d in enumerate(shape.rows) if d.group == group]
        for y, dot in of:
            if dot.low is not None and dot.high is not None:
                axes.hlines(y, dot.low, dot.high, color=colour, alpha=0.45, lw=2.5)
        values = [(dot.value, y) for y, dot in of if dot.value is not None]
        axes.plot(*zip(*values, strict=True) if values else ([], []), "o", color=colour, ms=4.5, label=group or None)
    axes.set_yticks(range(len(shape.rows)), [dot.label for dot in shape.rows])
    axes.set(xlabel=shape.x, ylim=(len(shape.rows) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    _refer(axes.axvline, shape.reference)


def _scatter(axes: Any, shape: Scatter) -> None:
    points = shape.known()
    groups = list(dict.fromkeys(point.group for _, _, point in points))
    for place, group in enumerate(groups):
        of = [(x, y) for x, y, point in points if point.group == group]
        axes.plot(
            *zip(*of, strict=True), "o", color=COLOURS[place % len(COLOURS)], ms=4, alpha=0.8, label=group or None
        )
    if fit := least_squares(shape):
        ends = [min(x for x, _, _ in points), max(x for x, _, _ in points)]
        axes.plot(ends, [fit[0] * x + fit[1] for x in ends], color="#2d2620", lw=1.2, label=f"slope {number(fit[0])}")
    if shape.diagonal:
        both = [value for x, y, _ in points for value in (x, y)]
        axes.plot(*[[min(both), max(both)]] * 2, color="#a39583", lw=0.9, ls=":", label="y = x")
        axes.set_aspect("equal")
    for x, y, point in points if sum(bool(p.label) for _, _, p in points) <= NAMED else ():
        axes.annotate(point.label, (x, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set(xlabel=shape.x, ylabel=shape.y)


def _lines(axes: Any, shape: Lines) -> None:
    for place, one in enumerate(shape.series):
        colour, points = COLOURS[place % len(COLOURS)], one.known()
        if band := [(x, low, high) for x, _, low, high in points if low is not None and high is not None]:
            axes.fill_between(*zip(*band, strict=True), color=colour, alpha=0.16, lw=0)
        marked = "o-" if len(points) <= MARKED else "-"
        axes.plot([p[0] for p in points], [p[1] for p in points], marked, color=colour, ms=3.5, lw=1.6, label=one.name)
    axes.set(xlabel=shape.x, ylabel=shape.y)
    _refer(axes.axhline, shape.reference)


def _bars(axes: Any, shape: Bars) -> None:
    values, places = [value or 0.0 for value in shape.values], range(len(shape.values))
    if max(map(len, shape.labels)) > LABEL:
        axes.barh(places, values, color=COLOURS[0])
        axes.set_yticks(places, shape.labels)
        axes.invert_yaxis()
        axes.set(xlabel=shape.y or shape.x)
        _refer(axes.axvline, shape.reference)
        return
    every = -(-len(values) // 16)
    axes.bar(places, values, color=COLOURS[0])
    axes.set_xticks(places[::every], shape.labels[::every])
    axes.set(xlabel=shape.x, ylabel=shape.y)
    _refer(axes.axhline, shape.reference)


def _matrix(sheet: Any, axes: Any, shape: Matrix) -> None:
    rows = [[float("nan") if value is None else value for value in row] for row in shape.values]
    every = [value for row in shape.values for value in row if value is not None]
    reach = max(abs(value) for value in every)
    ends = {"cmap": "PuOr_r", "vmin": -reach, "vmax": reach} if min(every) < 0 else {"cmap": "YlOrBr"}
    sheet.colorbar(axes.imshow(rows, aspect="auto", **ends))
    if max(len(shape.rows), len(shape.columns)) <= NUMBERS:
        for y, row in enumerate(shape.values):
            for x, value in enumerate(row):
                axes.text(x, y, number(value), ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(shape.columns)), shape.columns, rotation=90, fontsize=7)
    axes.set_yticks(range(len(shape.rows)), shape.rows, fontsize=7)


def _refer(line: Any, reference: Reference | None) -> None:
    if reference and reference.value is not None:
        line(reference.value, color="#a39583", lw=0.9, ls=":", label=reference.label or None)


def _save(run: Run, name: str, figure: Any) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=160)
    files.write(run.path / "figures" / name, picture.getvalue())
