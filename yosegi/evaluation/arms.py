"""From specs to a leaderboard: what `yosegi eval` does, as a function.

evaluate_arms(EvalSettings(task=["gsm8k"], library="library", arm=["experts", "arrow{top_k=2}"]), "runs/first").rows
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from yosegi import tasks
from yosegi.bases import Base, LoadSettings, load, short_hash
from yosegi.engine.arm import Arm
from yosegi.engine.spec import parse_arms, read_names
from yosegi.errors import Invalid, NoData
from yosegi.evaluation.bases import against_best, evaluate_bases, words
from yosegi.evaluation.forgetting import forgetting, probes
from yosegi.evaluation.measure import evaluate
from yosegi.evaluation.routing import trace_groups
from yosegi.library.card import check_base
from yosegi.library.store import Library
from yosegi.partitions.by_type import by_type, rule, typed
from yosegi.run import Run
from yosegi.tasks import Task

USUAL = ("experts", "uniform", "arrow")
"""The arms of a library when none is named; the base always comes first. With one expert there is nothing to route."""
Tell = Callable[[str], None]


class EvalSettings(LoadSettings):
    """What is compared, and on what. Unknown names are refused."""

    task: list[str] = Field(default=[], json_schema_extra={"common": True})
    """A task, as `yosegi ls tasks` names it; may be repeated."""
    library: str | None = Field(default=None, json_schema_extra={"common": True})
    """Folder of the experts; without it the base is asked alone."""
    arm: list[str] = Field(default=[], json_schema_extra={"common": True})
    """A way to answer; may be repeated: NAME, arrow{top_k=2}(a,b), merge:ties{density=.3}(a,b), a*.7+b*.3; `experts` is each of
    them alone, ablate=each leaves out one at a time. The base always comes first; by default experts, uniform, arrow follow."""
    experts: list[str] = Field(default=[], json_schema_extra={"common": True})
    """Experts that routers and merges take when they name none, as in a,b; by default all that were not made of others here."""
    base: list[str] = []
    """A base: nano (the default), smollm2, a folder, a GGUF file or a Hub id. Several are compared with each other."""
    bases: str | None = None
    """A file of bases to compare, one a line."""
    split: Literal["train", "validation", "test"] = Field(default="test", json_schema_extra={"common": True})
    """Split of the tasks."""
    limit: int | None = Field(default=None, ge=1, json_schema_extra={"common": True})
    """At most so many examples of each task."""
    forgetting: bool = Field(default=False, json_schema_extra={"common": True})
    """Also ask general knowledge and texts: what was forgotten?"""
    type: list[str] = []
    """A type of questions, "easy: level <= 2" or "hard" (as of train): shows how routers weight the experts on each."""
    batch_size: int = Field(default=64, ge=1)
    """Sequences at a time."""
    seed: int = 0
    """Seed of the experts, written into the rows."""


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found.

    Args:
        rows: one a measurement and one a comparison.
        run: its folder.
        words: what the comparison of several bases shows.
        failed: why a base was not measured, by its name.
    """

    rows: list[dict[str, Any]]
    run: Run
    words: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def evaluate_arms(settings: EvalSettings, run: str | Path | None = None, tell: Tell = lambda line: None) -> Evaluated:
    """Compares arms, or several bases, on tasks. Interrupted, the same call goes on.

    Args:
        settings: what is compared, and on what.
        run: the folder for results; by default one below runs/.
        tell: takes a line with what a reader of the numbers should know.
    """
    bases = [*settings.base, *(_listed(Path(settings.bases)) if settings.bases else [])] or ["nano"]
    _check(settings, several := len(bases) > 1 or settings.bases is not None)
    asked = [tasks.load(name) for name in dict.fromkeys(settings.task)]
    for task in asked:
        if note := task.note(settings.split):
            tell(f"{task.name}: {note}")
    if several:
        return _several(bases, asked, settings, run, tell)

    library = None if settings.library is None else Library(settings.library)
    arms = _arms(settings, library, tell)
    if settings.type and not any(arm.routed for arm in arms):
        raise Invalid("--type shows how a router weights its experts, and none of these arms has a router.")
    base = load(bases[0], **settings.loading)
    for expert in {expert.name: expert for arm in arms for expert in arm.experts}.values():
        check_base(expert, base.name, base.hash)
    _warn_of_templates(arms, base, tell)
    general, known = _general(base, arms, asked, settings, tell) if settings.forgetting else ([], [])
    asked = [task for task in asked if task not in known]
    held = base.dtype if base.dtype != "fp32" else None
    name = "-".join(filter(None, ["eval", library.path.name if library else Path(bases[0]).name, held]))
    folder = Run(
        run or Path("runs") / name,
        {"command": "eval", "base": bases[0], "dtype": base.dtype, "library": settings.library,
         "tasks": [t.name for t in asked], "arms": [arm.name for arm in arms],
         **({"general": [*(t.name for t in known), *(t.name for t, _ in general)]} if settings.forgetting else {}),
         "split": settings.split, "limit": settings.limit, "seed": settings.seed},
    )  # fmt: skip
    how = {"limit": settings.limit, "seed": settings.seed, "batch_size": settings.batch_size}
    rows = evaluate(base, arms, asked, folder, split=settings.split, **how) if asked else []
    if known:  # general, but asked for by name: as many questions as of the others, and traced
        rows += evaluate(base, arms, known, folder, split=settings.split, general=True, **how)
    rows += forgetting(base, arms, folder, general, **how) if general else []
    if settings.type:
        examples = {task.name: task.sample(settings.split, settings.limit) for task in (*asked, *known)}
        groups = typed(by_type(examples, rules=settings.type), examples)
        for arm in arms:
            if arm.routed and not arm.ablate and all(map(arm.can_answer, examples)):
                trace_groups(base, arm, groups, folder)
    return Evaluated(rows, folder)


