"""What `domain` says of its numbers: every way, its curves and its memory, terms gained and lost, merges, claims held against
their sources.

Intervals are over seeds and over the questions or passages of this domain (evaluation/statistics.py); they speak of no other.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from yosegi import files, tasks
from yosegi.bases import Base
from yosegi.errors import Invalid
from yosegi.estimate.memory import Job, predict
from yosegi.estimate.shapes import of_config
from yosegi.evaluation.exact import mcnemar
from yosegi.evaluation.statistics import over_seeds
from yosegi.recipes._claims import Scores, cell, dots, scores, verdict
from yosegi.run import Run

LEAST = 6
"""So many questions have to differ for McNemar's test to find anything at 5 %."""
MB = 2**20


def findings(run: Run, config: Any, base: Base, ways: Sequence[Any]) -> None:
    """Write `findings.json` (reporting/findings.py)."""
    kinds = {
        "QA_exact": ([config.quiz], "score"),
        "logp_mrr": ([f"{config.quiz}/rank"], "score"),
        "domain": ([config.domain], "logp"),
        "second": (list(config.second), "logp"),
        "general": (list(config.general), "logp"),
        "QA_exact, test half": ([f"{config.quiz}/halved"], "score"),
        "logp_mrr, test half": ([f"{config.quiz}/rank/halved"], "score"),
    }
    measured = {
        kind: scores(run, [tasks.load(n).name for n in names], what) for kind, (names, what) in kinds.items() if names
    }
    arms = ["base", *(way.name for way in ways if way.name in measured["domain"])]
    merges = [arm for arm in measured["domain"] if arm not in arms]
    judged = [row for claim in claims(config, ways) if (row := judge(claim, measured)) is not None]
    costs = [files.read_json(run.path / f"arms-s{seed}.json") for seed in config.seeds]
    parts = [
        every(run, config, measured, arms, costs),
        *curves(run, config, ways),
        rates(run, config, costs),
        memory(run, config, base, ways),
        changed(config, measured, arms),
        merging(run, config, measured, merges),
        held(config, judged),
    ]
    found = [part for part in parts if part is not None]
    files.write_json(
        run.path / "findings.json", {"title": "One domain: what is learnt, what it costs", "findings": found}
    )


def every(
    run: Run, config: Any, measured: Mapping[str, Scores], arms: Sequence[str], costs: Sequence[Any]
) -> dict[str, Any]:
    """All ways beside the base."""
    shown = [kind for kind in ("QA_exact", "logp_mrr", "domain", "second", "general") if kind in measured]
    first = costs[0]["arms"]
    rows = [
        [
            arm,
            *(cell(measured[kind].get(arm)) for kind in shown),
            *(first.get(arm, {}).get(k) for k in ("trainable_params", "steps")),
        ]
        for arm in arms
    ]
    asked = {row["task"]: row for row in run.results() if "against" not in row and row.get("chance")}
    ranked = asked.get(tasks.load(f"{config.quiz}/rank").name)
    text = [
        f"{config.domain}; {len(config.seeds)} seeds; {config.steps} steps of {config.batch} x {config.pack} tokens. QA_exact: "
        "the term is written; logp_mrr: the definition is ranked with each candidate. Of texts the log p of a token, in nats: "
        "more is better. Intervals: 95 %, over seeds and questions or passages.",
    ]
    if ranked:
        text.append(f"{ranked['n']} terms; who guesses has a logp_mrr of {ranked['chance']:.3f}.")
    if lost := [said for cost in costs for said in cost["lost"].values()]:
        text.append("Diverged, and missing: " + " ".join(lost))
    names = {"domain": "log p, domain", "second": "log p, second domain", "general": "log p, general"}
    figure = dots("logp_mrr", {arm: measured["logp_mrr"].get(arm) for arm in arms}, [], "logp_mrr")
    return {
        "heading": "Every way through one domain",
        "text": text,
        "table": {
            "columns": ["", *(names.get(kind, kind) for kind in shown), "numbers that move", "steps"],
            "rows": rows,
        },
        "figure": figure | {"caption": "95 % intervals over seeds and terms."},
    }


