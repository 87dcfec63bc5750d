"""The leaderboard, the training curves and the figures of the findings as PNG files in `figures/` of each run."""

from yosegi.reporting.boards import Board, boards
from yosegi.reporting.draw import png
from yosegi.reporting.draw.figure import draw
from yosegi.reporting.draw.marks import Axis, Row, Rows
from yosegi.reporting.draw.scale import ticks
from yosegi.reporting.format import number
from yosegi.reporting.read import Results
from yosegi.reporting.sections import training, validation


def write(results: Results) -> None:
    """Writes leaderboard.png, curves.png, validation.png and finding-1.png, … (numbered as in findings.json)."""
    for run in results.runs:
        folder = run.path / "figures"
        alone = Results([run], [m for m in results.measurements if m.run == run.name])
        for board in boards(alone)[:1]:
            panels = [(task, _column(board, place)) for place, task in enumerate(board.tasks)]
            png.write(folder / "leaderboard.png", panels, len(panels), x=f"{board.name}, with the 95 % interval")
        if charts := training.charts(alone):
            png.write(folder / "curves.png", [(chart.title, chart.plot) for chart in charts], legend=charts[0].legend)
        panels, legend = validation.plots(alone)
        if panels:
            png.write(folder / "validation.png", panels, len(panels), legend)
        for place, finding in enumerate(run.findings.findings if run.findings else (), 1):
            if finding.figure and (drawing := draw(finding.figure)):
                png.write(folder / f"finding-{place}.png", [(finding.figure.title, drawing)])


def _column(board: Board, place: int) -> Rows:
    """Returns one task of the leaderboard: a row per model with its interval, grey inside the noise, and a line at the base."""
    low, high = board.axis[board.metric[board.tasks[place]]]
    rows = Rows(board.tasks[place])
    rows.ticks = [(100 * (t - low) / (high - low or 1), f"{t:g}") for t in ticks(low, high, 3)]
    for line in board.lines:
        score = line.scores[place]
        colour = "ink" if line.is_base else "other" if score.noise else "c0" if score.tint >= 0 else "c1"
        axis = score.axis or Axis(None, None)
        rows.rows.append(Row(line.model, colour, axis, number(score.value), ""))
        if line.is_base and axis.mark is not None:
            rows.reference = (axis.mark, "")
    return rows
