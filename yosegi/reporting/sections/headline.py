"""The top of the page: what was run, on what, and what came of it in a few sentences."""

from typing import Any

from yosegi.reporting.comparisons import holm
from yosegi.reporting.context import Context
from yosegi.reporting.format import number, plural, probability, signed
from yosegi.reporting.read import Results, Run

TITLE = ""
LINK = ""


Tile = tuple[str, str, str, str]
"""A small heading, a large word or number, a line below, and a CSS class."""


def section(context: Context) -> dict[str, Any]:
    """Everything above the navigation."""
    runs = context.results.runs
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs: {', '.join(run.name for run in runs)}"
    facts = [_facts(run, len(runs) > 1) for run in runs]
    tiles = [tile for tile in (_best(context), _verdicts(context), _loss(context)) if tile is not None]
    return {"title": title, "lead": _lead(context.results), "runs": facts, "tiles": tiles}


def _lead(results: Results) -> str:
    lead = f"{plural(len(results.models), 'model')} on {plural(len(results.tasks), 'task')}"
    counts = [m.n for m in results.scores if m.n is not None]
    if not counts:
        return lead if results.scores else ""
    several = f" to {max(counts):,}" if max(counts) > min(counts) else ""
    return f"{lead}, {min(counts):,}{several} questions each"


def _facts(run: Run, several: bool) -> list[tuple[str, str]]:
    env = run.env if isinstance(run.env, dict) else {}
    config = run.config if isinstance(run.config, dict) else {}
    versions = env.get("versions")
    hashes: dict[str, set[str]] = {}
    for row in (*run.rows, *(card for card, _ in run.experts)):
        if row.get("base"):
            hashes.setdefault(str(row["base"]), set()).add(str(row.get("base_hash") or "")[:8])
    bases = [f"{name}@{of}" if of else name for name, some in hashes.items() for of in sorted(some - {""}) or [""]]
    recipe = config.get("recipe") or config.get("command")
    facts = {
        "run": run.name if several else "",
        "recipe": recipe if isinstance(recipe, str) else "",
        "base": ", ".join(bases) or str(config.get("base") or ""),
        "when": run.when or "",
        "device": str(env.get("device") or ""),
        "yosegi": str(versions.get("yosegi") or "") if isinstance(versions, dict) else "",
        "commit": str(env.get("git") or "")[:8],
    }
    return [(name, value) for name, value in facts.items() if value]


def _best(context: Context) -> Tile | None:
    """The best mean; an oracle is told the task, so it is named and does not win."""
    if not context.boards:
        return None
    board, results = context.boards[0], context.results
    oracles = {m.model for m in results.scores if m.row.get("router") == "oracle"}
    sign = 1 if board.low_is_good else -1
    ranked = [line for line in board.lines if line.mean.value is not None]
    free = sorted(
        (line for line in ranked if line.model not in oracles), key=lambda line: sign * (line.mean.value or 0)
    )
    if len(ranked) < 2 or not free:
        return None
    model, mean = free[0].model, free[0].mean
    below = number(mean.value) + (f", the mean of {len(board.tasks)} tasks" if len(board.tasks) > 1 else "")
    below += f"; {signed(mean.change)} against the base" if mean.change is not None else ""
    verdicts = {row.verdict for row in context.comparisons if row.model == model}
    below += ", but on no task outside the noise" if verdicts == {"noise"} else ""
    pairs = [row for task in context.digests.get("pairs", []) for row in task["rows"]]
    noise = [row.noise for row in pairs for other in free[1:2] if {row.a, row.b} == {model, other.model}]
    below += f". On no task can it be told from {free[1].model}, which is next" if noise and all(noise) else ""
    below += "".join(f". Given the task, {o.model}: {number(o.mean.value)}" for o in ranked if o.model in oracles)
    return "Lowest mean" if board.low_is_good else "Highest mean", model, below, ""


def _verdicts(context: Context) -> Tile | None:
    rows = context.comparisons
    if not rows:
        return None
    better, worse, noise = (sum(row.verdict == kind for row in rows) for kind in ("better", "worse", "noise"))
    with_base = all(row.against in context.results.bases.values() for row in rows)
    below = f"{plural(len(rows), 'paired comparison')} {'with the base' if with_base else 'of models'}; the other "
    below += (
        f"{noise} are inside the noise. Judged all together (Holm), {holm(row.p for row in rows)} differences are left."
    )
    return "Better / worse", f"{better} / {worse}", below, ""


def _loss(context: Context) -> Tile | None:
    """The task that some model forgot most; only where the base is known."""
    boards = context.boards[:1]
    scores = [
        (score.tint, score.change, line.model, task)
        for board in boards
        for line in board.lines
        for score, task in zip(line.scores, board.tasks, strict=True)
        if score.change is not None
    ]
    if not scores:
        return None
    tint, change, model, task = min(scores, key=lambda score: score[0])
    if tint >= 0:
        return "Largest loss", "none", "No model is below the base on any task.", ""
    wanted = (model, task, boards[0].metric[task])
    p = next((row.p for row in context.comparisons if (row.model, row.task, row.metric) == wanted), None)
    below = f"{model} on {task}" + (f", p {probability(p)}" if p is not None else "")
    return "Largest loss", signed(change), below, "lost"
