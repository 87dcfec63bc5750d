"""The leaderboard and the training curves as PNG, for a paper or a README. Only this file and clusters.py need matplotlib."""

import io
import warnings
from typing import Any

from yosegi import files
from yosegi.report import curves, leaderboard
from yosegi.report.read import Found, Run

CJK = ("Hiragino Sans", "Noto Sans CJK JP", "Noto Sans JP", "Yu Gothic", "Meiryo", "IPAexGothic", "IPAGothic")
COLOURS = ("#2b78b8", "#d9662a", "#4f9a5b", "#9a5bb0", "#c9a227", "#33a0a0", "#c44e6e", "#7a5a44", "#6b7fd1", "#8a8f2f")


def draw(found: Found) -> None:
    """Write `figures/leaderboard.png` and `figures/curves.png` of each run that has the data."""
    import matplotlib

    words = [word for m in found.plain for word in (m.model, m.task)]
    words += [str(row.get("expert")) for run in found.runs for row in run.metrics]
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
        axes.set(xlabel="step", ylabel="loss", title=chart.stage, yscale="log" if chart.log else "linear")
        axes.legend(frameon=False, fontsize=8, ncols=1 + len(chart.curves) // 12)
    return figure


def _save(run: Run, name: str, figure: Any) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=160)
    files.write(run.path / "figures" / name, picture.getvalue())
