"""What won, by how much, and how sure that is: one or two sentences under the leaderboard."""

from yosegi.evaluation.statistics import over_tasks
from yosegi.reporting.boards import Board


def verdict(board: Board) -> str:
    """Returns the verdict on the leaderboard of one run in words; "" where no means over the tasks can be compared.

    An arm that is told the task (oracle) does not win; it is named for comparison.
    """
    free, oracles = board.ranked
    if len(board.means) < 2 or not free:
        return ""
    first, *others = [line.model for line in free]
    base = board.results.base_of[first]
    name = next(iter(board.axis)) if len(board.axis) == 1 else "score"
    mean = f"a mean {name} of {board.means[first]:.2f} over {len(board.tasks)} tasks"
    if first == base:
        words = [f"No arm is above the base, which has {mean}."]
    elif base in board.means:
        words = [f"{first} won: {mean}, {_apart(board, first, base)} than the base."]
    else:
        words = [f"{first} won: {mean}."]
    if others and others[0] != base:
        words.append(f"Against {others[0]}, the next: {_apart(board, first, others[0])}.")
    words += [f"{line.model}, which is told the task, has {line.mean.value:.2f}." for line in oracles]
    return " ".join(words)


def _apart(board: Board, model: str, other: str) -> str:
    """Returns the difference of two arms with its interval, paired question by question."""

    def scores(arm: str, task: str) -> dict[str, float]:
        (run,) = board.results.runs
        return {str(item["id"]): float(item["score"]) for m in board.rows[arm, task] for item in run.items(m)}

    differences = []
    several = any(len(board.rows[arm, task]) > 1 for arm in (model, other) for task in board.tasks)  # seeds
    for task in () if several else board.tasks:
        ours, theirs = scores(model, task), scores(other, task)
        differences.append([ours[id] - theirs[id] for id in ours if id in theirs])
    if not differences or not all(differences):
        return f"{abs(board.means[model] - board.means[other]):.2f} apart"
    mean, low, high = over_tasks(differences)
    way = "more" if mean >= 0 else "less"
    low, high = (low, high) if mean >= 0 else (-high, -low)
    noise = "" if low > 0 else "; inside the noise"
    return f"{abs(mean):.2f} {way} (95 % interval {low:.2f} to {high:.2f}{noise})"