def curves(run: Run, config: Any, ways: Sequence[Any]) -> list[dict[str, Any]]:
    """Loss on validation texts while learning: of the domain by tokens and by time, and of general texts."""
    rows = [row for row in files.read_jsonl(run.path / "metrics.jsonl") if row.get("validation_loss") is not None]
    pace = files.read_json(run.path / "pace.json") if (run.path / "pace.json").exists() else {}
    on_domain = [way for way in ways if way.reads == "domain"]

    def lines(kind: str, some: Sequence[Any], scale: Any) -> list[dict[str, Any]]:
        found = []
        for way in some:
            names = {f"{way.name} s{seed}" for seed in config.seeds}
            by_step: dict[int, list[float]] = {}
            for row in rows:
                if row["expert"] in names and row["validation"] == kind:
                    by_step.setdefault(row["step"], []).append(row["validation_loss"])
            points = [[scale(way, step), round(fmean(values), 4)] for step, values in sorted(by_step.items())]
            found.append({"name": way.name, "points": points})
        return found

    equal = [way for way in on_domain if not way.longer]
    tokens = config.batch * config.pack
    drawn = [
        ("The domain, at equal tokens", "domain", equal, lambda way, step: step * tokens, "tokens read"),
        ("General texts meanwhile", "general", equal, lambda way, step: step * tokens, "tokens read"),
    ]
    if pace and any(way.longer for way in ways):
        slowest = max(pace, key=lambda name: pace[name]["seconds"])
        timed = [way for way in on_domain if way.longer or way.name == slowest]
        timed += [
            way
            for way in equal
            if f"{way.name}, equal time" not in [w.name for w in timed] and way.name in pace and way not in timed
        ]

        def seconds(way: Any, step: int) -> float:
            return round(step * pace[way.name.removesuffix(", equal time")]["seconds"], 2)

        drawn.append(("The domain, at equal time", "domain", timed, seconds, "seconds"))
    found = []
    for heading, kind, some, scale, x in drawn:
        series = lines(kind, some, scale)
        ends = ", ".join(f"{one['name']} {one['points'][-1][1]:.3f}" for one in series if one["points"])
        figure = {
            "kind": "lines",
            "title": heading,
            "caption": "Mean over seeds.",
            "x": x,
            "y": "loss, nats a token",
            "series": series,
        }
        text = [f"Loss on validation passages, at the end: {ends}."]
        if x == "seconds":
            said = ", ".join(f"{name} {of['seconds']:.3f} s" for name, of in pace.items())
            again = [name for name in pace if f"{name}, equal time" not in [way.name for way in ways]]
            text.append(
                f"A step, each way by itself in turn, takes {said}. Within 2 % of the slowest, and so not trained again: "
                f"{', '.join(again)}."
            )
        found.append({"heading": heading, "text": text, "figure": figure})
    return found


def rates(run: Run, config: Any, costs: Sequence[Any]) -> dict[str, Any]:
    """The sweep of every method, and whether its grid was wide enough."""
    losses = files.read_json(run.path / "settings.json")
    grid = sorted({float(rate) for of in losses.values() for rate in of})
    took = {way: costs[0]["arms"].get(way, {}).get("rate") for way in losses}
    rows = [[way, *(of.get(f"{rate:g}") for rate in grid), took[way]] for way, of in losses.items()]
    edge = [
        way for way, of in losses.items() if len(of) > 1 and took[way] in (min(map(float, of)), max(map(float, of)))
    ]
    text = [
        f"Loss on validation texts of the domain (of questions, on those) after {config.pilot} steps with the first seed; the "
        "lowest was taken."
    ]
    if edge:
        text.append(f"At an end of its grid, so that a wider one might do better: {'; '.join(edge)}.")
    columns = ["", *(f"{rate:g}" for rate in grid), "taken"]
    return {"heading": "Each with its own learning rate", "text": text, "table": {"columns": columns, "rows": rows}}


