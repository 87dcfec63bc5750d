"""Two runs side by side: the same arms on the same tasks, question by question, and the settings that differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yosegi.evaluation.exact import ALPHA
from yosegi.reporting.boards import Board
from yosegi.reporting.comparisons import Comparison, low_is_good
from yosegi.reporting.format import flat, known
from yosegi.reporting.read import Measurement, Run

UNSAID = ("started", "command", "run", "git", "pid", "host", "fingerprint")
"""Settings in which any two runs differ."""

Scores = list[dict[str, float]]
"""Of each seed, by question."""


@dataclass(frozen=True)
class Against:
    """What two runs have in common and what not. `unlike` has rows of a setting, what it was there, and what it is here."""

    rows: list[Comparison]
    unlike: list[tuple[str, str, str]]
    here: list[str]
    there: list[str]
    """Arms and tasks that only one of them has."""
    partly: list[str]
    """Tasks of which only some questions are in both."""


def against(board: Board, other: Board, runs: tuple[Run, Run]) -> Against:
    """Compares the first metric of each task of one run with that of another run, whose board and folder stand second."""
    rows, partly = [], []
    shared = [key for key in board.rows if key in other.rows and board.metric[key[1]] == other.metric[key[1]]]
    for model, task in shared:
        mine, theirs = board.rows[model, task], other.rows[model, task]
        after, before = (_scores(run, of) for run, of in zip(runs, (mine, theirs), strict=True))
        seeds = min(len(after), len(before))
        sides = [*after[:seeds], *before[:seeds]]
        ids = [key for key in sides[0] if all(key in side for side in sides)] if sides else []
        if ids and any(len(side) > len(ids) for side in sides):
            partly.append(f"{task} ({len(ids)} of {max(map(len, sides))})")
        rows.append(
            _compare(
                board, other, mine[0], [[[s[key] for key in ids] for s in side[:seeds]] for side in (after, before)]
            )
        )
    here, there = (
        [f"{model} on {task}" for model, task in one.rows if (model, task) not in shared] for one in (board, other)
    )
    return Against(rows, unlike(*runs), here, there, list(dict.fromkeys(partly)))


def unlike(run: Run, other: Run) -> list[tuple[str, str, str]]:
    """Returns every setting that differs: of the configuration, of the environment, and what the rows were measured with."""
    mine, theirs = (
        dict(flat(one.config or {})) | dict(flat(one.env or {})) | _measured_with(one.rows) for one in (run, other)
    )
    names = [name for name in {**theirs, **mine} if name.rpartition(".")[2] not in UNSAID and name != "value"]
    return [(n, theirs.get(n, ""), mine.get(n, "")) for n in names if mine.get(n, "") != theirs.get(n, "")]


def _measured_with(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    columns = {
        "seeds": "seed",
        "questions of a task": "n",
        "weights of the base": "base_hash",
        "template": "chat_template",
    }
    several = {
        name: sorted({str(row[key]) for row in rows if row.get(key) is not None}) for name, key in columns.items()
    }
    return {name: " ".join(values) for name, values in several.items() if values}


def _scores(run: Run, measured: Sequence[Measurement]) -> Scores:
    by_seed = [{str(row["id"]): float(row["score"]) for row in run.items(m)} for m in measured]
    return [scores for scores in by_seed if scores]


def _compare(board: Board, other: Board, m: Measurement, sides: list[list[list[float]]]) -> Comparison:
    """Returns the paired difference of scores [seeds][questions], after and before; without any, that of the two means."""
    after, before = sides
    key = (m.model, m.task)
    now, then, row, p = board.values[key], other.values[key], {}, float("nan")
    if after and after[0]:
        from yosegi.evaluation.statistics import compare, difference_p, over_seeds  # numpy: only where it is needed

        now, then = (sum(map(sum, side)) / (len(side) * len(side[0])) for side in (after, before))
        if len(after) == 1:
            paired = compare(after[0], before[0])
            row = {
                key: getattr(paired, key) for key in ("diff_low", "diff_high", "gained", "lost", "mid_p", "detectable")
            }
            p = paired.p_value
        else:
            _, low, high = over_seeds(after, before)
            row, p = {"diff_low": low, "diff_high": high}, difference_p(after, before)
    diff = now - then
    up = -diff if low_is_good(m.metric) else diff
    verdict = (
        "not paired" if known(p) is None else "noise" if p > ALPHA or not diff else "better" if up > 0 else "worse"
    )
    measured = Measurement(
        m.run, m.model, m.task, m.metric, now, None, None, None, m.seed, row | {"diff": diff, "then": then}
    )
    return Comparison(measured, m.model, other.results.runs[0].name, m.task, m.metric, "", p, verdict)
