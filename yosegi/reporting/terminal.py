"""The leaderboard as text: models down, tasks across, the best of each column marked."""

from collections.abc import Sequence
from pathlib import Path

from yosegi.reporting.boards import Board, boards
from yosegi.reporting.format import known
from yosegi.reporting.read import Results, Row, Run, gather

FEW = 20
"""A task with fewer questions is named as one that tells little apart."""
LOGP = "logp"


def leaderboard(rows: Sequence[Row]) -> None:
    """Prints result rows: the task's own metric with its interval, then the log-likelihood of the gold answer."""
    from rich.console import Console

    results = gather([Run(Path(), "", [row for row in rows if row.get("against") is None])])
    made = boards(results)
    for board in [*made[:1], *(board for board in made[1:] if board.name == LOGP)]:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=max(120, 16 * (len(board.tasks) + 2)))
        is_logp = board.name == LOGP
        console.print(_table(board, is_logp))
        for line in () if is_logp else _warnings(results, board):
            console.print(line, soft_wrap=True)


def _table(board: Board, is_logp: bool) -> object:
    from rich.table import Table

    title = "mean log p of the gold answer, per token" if is_logp else "score, and its 95 % interval"
    heads = ["\n".join([_short(task), *board.head(task, not is_logp).split(", ")]) for task in board.tasks]
    table = Table("", *heads, "mean", title=f"{title} (* best)", title_justify="left", box=None)
    for line in board.lines:
        cells = []
        for score in line.scores:
            interval = "" if score.low is None or is_logp else f" {_digits(score.low)}–{_digits(score.high or 0.0)}"
            cells.append("–" if score.value is None else f"{score.value:.2f}{'*' if score.best else ' '}{interval}")
        table.add_row(line.model, *cells, "–" if line.mean.value is None else f"{line.mean.value:.2f}")
    return table


def _warnings(results: Results, board: Board) -> list[str]:
    """Tasks with few questions, and answers that were cut off; that a base never ends is no news."""
    lines, few, cut = [], [], []
    for task in board.tasks:
        rows = [m.row for m in results.scores if m.task == task and m.metric == board.metric[task]]
        n = known(rows[0].get("n"))
        if n is not None and n < FEW:
            few.append(f"{_short(task)} ({n})")
        shares = [row.get("truncated") or 0.0 for row in rows if row["model"] != "base"]
        if any(shares):
            least, most = f"{min(shares):.0%}", f"{max(shares):.0%}"
            cut.append(f"{_short(task)} {most if least == most else f'{least} to {most}'}")
    if few:
        lines.append(f"Few questions, so that little can be told apart: {', '.join(few)}.")
    if cut:
        lines.append(f"Cut off at the limit of new tokens: {', '.join(cut)} of the answers.")
    return lines


def _digits(value: float) -> str:
    """.08, 1.0, 12.3: three characters are enough for the ends of an interval."""
    return f"{value:.2f}"[1:] if 0 <= value < 0.995 else f"{value:.1f}"


def _short(task: str) -> str:
    before, _, name = task.rpartition("/")
    if name in ("rank", "choices"):  # the same questions, asked in another way
        return f"{_short(before)}/{name}"
    return name if len(name) <= 14 else f"{name[:10]}…{name[-3:]}"