def memory(run: Run, config: Any, base: Base, ways: Sequence[Any]) -> dict[str, Any] | None:
    """What a training holds beside the base: predicted by the plan, and measured."""
    if not (run.path / "pace.json").exists():
        return None
    pace = files.read_json(run.path / "pace.json")
    model: Any = base.model
    device = next(model.parameters()).device.type
    rows: list[list[Any]] = []
    for way in (way for way in ways if way.name in pace):
        try:
            shape = of_config(base.name, model.config)
            job = Job(way.method, max(1, way.rank), batch=config.batch, length=config.pack, dropout=0.0, device=device)
            plan = predict(shape, job)
        except Invalid:
            return None
        own = (plan.peak - plan.weights) / MB if way.method != "lora" else (plan.peak - 4 * shape.params) / MB
        rows.append([
            way.name, round(own, 1), round(pace[way.name]["peak_mb"], 1), round(own / max(pace[way.name]["peak_mb"], 1e-9), 2),
            round(plan.optimizer / MB, 2), round(pace[way.name]["seconds"], 3),
        ])  # fmt: skip
    return {
        "heading": "What a training holds beside the base, and its pace",
        "text": [
            "Megabytes at the worst moment of two steps. The plan lets every weight move where whole weights are trained; here "
            "only those of the blocks' linears do, and a copy of what they were is kept, so that it can be put back.",
        ],
        "table": {
            "columns": ["", "MB predicted", "MB measured", "ratio", "of that optimizer, predicted", "seconds a step"],
            "rows": rows,
        },
    }  # fmt: skip


def changed(config: Any, measured: Mapping[str, Scores], arms: Sequence[str]) -> dict[str, Any]:
    """Terms gained, lost and kept against the base, summed over seeds; every single one is in the heat map of the quiz."""
    rows: list[list[Any]] = []
    for kind, right in (("QA_exact", "written"), ("logp_mrr", "ranked first")):
        before = measured[kind].get("base", {})
        for arm in arms[1:]:
            pairs = [
                (a == 1, b == 1)
                for seed, after in sorted(measured[kind].get(arm, {}).items()) if seed in before
                for a, b in zip(after, before[seed], strict=True)
            ]  # fmt: skip
            gained, lost, kept = (
                sum(pair == p for pair in pairs) for p in ((True, False), (False, True), (True, True))
            )
            if not (both := sorted(measured[kind].get(arm, {}).keys() & before.keys())):
                continue
            first = list(zip(measured[kind][arm][both[0]], before[both[0]], strict=True))
            p = mcnemar(sum(a == 1 != b for a, b in first), sum(b == 1 != a for a, b in first))
            rows.append([arm, right, gained, lost, kept, len(pairs), round(p, 4)])
    text = [
        f"Sums over seeds; p is McNemar's for the first seed alone, since the same terms are asked in each. With fewer than "
        f"{LEAST} terms that differ it can find nothing. Term by term: the heat maps of this report.",
    ]
    columns = ["", "right means", "gained", "lost", "kept", "of", "p, first seed"]
    return {"heading": "Terms gained and lost", "text": text, "table": {"columns": columns, "rows": rows}}


def merging(run: Run, config: Any, measured: Mapping[str, Scores], merges: Sequence[str]) -> dict[str, Any] | None:
    """Merges against their parts."""
    half = measured["logp_mrr, test half"]
    if not merges:
        return None
    shown = [
        kind
        for kind in ("QA_exact, test half", "logp_mrr, test half", "domain", "second", "general")
        if kind in measured
    ]
    rows = [[arm, *(cell(measured[kind].get(arm)) for kind in shown)] for arm in half]
    n = len(next(iter(next(iter(half.values())).values())))
    text = [
        f"Hand-set weights and TIES were chosen by nobody; asked are the {n} terms of the test half, which no search saw.",
    ]
    for seed in config.seeds:
        path = run.path / "search" / f"s{seed}" / "chosen.json"
        if path.exists():
            told = files.read_json(path)
            if seed == config.seeds[0]:
                text.append(
                    f"The search adds up {', '.join(told['goals'])}: the other half of the terms, and passages that are measured "
                    "nowhere (log p a token)."
                )
            said = ", ".join(f"{part} {weight:.2f}" for part, weight in told["weights"].items())
            text.append(f"Seed {seed}: the search took {told['chosen']}: {said}.")
            if not any(told["weights"].values()):
                text.append(f"So with seed {seed} the searched weights are the base alone, and say nothing of merging.")
    names = {"domain": "log p, domain", "second": "log p, second domain", "general": "log p, general"}
    return {
        "heading": "Merges and their parts",
        "text": text,
        "table": {"columns": ["", *(names.get(kind, kind) for kind in shown)], "rows": rows},
        "figure": dots("logp_mrr, test half", half, [], "logp_mrr")
        | {"caption": "95 % intervals over seeds and terms."},
    }


