"""What `lora_par` says of its numbers: arms, claims held against the paper, the grid of α and β, the curve of θ, the regions."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from yosegi import files, tasks
from yosegi.recipes._claims import Scores, cell, dots, judge, labels, paragraph, scores
from yosegi.run import Run


class Measured(NamedTuple):
    """The regions of one seed: how alike, against two halves of one system; what moves; and the shares of each tensor."""

    seed: int
    jaccard: float
    null: float
    shares: tuple[float, float]
    by_layer: Mapping[str, tuple[float, ...]]


CLAIMS = (
    ("PAR beats as many random entries, with RL", "PAR α 1 β 1", "random on PiSSA + RL", "> 0"),
    ("PAR beats all entries, same stages", "PAR α 1 β 1", "PAR, all entries", "> 0"),
    ("PAR beats PiSSA with RL", "PAR α 1 β 1", "PiSSA + RL", "+1.5"),
    ("PAR beats PiSSA", "PAR α 1 β 1", "PiSSA", "+5.4"),
    ("PAR on normal beats LoRA with RL", "PAR on normal", "LoRA + RL", "> 0"),
    ("RL after SFT beats SFT alone, on PiSSA", "PiSSA + RL", "PiSSA", "+3.9"),
    ("Important entries beat random ones, SFT", "importance on PiSSA", "random on PiSSA", "+3.9"),
    ("Important entries are as good as all, SFT", "importance on PiSSA", "PiSSA", "≈ 0"),
    ("SFT then RL beats RL then SFT", "PAR α 1 β 1", "PAR, RL first", "+13.2"),
    ("All of the shared beats none, α", "PAR α 1 β 1", "PAR α 0 β 1", "+10.8"),
    ("All of the shared beats none, β", "PAR α 1 β 1", "PAR α 1 β 0", "+6.6"),
)
"""What is claimed, which arm, against which, and what the paper measured on GSM8K (points; T2, T3, T4, T7)."""


def findings(
    run: Run,
    config: Any,
    labelled: Mapping[str, Any],
    measured: Sequence[Measured],
    jobs: Sequence[Any],
    slow: set[str],
) -> None:
    """Write `findings.json` (reporting/findings.py) from the rows and items of the run."""
    kinds = {
        "System 2": [tasks.load(name).name for name in config.tasks if tasks.load(name).name in slow],
        "System 1": [tasks.load(name).name for name in config.tasks if tasks.load(name).name not in slow],
        "known before": [tasks.load(name).name for name in config.known],
    }
    kinds = {kind: names for kind, names in kinds.items() if names}
    score = {kind: scores(run, names, "score") for kind, names in kinds.items()}
    logp = {kind: scores(run, names, "logp") for kind, names in kinds.items()}
    whose = {kind: labels(run, names) for kind, names in kinds.items()}
    claims = [(said, arm, against, "System 2", paper) for said, arm, against, paper in CLAIMS]
    judged = [row for claim in claims if (row := judge(claim, score, logp, whose)) is not None]
    arms = [arm for arm in score["System 2"] if not arm.startswith(("θ ", "random 0", "random 1"))]
    sizes = ", ".join(f"{name}: {of['examples']}" for name, of in labelled["systems"].items())
    found: list[dict[str, Any]] = [
        {
            "heading": "Every way through the two stages",
            "text": [
                f"Questions labelled by {', '.join(labelled['teachers'])}: {sizes}. {len(config.seeds)} seeds, {config.asked} "
                "test questions a task. PAR learns System 1 by SFT and System 2 by GRPO, with the entries that matter to each; "
                "the other arms read all questions in SFT. Intervals: 95 %, over seeds and questions or tasks."
            ],
            "table": {
                "columns": ["", *(f"{kind}, {what}" for kind in kinds for what in ("score", "log p"))],
                "rows": [
                    [arm, *(cell(of[kind].get(arm), _several(whose[kind])) for kind in kinds for of in (score, logp))]
                    for arm in arms
                ],
            },
            "figure": dots("System 2", {arm: score["System 2"][arm] for arm in arms}, whose["System 2"], "score"),
        },
        {
            "heading": "The paper's findings, held against ours",
            "text": paragraph(judged, len(config.seeds)),
            "table": {
                "columns": ["claim", "questions", "paper", "ours, score", "", "ours, log p", ""],
                "rows": judged,
                "note": "The paper's numbers are points of GSM8K accuracy of Llama-2 7B (the order of stages: Qwen2.5 7B).",
            },
        },
        _regions(measured),
    ]
    found += [part for part in (_grid(config, score["System 2"]), _curve(config, score, jobs)) if part is not None]
    files.write_json(run.path / "findings.json", {"title": "LoRA-PAR: System 1 and System 2", "findings": found})


def _several(whose: Sequence[str]) -> Sequence[str] | None:
    """Whose questions are whose, where there are tasks enough to speak of other tasks."""
    return whose if len(set(whose)) > 3 else None


def _mean(score: Scores, arm: str) -> float | None:
    return round(fmean(fmean(v) for v in score[arm].values()), 4) if arm in score else None


def _grid(config: Any, score: Scores) -> dict[str, Any] | None:
    """α against β."""
    names = [f"{value:g}" for value in config.grid]
    values = [[_mean(score, f"PAR α {a} β {b}") for b in names] for a in names]
    if all(value is None for row in values for value in row):
        return None
    figure = {"kind": "matrix", "title": "System 2 after both stages", "caption": "Mean over seeds; rows α, columns β.",
              "rows": [f"α {a}" for a in names], "columns": [f"β {b}" for b in names], "values": values}  # fmt: skip
    return {
        "heading": "How much of the shared entries moves in each stage",
        "text": ["In the paper more is better."],
        "figure": figure,
    }


def _curve(config: Any, score: Mapping[str, Scores], jobs: Sequence[Any]) -> dict[str, Any] | None:
    """What moves, against what is learnt, by target set; SFT on all questions."""
    series, rows = [], []
    names = {job.name for job in jobs}
    for where in ("QKVGUD", "QKV", "GUD"):
        points = []
        for theta in (*config.thetas, 1.0):
            arm = f"θ {theta:g} {where}"
            if arm in names and (value := _mean(score["System 2"], arm)) is not None:
                points.append([theta, value])
                one = _mean(score["System 1"], arm) if "System 1" in score else None
                rows.append([where, theta, value, one])
        lot = _mean(score["System 2"], f"random {config.theta:g} {where}")
        rows.append([f"{where}, as many by lot as at θ {config.theta:g}", config.theta, lot, None])
        series.append({"name": where, "points": points})
    if not any(one["points"] for one in series):
        return None
    return {
        "heading": "The share of the importance that may move (θ)",
        "text": ["SFT on all questions, by the linears that the expert touches."],
        "table": {"columns": ["", "θ", "System 2", "System 1"], "rows": rows},
        "figure": {"kind": "lines", "title": "System 2 by θ", "caption": "Mean over seeds.", "x": "θ", "y": "score",
                   "series": series},
    }  # fmt: skip


def _regions(measured: Sequence[Measured]) -> dict[str, Any]:
    """Which tensors belong to whom, and whether the systems differ more than two halves of one."""
    names = list(measured[0].by_layer)
    parts = ("System 1 only", "System 2 only", "shared")
    values = [[round(fmean(m.by_layer[name][p] for m in measured), 4) for p in range(3)] for name in names]
    rows = [[m.seed, round(m.jaccard, 4), round(m.null, 4), *(round(s, 4) for s in m.shares)] for m in measured]
    return {
        "heading": "Whose entries are whose",
        "text": [
            "Jaccard of the two systems' entries, beside that of two halves of System 2: if these are alike, the systems do not "
            "differ in what matters to them. The paper reports .42 to .61 for the systems, and no such control."
        ],
        "table": {
            "columns": ["seed", "Jaccard, System 1 and 2", "Jaccard, two halves of System 2", "moves in stage 1", "in stage 2"],
            "rows": rows,
        },
        "figure": {"kind": "matrix", "title": "Share of each tensor's entries", "caption": "Mean over seeds.", "rows": names,
                   "columns": list(parts), "values": values},
    }  # fmt: skip
