"""The pairs of skills of `soups_cat`, and what the recipe says of its numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from yosegi import files, tasks
from yosegi.engine.kept import arms as kept_arms
from yosegi.engine.kept import read_arm
from yosegi.evaluation.statistics import over_seeds
from yosegi.library.store import Library
from yosegi.recipes._claims import Scores, cell, dots, judge, labels, paragraph, scores
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.tasks.readers.skills import COMPOSITIONS

MERGES = ("linear on factors", "svd", "TIES", "DARE", "DARE-TIES", "magnitude prune", "KnOTS-TIES", "SLERP")
"""Model merging with weights that nobody learnt."""


@dataclass(frozen=True)
class Skill:
    """What one expert learns.

    Args:
        name: of the skill.
        tasks: whose examples, in turn.
        objective: sft, or lm for plain text.
    """

    name: str
    tasks: tuple[str, ...]
    objective: str = "sft"

    def examples(self, split: str, limit: int | None = None) -> list[Example]:
        """Those of its tasks, `limit` of each."""
        return [example for task in self.tasks for example in tasks.load(task).examples(split)[:limit]]


@dataclass(frozen=True)
class Pair:
    """Two skills, and the task that asks for both."""

    name: str
    skills: tuple[Skill, ...]
    test: str
    shots: bool = True
    """Whether there are examples of the two at once that are not test questions."""


def compositions() -> list[Pair]:
    """The generated skills."""
    return [
        Pair(name, tuple(Skill(part, (f"skills/{part}",)) for part in name.split("+")), f"skills/{name}")
        for name in COMPOSITIONS
    ]


def real() -> list[Pair]:
    """Real texts: programs for hard sums, and questions about the law."""
    maths, code = Skill("maths", ("gsm8k",)), Skill("code", ("mbpp", "thealgorithms"))
    law, questions = Skill("law", ("corpus/ja_railway_law",), "lm"), Skill("questions", ("jsquad",))
    return [
        Pair("maths+code", (maths, code), "gsm_hard", shots=False),
        Pair("law+questions", (law, questions), "terms/ja_railway_law", shots=False),
    ]


PAIRS: dict[str, Callable[[], list[Pair]]] = {"skills": compositions, "real": real}


def findings(run: Run, config: Any, pairs: Sequence[Pair]) -> None:
    """Write `findings.json` (reporting/findings.py) from the rows and items of the run."""
    asked = [pair.test for pair in pairs]
    own = " / ".join(sorted({row["metric"] for row in run.results() if "against" not in row} - {"logp"}))
    score, logp, whose = scores(run, asked, "score"), scores(run, asked, "logp"), labels(run, asked)
    others = [way for way in config.ways if not way.startswith("CAT ") and way != "CAT"]
    claims = [(f"CAT beats {other}", "CAT", other, "all", paper(other)) for other in ("base", *others)]
    controls = [way for way in config.ways if way.startswith("CAT ")]
    claims += [(f"CAT beats {other}", "CAT", other, "all", "> 0") for other in controls]
    judged = [judge(claim, {"all": score}, {"all": logp}, {"all": whose}) for claim in claims]
    judged = [row for row in judged if row is not None]
    arms = list(score)
    found = [
        {
            "heading": "Two skills at once, by every way to put them together",
            "text": [
                f"{len(pairs)} pairs, {len(config.seeds)} seeds, {config.asked} questions a pair; nobody has seen an example "
                "of the two at once. Intervals: 95 %, over seeds and pairs. The settings of each way were chosen on "
                "validation questions of the single skills (settings.json)."
            ],
            "table": {
                "columns": ["", own, "log p of the gold answer"],
                "rows": [[arm, cell(score[arm], whose), cell(logp[arm], whose)] for arm in arms],
            },
            "figure": dots(f"Compositions, {own}", score, whose, own),
        },
        {
            "heading": "CAT held against the others",
            "text": [*relative(score, whose, own), *paragraph(judged, len(config.seeds))],
            "table": {
                "columns": ["claim", "pairs", "paper", f"difference, {own}", "", "difference, log p", ""],
                "rows": judged,
                "note": "On the same questions. The paper's numbers are relative gains of Llama-2 7B on GSM-Hard.",
            },
            "figure": dots("Compositions, log p of the gold answer", logp, whose, "nats a token"),
        },
        by_pair(asked, run),
        movement(run, config),
    ]
    files.write_json(run.path / "findings.json", {"title": "LoRA Soups: two skills at once", "findings": found})


def paper(other: str) -> str:
    """What the paper says of CAT against this."""
    return {"data mix": "+12 %"}.get(other, "+43 %" if other in MERGES else "> 0")


def relative(score: Scores, whose: Sequence[str], own: str) -> list[str]:
    """The paper's own figure, per cent more than the merges on average and than the data mix; and whether it is one at all."""
    merges = [arm for arm in MERGES if arm in score]
    if "CAT" not in score or not merges:
        return []
    seeds = sorted(score["CAT"])
    cat = [score["CAT"][seed] for seed in seeds]
    said = [f"CAT's mean {own} is {over_seeds(cat, tasks=whose)[0]:.3f}"]
    for name, arms, claimed in (("the merges' mean", merges, 43), ("the data mix's", ["data mix"], 12)):
        if arms[0] not in score:
            continue
        theirs = [[fmean(scores) for scores in zip(*(score[arm][seed] for arm in arms), strict=True)] for seed in seeds]
        mean, (more, low, high) = over_seeds(theirs, tasks=whose)[0], over_seeds(cat, theirs, whose)
        part = f"{name} {mean:.3f}, a difference of {more:+.3f} ({low:.3f} to {high:.3f})"
        if mean > 0:
            part += f" or {100 * more / mean:+.0f} % (the paper: +{claimed} %)"
        said.append(part + (", which is inside the noise" if low <= 0 <= high else ""))
    return ["; ".join(said) + "."]


def by_pair(asked: Sequence[str], run: Run) -> dict[str, Any]:
    """Every pair by itself: a mean over pairs can hide that one of them decides."""
    one = {task: scores(run, [task], "score") for task in asked}
    arms = list(dict.fromkeys(arm for found in one.values() for arm in found))

    def mean(task: str, arm: str) -> float | None:
        values = one[task].get(arm)
        return None if values is None else round(fmean(fmean(v) for v in values.values()), 4)

    values = [[mean(task, arm) for task in asked] for arm in arms]
    names = [task.rpartition("/")[2] for task in asked]
    figure = {"kind": "matrix", "title": "Score by pair", "caption": "Mean over seeds.", "rows": arms, "columns": names}
    return {"heading": "Pair by pair", "text": ["Mean over seeds."], "figure": figure | {"values": values}}


def movement(run: Run, config: Any) -> dict[str, Any]:
    """How far α went: a weight that stays where it began has learnt nothing."""
    found: dict[str, list[float]] = {}
    for seed in config.seeds:
        library = Library(run.path / "libraries" / f"skills-s{seed}")
        for name in kept_arms(library) if library.path.is_dir() else ():
            recipe: Mapping[str, Any] = read_arm(library, name)["training"]
            way = name.partition(" ")[2]
            found.setdefault(way, []).append(recipe["moved"])
    rows = [
        [way, len(some), round(fmean(some), 4), round(min(some), 4), round(max(some), 4)] for way, some in found.items()
    ]
    return {
        "heading": "How far the learnt weights moved",
        "text": [
            "Root mean square of a - a₀ over all weights of a pair, by way and learning rate; for the softmax, a is the logit."
        ],
        "table": {"columns": ["way, learning rate", "trained", "mean", "least", "most"], "rows": rows},
    }