def claims(config: Any, ways: Sequence[Any]) -> list[tuple[str, str, str, str, str]]:
    """What is claimed, which arm, against which, by what, and what its source says."""
    loras, galores = (
        [f"{kind} r {r}" for r in ranks] for kind, ranks in (("LoRA", config.lora), ("GaLore", config.galore))
    )
    wide, narrow, other = loras[-1], galores[0], galores[-1]
    found: list[tuple[str, str, str, str, str]] = [
        (f"{wide} reads the domain better than {narrow}", wide, narrow, "domain", "+0.15"),
        (f"{other} reads it better than {wide}", other, wide, "domain", "> 0"),
        (f"{other} reads it as well as full training", other, "full", "domain", "≈ 0"),
        (
            f"{narrow} at its own rate beats the rate of LoRA",
            narrow,
            f"{narrow} at LoRA's rate",
            "domain",
            "> 0 (ours)",
        ),
        (
            f"{loras[0]} on the domain beats as many general texts",
            loras[0],
            f"{loras[0]}, general texts",
            "domain",
            "> 0 (ours)",
        ),
        (
            f"{loras[0]} on the domain beats as many general texts",
            loras[0],
            f"{loras[0]}, general texts",
            "logp_mrr",
            "> 0 (ours)",
        ),
    ]
    every: list[str] = [*loras, *galores, *(["full"] if config.full else [])]
    for arm in every:
        found += [(f"{arm} knows more terms than the base", arm, "base", "QA_exact", "+0.08" if arm == wide else "> 0")]
        found += [
            (f"{arm} ranks terms better than the base", arm, "base", "logp_mrr", "+0.09" if arm == wide else "> 0")
        ]
        found += [(f"{arm} forgets: the base knows more", "base", arm, "general", "> 0")]
    for way in (way for way in ways if way.longer):
        found.append((f"{wide} reads the domain better than {way.name}", wide, way.name, "domain", "> 0 (ours)"))
    for weight in config.hand_set:
        blend = f"all parts, {weight:g} each"
        found.append(
            (f"searched weights beat {weight:g} each", "searched weights", blend, "logp_mrr, test half", "> 0 (ours)")
        )
    found.append((f"searched weights beat {wide} alone", "searched weights", wide, "logp_mrr, test half", "> 0 (ours)"))
    found.append((f"searched weights forget less than {wide}", "searched weights", wide, "general", "> 0 (ours)"))
    found.append((f"searched weights read the domain as well as {wide}", "searched weights", wide, "domain", "≈ 0"))
    return found


def judge(claim: Sequence[str], measured: Mapping[str, Scores]) -> list[Any] | None:
    """One row of the table of claims; None where an arm was not run."""
    said, arm, against, kind, source = claim
    of = measured.get(kind, {})
    if not (seeds := sorted(of.get(arm, {}).keys() & of.get(against, {}).keys())):
        return None
    diff, low, high = over_seeds([of[arm][s] for s in seeds], [of[against][s] for s in seeds])
    value = {"value": round(diff, 4), "low": round(low, 4), "high": round(high, 4)}
    return [said, kind, source, value, verdict(source, low, high)]


def held(config: Any, judged: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """The claims, in words and as a table."""
    words = []
    for word in ("holds", "no difference found", "inside the noise", "better", "worse", "the reverse"):
        if said := [f"{row[0]} ({row[1]})" for row in judged if row[4] == word]:
            words.append(f"{word}: {'; '.join(said)}")
    return {
        "heading": "Held against the sources",
        "text": [
            ". ".join(words) + ".",
            f"{len(judged)} comparisons with {len(config.seeds)} seeds: at 95 %, one in twenty of those where nothing is the "
            "matter looks like something. The sources' numbers are of a 7B model (QA_exact, logp_mrr, loss) and of pre-training.",
        ],
        "table": {"columns": ["claim", "by", "source", "difference", ""], "rows": judged},
    }