def _warn_of_templates(arms: Sequence[Arm], base: Base, tell: Tell) -> None:
    """Says which experts and kept arms are asked otherwise than taught: in another chat template, or in plain prompts."""
    asked, experts = (
        short_hash(base.chat_template),
        {expert.name: expert.card for arm in arms for expert in arm.experts},
    )
    taught = {
        name: card.get("chat_template") or "" for name, card in experts.items()
        if isinstance(card.get("training"), dict) and card["training"].get("objective", "lm") != "lm"
    }  # fmt: skip
    taught |= {arm.name: arm.training["template"] for arm in arms if "template" in arm.training}
    if other := sorted(name for name, template in taught.items() if template != asked):
        before = ", ".join(sorted({f"the chat template {taught[n]}" if taught[n] else "plain prompts" for n in other}))
        now = f"the chat template {asked} (--chat-template none asks plainly)" if asked else "plain prompts"
        tell(f"Warning: {', '.join(other)} learnt with {before} and are asked with {now}.")


def _check(settings: EvalSettings, several: bool) -> None:
    """Refuses what does not go together before anything is loaded."""
    if not (settings.task or settings.forgetting):
        raise Invalid("There is nothing to ask: name a --task (yosegi ls tasks), or ask for --forgetting.")
    [rule(text) for text in settings.type]
    if settings.type and not settings.task:
        raise Invalid("--type is about the questions of a --task.")
    if several and (settings.library or settings.arm or settings.forgetting):
        raise Invalid("Arms, their --library and --forgetting go with one --base.")


def _arms(settings: EvalSettings, library: Library | None, tell: Tell) -> list[Arm]:
    """Returns the base and the arms that were asked for."""
    pool, specs = read_names(settings.experts), settings.arm
    if not specs and library is not None:
        several = len(pool or library.originals()) > 1
        specs = [spec for spec in USUAL if several or spec == "experts"]
    arms = parse_arms(["base", *specs], library, pool)
    originals = [] if library is None or not any(arm.training for arm in arms) else pool or library.originals()
    for arm in arms:
        if arm.training and len(arm.experts) < len(originals):
            tell(f"{arm.name} has the {len(arm.experts)} experts it was trained with, not all {len(originals)}.")
    return arms


def _general(
    base: Any, arms: Sequence[Arm], asked: Sequence[Task], settings: EvalSettings, tell: Tell
) -> tuple[list[tuple[Task, str]], list[Task]]:
    """Returns the general tasks, each with its split, and those of the tasks that were asked for which are general themselves."""
    general, missing = probes(base, arms)
    for line in missing:
        tell(line)
    known = [t for t in asked if (t.name, settings.split) in [(probe.name, split) for probe, split in general]]
    named = [(t.name, settings.split) for t in known]
    return [(probe, split) for probe, split in general if (probe.name, split) not in named], known


def _several(
    bases: list[str], asked: list[Task], settings: EvalSettings, run: str | Path | None, tell: Tell
) -> Evaluated:
    """Bases against each other."""
    how: dict[str, Any] = {"split": settings.split, "limit": settings.limit, "seed": settings.seed}
    folder = Run(
        run or Path("runs") / "eval-bases", {"command": "eval", "bases": bases, "tasks": [t.name for t in asked], **how}
    )
    measured = evaluate_bases(bases, asked, folder, batch_size=settings.batch_size, loading=settings, tell=tell, **how)
    pairs = against_best(measured.rows, folder).items() if measured.rows else ()
    return Evaluated(
        measured.rows, folder, [f"{name}. {' '.join(words(lines))}" for name, lines in pairs], measured.failed
    )


def _listed(file: Path) -> list[str]:
    """Returns the bases of a file, one a line; # begins a comment."""
    if not file.is_file():
        raise NoData(f"There is no file {str(file)!r}.")
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    if not (names := list(dict.fromkeys(filter(None, lines)))):
        raise Invalid(f"{file} names no base.")
    return names
