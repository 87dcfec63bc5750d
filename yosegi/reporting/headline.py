"""The top of the page: what was run, on what, and what came of it in a few sentences."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from yosegi.reporting.format import number, probability, signed
from yosegi.reporting.leaderboard import Comparison, Panel, after_holm
from yosegi.reporting.pairs import Pairs
from yosegi.reporting.read import Found, Run


@dataclass(frozen=True)
class Fact:
    """One tile: a small heading, a large word or number, a line below."""

    head: str
    value: str
    below: str
    kind: str = ""


@dataclass
class Headline:
    """Title, the line under it, facts about each run, tiles."""

    title: str
    lead: str
    runs: list[list[tuple[str, str]]]
    facts: list[Fact] = field(default_factory=list)


def headline(found: Found, boards: list[Panel], compared: list[Comparison], paired: Sequence[Pairs] = ()) -> Headline:
    """Everything above the first figure."""
    runs = found.runs
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs: {', '.join(run.name for run in runs)}"
    asked = [m.n for m in found.plain if m.n is not None]
    lead = ""
    if boards:
        models, tasks = len(found.models), len(found.tasks)
        lead = f"{_count(models, 'model')} on {_count(tasks, 'task')}"
        if asked:
            low, high = min(asked), max(asked)
            lead += f", {low:,} questions each" if low == high else f", {low:,} to {high:,} questions each"
    head = Headline(title, lead, [_about(run, len(runs) > 1) for run in runs])
    if boards:
        head.facts = [
            *_standing(boards[0], compared, found, paired),
            *_noise(compared, found),
            *_losses(boards[0], compared),
        ]
    return head


def _about(run: Run, several: bool) -> list[tuple[str, str]]:
    env = run.env if isinstance(run.env, dict) else {}
    config = run.config if isinstance(run.config, dict) else {}
    hashes: dict[str, set[str]] = {}
    for row in (*run.rows, *(card for card, _ in run.experts)):
        if row.get("base"):
            hashes.setdefault(str(row["base"]), set()).add(str(row.get("base_hash") or "")[:8])
    bases = [
        f"{name}@{known}" if known else name
        for name, several in hashes.items()
        for known in sorted(several - {""}) or [""]
    ]
    recipe = config.get("recipe") or config.get("command")
    facts = [
        ("run", run.name if several else ""),
        ("recipe", recipe if isinstance(recipe, str) else ""),
        ("base", ", ".join(bases) or str(config.get("base") or "")),
        ("when", run.when or ""),
        ("device", str(env.get("device") or "")),
        (
            "yosegi",
            str((env.get("versions") or {}).get("yosegi") or "") if isinstance(env.get("versions"), dict) else "",
        ),
        ("commit", str(env.get("git") or "")[:8]),
    ]
    return [(name, value) for name, value in facts if value]


def _standing(board: Panel, compared: list[Comparison], found: Found, paired: Sequence[Pairs]) -> list[Fact]:
    """The best mean; an oracle is told the task, so it is named beside and does not win."""
    told = {m.model for m in found.plain if m.row.get("router") == "oracle"}
    ranked = [(line.model, line.mean) for line in board.lines if line.mean.value is not None]
    free = [(model, mean) for model, mean in ranked if model not in told]
    if len(ranked) < 2 or not free:
        return []
    less = bool(board.low_is_good)
    model, best = (min if less else max)(free, key=lambda pair: pair[1].value or 0.0)
    below = f"{number(best.value)}" + (f", the mean of {len(board.tasks)} tasks" if len(board.tasks) > 1 else "")
    below += f"; {signed(best.change)} against the base" if best.change is not None else ""
    verdicts = [row.verdict for row in compared if row.model == model]
    below += ", but on no task outside the noise" if verdicts and set(verdicts) == {"noise"} else ""
    below += _not_apart(
        model, [other for other, _ in sorted(free, key=lambda pair: (-1) ** less * -(pair[1].value or 0.0))], paired
    )
    below += "".join(f". With the task told, {name}: {number(mean.value)}" for name, mean in ranked if name in told)
    return [Fact("Lowest mean" if less else "Highest mean", model, below)]


def _not_apart(model: str, ranked: Sequence[str], paired: Sequence[Pairs]) -> str:
    """Whether the first can be told from the second on any task."""
    second = next((other for other in ranked if other != model), "")
    noise = [row.noise for one in paired for row in one.rows if {row.a, row.b} == {model, second}]
    return f". On no task can it be told from {second}, which is next" if noise and all(noise) else ""


def _noise(compared: list[Comparison], found: Found) -> list[Fact]:
    if not compared:
        return []
    counts = {kind: sum(row.verdict == kind for row in compared) for kind in ("better", "worse", "noise")}
    bases = set(found.bases.values())
    whom = "with the base" if all(row.against in bases for row in compared) else "of models"
    below = f"{_count(len(compared), 'paired comparison')} {whom}; the other {counts['noise']} are inside the noise."
    below += f" Judged all together (Holm), {after_holm(compared)} differences are left."
    return [Fact("Better / worse", f"{counts['better']} / {counts['worse']}", below)]


def _losses(board: Panel, compared: list[Comparison]) -> list[Fact]:
    """The task that some model forgot most; only where the base is known."""
    changes = [
        (cell.tint, cell.change, line.model, task)
        for line in board.lines
        for cell, task in zip(line.cells, board.tasks, strict=True)
        if cell.change is not None
    ]
    if not changes:
        return []
    tint, change, model, task = min(changes, key=lambda change: change[0])
    if tint >= 0:
        return [Fact("Largest loss", "none", "No model is below the base on any task.")]
    p = next(
        (row.p for row in compared if (row.model, row.task, row.metric) == (model, task, board.metric[task])), None
    )
    below = f"{model} on {task}" + (f", p {probability(p)}" if p is not None else "")
    return [Fact("Largest loss", signed(change), below, "lost")]


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """A nested configuration as rows of name and value: `versions.torch`, `2.9.1`."""
    if isinstance(value, dict) and value:
        return [row for key, inner in value.items() for row in flat(inner, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list):
        value = " ".join(map(str, value))
    return [(name or "value", "" if value is None else str(value))]
