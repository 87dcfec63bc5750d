"""The top of the page: what was run, on what, and what came of it in a few sentences."""

from pathlib import Path
from typing import Any

from yosegi.reporting.comparisons import left_by_holm
from yosegi.reporting.context import Context
from yosegi.reporting.read import Run
from yosegi.reporting.verdict import flat_because, verdict

TITLE = ""
LINK = ""
LOGP = "logp"
PRINTED = 0.0005
"""A smaller difference is printed as zero."""


def section(context: Context) -> dict[str, Any]:
    """Everything above the navigation."""
    results, rows = context.results, context.comparisons
    runs = results.runs
    verdicts = {kind: sum(row.verdict == kind for row in rows) for kind in ("better", "worse", "noise")}
    with_base = all(row.against in results.bases.values() for row in rows)
    return {
        "title": runs[0].name if len(runs) == 1 else f"{len(runs)} runs: {', '.join(run.name for run in runs)}",
        "models": len(results.models),
        "tasks": len(results.tasks),
        "questions": sorted({m.n for m in results.scores if m.n is not None}),
        "runs": [_facts(run, len(runs) > 1) for run in runs],
        "sentence": verdict(context.boards[0]) if context.boards else "",
        "flat": flat_because(context.boards[0], rows) if context.boards else "",
        "best": _best(context),
        "verdicts": verdicts | {"all": len(rows), "with_base": with_base, "holm": left_by_holm(row.p for row in rows)},
        "loss": _loss(context),
    }


def _facts(run: Run, several: bool) -> dict[str, str]:
    env, config = (value if isinstance(value, dict) else {} for value in (run.env, run.config))
    versions, recipe = env.get("versions"), config.get("recipe") or config.get("command")
    hashes: dict[str, set[str]] = {}
    for row in (*run.rows, *(card for card, _ in run.experts)):
        if row.get("base"):
            name = str(row["base"])
            name = Path(name).name if Path(name).is_absolute() else name
            hashes.setdefault(name, set()).add(str(row.get("base_hash") or "")[:8])
    bases = [
        f"{name}@{of}" if of else name for name, of_name in hashes.items() for of in sorted(of_name - {""}) or [""]
    ]
    facts = {
        "run": run.name if several else "",
        "recipe": recipe if isinstance(recipe, str) else "",
        "base": ", ".join(bases) or str(config.get("base") or ""),
        "when": run.when or "",
        "device": str(env.get("device") or ""),
        "yosegi": str(versions.get("yosegi") or "") if isinstance(versions, dict) else "",
        "commit": str(env.get("git") or "")[:8],
    }
    return {name: value for name, value in facts.items() if value}


def _best(context: Context) -> dict[str, Any] | None:
    """Returns the best mean, and whether it can be told from the next. An oracle is told the task, so it does not win."""
    if not context.boards:
        return None
    board = context.boards[0]
    free, oracles = board.ranked
    if not free or len({line.mean.value for line in (*free, *oracles)}) < 2:  # one model, or all the same
        return None
    first, second = free[0].model, next((line.model for line in free[1:]), "")
    tasks = context.digests.get("pairs", [])
    pairs = [row for task in tasks for row in task["rows"] if {row.a, row.b} == {first, second}]
    return {
        "board": board,
        "model": first,
        "mean": free[0].mean,
        "noise": {row.verdict for row in context.comparisons if row.model == first} == {"noise"},
        "tied": second if pairs and all(row.noise for row in pairs) else "",
        "oracles": oracles,
    }


def _loss(context: Context) -> dict[str, Any] | None:
    """Returns the largest loss against the base, by the score or by log p; one outside the noise comes before any inside it."""
    p_of = {(row.model, row.task, row.metric): row.p for row in context.comparisons}
    scores = [
        (score.noise, score.tint, score.change, line.model, task, board.metric[task])
        for board in [*context.boards[:1], *(board for board in context.boards[1:] if board.name == LOGP)]
        for line in board.lines
        for score, task in zip(line.scores, board.tasks, strict=True)
        if score.change is not None
    ]
    if not scores:
        return None
    lost = [score for score in scores if score[1] < 0 and abs(score[2]) >= PRINTED]
    if not lost:
        return {"change": None}
    _, _, change, model, task, metric = min(lost, key=lambda score: score[:2])
    return {"change": change, "model": model, "task": task, "metric": metric, "p": p_of.get((model, task, metric))}
