"""What won, by how much, and how sure that is: one or two sentences under the leaderboard."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from statistics import fmean, median

from yosegi.evaluation.exact import POWER
from yosegi.reporting.boards import SHARE, Board
from yosegi.reporting.comparisons import Comparison, low_is_good
from yosegi.reporting.curves import smooth, stages
from yosegi.reporting.format import known

STEPS, ROWS, QUESTIONS = 100, 50, 50
"""With fewer training steps, training rows or questions these are named where a table is flat."""
LEARNT = 0.05
"""A training whose loss fell by a smaller share has hardly learnt anything."""


def verdict(board: Board) -> str:
    """Returns the verdict on the leaderboard of one run in words; "" where there is nothing to compare.

    Where the tasks have several metrics, which have no mean, arms are compared by the questions that each answers better.
    An arm that is told the task (oracle) does not win; it is named for comparison.
    """
    free, oracles = board.ranked
    if len(board.means) < 2 or not free or len(board.results.runs) != 1:
        return ""
    first, *others = [line.model for line in free]
    base, by_rank = board.results.base_of[first], board.summary == "mean rank"
    several = f" over {len(board.tasks)} tasks" if len(board.tasks) > 1 else ""
    mean = f"a {board.summary or 'score'} of {board.means[first]:.2f}{several}"
    if not by_rank and board.summary:
        mean = f"a mean {board.name} of {board.means[first]:.2f}{several}"
    if by_rank:
        mean = f"a mean rank of {board.means[first]:.1f} among {len(board.means)}{several}"
    if first == base:
        words = [f"No arm is above the base, which has {mean}."]
    elif base in board.means:
        words = [f"{first} won: {mean}; against the base {_apart(board, first, base)}."]
    else:
        words = [f"{first} won: {mean}."]
    if others and others[0] != base:
        words.append(f"Against {others[0]}, the next: {_apart(board, first, others[0])}.")
    if any("interval" in sentence for sentence in words):
        several = max(len(board.rows[first, task]) for task in board.tasks) > 1
        words.append(
            f"The intervals speak of other questions{' and other seeds' if several else ', not of other trainings'}."
        )
    words += [f"{line.model}, which is told the task, has {line.mean.value:.2f}." for line in oracles]
    return " ".join(words)


def flat_because(board: Board, comparisons: Sequence[Comparison]) -> str:
    """Returns what a table without any difference may be due to: little training, few questions; "" where there are some."""
    if any(row.verdict != "noise" for row in comparisons) or not comparisons and len(set(board.means.values())) != 1:
        return ""
    if len(board.lines) < 2:
        return ""
    results = board.results
    short: dict[str, float] = {}
    few_rows: dict[str, float] = {}
    unmoved: dict[str, float] = {}
    for curve in (curve for of_stage in stages(results).values() for curve in of_stage):
        steps, losses = curve.last("step"), curve.values("loss")
        if steps is not None and steps < STEPS:
            short[curve.name] = steps
        if len(losses) > 1 and not curve.values("reward") and (last := smooth(losses)[-1]) > (1 - LEARNT) * losses[0]:
            unmoved[curve.name] = losses[0] and 1 - last / losses[0]
    for card in (card for run in results.runs for card, _ in run.experts if isinstance(card.get("metrics"), dict)):
        if (rows := known(card["metrics"].get("rows"))) is not None and rows < ROWS:
            few_rows[str(card.get("name"))] = rows
    asked = {task: m.n for (_, task), of in board.rows.items() for m in of if m.n is not None and m.n < QUESTIONS}
    seen = [value for row in comparisons if (value := row.measured.number("detectable")) is not None]
    words = {
        "few training steps": short,
        "few training rows": few_rows,
        "a loss that hardly fell": unmoved,
        "few questions": asked,
    }
    causes = [f"{cause} ({_listed(of)})" for cause, of in words.items() if of]
    if asked and seen:
        causes[-1] += f", so that differences below {median(seen):.2f} are mostly not seen"
    return f"No arm differs from another; the likely causes: {'; '.join(causes)}." if causes else ""


def _listed(of: Mapping[str, float]) -> str:
    """Returns numbers and what has them: "2 to 6: one, another and 4 more"; a share says no number."""
    low, high = min(of.values()), max(of.values())
    names = ", ".join(list(of)[:2]) + (f" and {len(of) - 2} more" if len(of) > 2 else "")
    return names if high < 1 else f"{low:.0f}{f' to {high:.0f}' if high > low else ''}: {names}"


def _apart(board: Board, model: str, other: str) -> str:
    """Returns the difference of two arms with its interval, paired question by question, and over their seeds."""
    by_rank = board.summary == "mean rank"
    if by_rank:
        better, worse = (_paired(board, *pair, lambda d: float(d > 1e-9)) for pair in ((model, other), (other, model)))
        signs = _paired(board, model, other, lambda d: float((d > 1e-9) - (d < -1e-9)))
        if not signs:
            return "no question can be paired"
        more, less = (fmean(fmean(map(fmean, of_task)) for of_task in side) for side in (better, worse))
        words = f"better on {more:.0%} of the questions and worse on {less:.0%} (net "
    elif not (signs := _paired(board, model, other, float)):
        return f"{abs(board.means[model] - board.means[other]):.2f} apart"
    else:
        words = ""
    mean, low, high = _interval(signs)
    if not isfinite(high - low):
        return (
            f"{abs(mean):.2f} {'more' if mean >= 0 else 'less'}, of which a single question of a task can say nothing"
        )
    if not words:
        words = f"{abs(mean):.2f} {'more' if mean >= 0 else 'less'} ("
        mean, low, high = (mean, low, high) if mean >= 0 else (-mean, -high, -low)
    else:
        words += f"{mean:+.2f}, "
    seen, bounded = POWER * (high - low) / 2, by_rank or set(board.axis.values()) == {SHARE}
    low, high = (max(low, -1.0), min(high, 1.0)) if bounded else (low, high)
    possible = "none" if bounded and seen >= 1 else f"{seen:.2f}"
    noise = "" if low > 0 or high < 0 else f"; no difference was found, and {possible} could have been"
    return f"{words}95 % interval {low:.2f} to {high:.2f}{noise})"


def _interval(by_task: list[list[list[float]]]) -> tuple[float, float, float]:
    """Returns the mean of differences [tasks][seeds][questions], each task counted alike, and its interval."""
    from yosegi.evaluation.statistics import over_seeds, over_tasks  # numpy: only where it is needed

    seeds, total = min(map(len, by_task)), sum(len(of_task[0]) for of_task in by_task)
    if seeds == 1:
        return over_tasks([of_task[0] for of_task in by_task])
    weights = [total / (len(by_task) * len(of_task[0])) for of_task in by_task]
    rows = [[d * w for of, w in zip(by_task, weights, strict=True) for d in of[seed]] for seed in range(seeds)]
    return over_seeds(rows, [[0.0] * total] * seeds)


def _paired(board: Board, model: str, other: str, of: Callable[[float], float]) -> list[list[list[float]]]:
    """Returns a value of each paired difference [tasks][seeds][questions], better being positive; [] where a task has none.

    An arm of one seed (a base has no more) stands against each seed of the other.
    """
    (run,) = board.results.runs
    by_task = []
    for task in board.tasks:
        mine, theirs = (
            [
                scores
                for m in board.rows[arm, task]
                if (scores := {str(i["id"]): float(i["score"]) for i in run.items(m)})
            ]
            for arm in (model, other)
        )
        if not mine or not theirs:
            return []
        few, many = sorted((len(mine), len(theirs)))
        seeds = many if few == 1 else few
        mine, theirs = ((side * seeds if len(side) == 1 else side)[:seeds] for side in (mine, theirs))
        ids = [key for key in mine[0] if all(key in side for side in (*mine, *theirs))]
        sign = -1 if low_is_good(board.metric[task]) else 1
        by_task.append([[of(sign * (a[key] - b[key])) for key in ids] for a, b in zip(mine, theirs, strict=True)])
    return by_task if all(of_task[0] for of_task in by_task) else []
