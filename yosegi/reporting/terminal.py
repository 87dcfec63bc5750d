"""The leaderboard as text: models down, tasks across, the best of each column marked."""

from collections.abc import Mapping, Sequence
from typing import Any

FEW = 20
"""Questions. Of fewer the leaderboard says so."""


def leaderboard(rows: Sequence[dict[str, Any]]) -> None:
    """Print result rows: the task's own metric with its interval, then the log-likelihood of the gold answer."""
    from rich.console import Console
    from rich.table import Table

    measured = [row for row in rows if "against" not in row]
    tasks = list(dict.fromkeys(row["task"] for row in measured))
    for own in (True, False):
        chosen: dict[tuple[str, str], dict[str, Any]] = {}
        for row in measured:  # the first metric of a task is its own
            if (row["metric"] != "logp") == own:
                chosen.setdefault((row["model"], row["task"]), row)
        if not chosen:
            continue
        values_of = {task: [r["value"] for (_, t), r in chosen.items() if t == task] for task in tasks}
        best = {task: max(v) if min(v) < max(v) or len(v) == 1 else None for task, v in values_of.items()}
        asked = {task: next(r.get("n", "?") for (_, t), r in chosen.items() if t == task) for task in tasks}
        metric = {task: f"{next(r['metric'] for (_, t), r in chosen.items() if t == task)}\n" for task in tasks}
        guessed = {task: _chance(next(r for (_, t), r in chosen.items() if t == task)) for task in tasks}
        title = (
            "score, and its 95 % interval (* highest)"
            if own
            else "mean log p of the gold answer, per token (* highest)"
        )
        table = Table(
            "",
            *(
                f"{_short(task)}\n{metric[task] if own else ''}n={asked[task]}{guessed[task] if own else ''}"
                for task in tasks
            ),
            "mean",
            title=title,
            title_justify="left",
            box=None,
        )
        for model in dict.fromkeys(model for model, _ in chosen):
            cells, values = [], []
            for task in tasks:
                row = chosen.get((model, task))
                if row is None:
                    cells.append("–")
                    continue
                values.append(row["value"])
                star = "*" if row["value"] == best[task] else " "
                about = f" {_digits(row['ci_low'])}–{_digits(row['ci_high'])}" if own else ""
                cells.append(f"{row['value']:.2f}{star}{about}")
            whole = len(values) == len(tasks)
            table.add_row(model, *cells, f"{sum(values) / len(values):.2f}" if whole else "–")
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=max(120, 16 * (len(tasks) + 2)))
        console.print(table)
        if own and (few := [f"{_short(task)} ({asked[task]})" for task in tasks if asked[task] in range(1, FEW)]):
            console.print(f"Few questions, so that little can be told apart: {', '.join(few)}.", soft_wrap=True)
        if own and (cut := [said for task in tasks if (said := _cut(task, chosen))]):
            console.print(f"Cut off at the limit of new tokens: {', '.join(cut)} of the answers.", soft_wrap=True)


def _cut(task: str, chosen: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """How many answers of a task were cut off, by the fewest and the most of all models; a base that never ends is no news."""
    shares = [row.get("truncated") or 0.0 for (model, of), row in chosen.items() if of == task and model != "base"]
    if not any(shares):
        return ""
    least, most = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return f"{_short(task)} {most if least == most else f'{least} to {most}'}"


def _digits(value: float) -> str:
    """.08, 1.0, 12.3: three characters are enough for the ends of an interval."""
    return f"{value:.2f}"[1:] if 0 <= value < 0.995 else f"{value:.1f}"


def _short(task: str) -> str:
    before, _, name = task.rpartition("/")
    if name in ("rank", "choices"):  # the same questions, asked in another way
        return f"{_short(before)}/{name}"
    return name if len(name) <= 14 else f"{name[:10]}…{name[-3:]}"


def _chance(row: dict[str, Any]) -> str:
    """What guessing is worth, where that is known."""
    return f"\nchance {row['chance']:.2f}" if row.get("chance") is not None else ""
