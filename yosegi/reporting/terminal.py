"""The leaderboard as text: models down, tasks across, the best of each column marked."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from yosegi.reporting.boards import Board, boards
from yosegi.reporting.read import Results, Row, Run, gather
from yosegi.reporting.verdict import verdict

FEW = 30
"""A task with fewer questions is named as one that tells little apart, with how far a score of it may be off."""
UNREAD = 0.3
"""From this share of answers on that could not be read, the score measures the form of the answers."""
LOGP = "logp"


def leaderboard(rows: Sequence[Row], folder: Path | None = None) -> None:
    """Prints result rows: the task's own metric with its interval, then the log-likelihood of the gold answer.

    Args:
        rows: of one evaluation.
        folder: of its run; with it the verdict stands below, what won and by how much.
    """
    from rich.console import Console

    results = gather([Run(folder or Path(), "", [row for row in rows if row.get("against") is None])])
    made = boards(results)
    for board in [*made[:1], *(board for board in made[1:] if board.name == LOGP)]:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=max(80, 13 * (len(board.tasks) + 2)))
        is_logp = board.name == LOGP
        console.print(_table(board, is_logp))
        for line in () if is_logp else [*_warnings(results, board), *_could_be_seen(rows, board)]:
            console.print(line, soft_wrap=True)
    if folder and made and (words := verdict(made[0])):
        print(f"\n{words}")


def _table(board: Board, is_logp: bool) -> object:
    from rich.table import Table

    title = "mean log p of the gold answer, per token" if is_logp else "score, and its 95 % interval"
    heads = ["\n".join([_short(task), *board.head(task, not is_logp).split(", ")]) for task in board.tasks]
    table = Table("", *heads, "mean", title=f"{title} (* best)", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for line in board.lines:
        cells = []
        for score in line.scores:
            interval = "" if score.low is None or is_logp else f" {_digits(score.low)}–{_digits(score.high or 0.0)}"
            cells.append(
                "–" if score.value is None else f"{_digits(score.value)}{'*' if score.best else ' '}{interval}"
            )
        table.add_row(line.model, *cells, "–" if line.mean.value is None else _digits(line.mean.value))
    return table


def _warnings(results: Results, board: Board) -> list[str]:
    """Tasks with few questions, and answers that were cut off; that a base never ends is no news."""
    few, cut, unread = [], [], []
    for task in board.tasks:
        rows = [m for m in results.scores if m.task == task and m.metric == board.metric[task]]
        if rows[0].n is not None and rows[0].n < FEW:
            few.append(
                f"{_short(task)} ({rows[0].n}: ±{0.98 / max(1, rows[0].n) ** 0.5:.2f})"
            )  # 95 %, at a score of .5
        shares = [m.number("truncated") or 0.0 for m in rows if m.row["model"] != "base"]
        if any(shares):
            least, most = f"{min(shares):.0%}", f"{max(shares):.0%}"
            cut.append(f"{_short(task)} {most if least == most else f'{least} to {most}'}")
        worst = max(rows, key=lambda m: m.number("parse_failures") or 0.0)
        if (share := worst.number("parse_failures") or 0.0) > UNREAD:
            unread.append(f"{_short(task)} ({share:.0%} of {worst.row['model']})")
    words = {"Few questions, so that little can be told apart: {}.": few}
    words |= {"Cut off at the limit of new tokens: {} of the answers.": cut}
    words |= {
        "No answer could be read out of many texts: {}. The score there is of the form, not of what is known: show worked "
        "examples (TASK/4shot), use the model's chat template, allow longer answers, or score choices by likelihood.": unread
    }
    return [sentence.format(", ".join(tasks)) for sentence, tasks in words.items() if tasks]


def _could_be_seen(rows: Sequence[Row], board: Board) -> list[str]:
    """Returns how small a difference from the first arm each task could have shown: of several arms the median."""
    by_task: dict[str, list[float]] = {}
    for row in rows:
        metric = board.metric.get(row["task"])
        if row.get("against") and row["metric"] == f"{metric}_diff" and row.get("detectable") is not None:
            by_task.setdefault(row["task"], []).append(row["detectable"])
    if not by_task:
        return []
    shown = ", ".join(f"{_short(task)} {_digits(median(values))}" for task, values in by_task.items())
    return [f"A difference that could be seen, in four of five cases: {shown}. A smaller one is not excluded."]


def _digits(value: float) -> str:
    """Returns a number in three characters, such as .08, 1.0 and 12.3, so that four tasks fit into 80 columns."""
    return f"{value:.2f}"[1:] if 0 <= value < 0.995 else f"{value:.1f}" if value >= 0 else f"{value:.2f}"


def _short(task: str) -> str:
    before, _, name = task.rpartition("/")
    if name in ("rank", "choices", "written"):  # the same questions, asked in another way
        return f"{_short(before)}/{name}"
    return name if len(name) <= 14 else f"{name[:10]}…{name[-3:]}"
