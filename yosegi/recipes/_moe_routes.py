"""What `loramoe` says of its routers: does the load collapse, who is heard for what, what each expert is worth, what it costs."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from yosegi import files
from yosegi.recipes._claims import cell
from yosegi.recipes._moe_data import LONGER, OTHERS, Plan, bank, lora
from yosegi.run import Run
from yosegi.training.loramoe import share_out

POINTS = 20
"""Of a curve."""
LAST = 0.2
"""The end of the training: its last fifth."""

Told = dict[str, dict[int, list[dict[str, Any]]]]
"""Arm -> seed -> the rows of its training."""


def routes(run: Run, config: Any, plan: Plan) -> list[dict[str, Any]]:
    """All of it."""
    arms = {seed: files.read_json(run.path / f"arms-s{seed}.json")["arms"] for seed in config.seeds}
    told = trained(run, arms)
    found = [load(config, plan, told)]
    kept = {seed: files.read_json(run.path / f"routes-s{seed}.json") for seed in config.seeds}
    found += heard(config, plan, kept)
    worth = {
        seed: files.read_json(path) for seed in config.seeds if (path := run.path / f"ablation-s{seed}.json").exists()
    }
    found += [ablation(config, plan, worth)] if worth else []
    return [*found, costs(run, config, plan, arms)]


def trained(run: Run, arms: Mapping[int, Mapping[str, Any]]) -> Told:
    """The metrics of the banks that were kept: of the learning rate that was chosen."""
    names = {
        f"{arm} {of['rate']:g} s{seed}": (arm, seed) for seed in arms for arm, of in arms[seed].items() if of["rate"]
    }
    found: Told = {}
    for row in files.read_jsonl(run.path / "metrics.jsonl"):
        if "load_cv" in row and row["expert"] in names:
            arm, seed = names[row["expert"]]
            found.setdefault(arm, {}).setdefault(seed, []).append(row)
    return found


def over(values: Sequence[float]) -> dict[str, float] | None:
    """A mean with the interval that seeds allow: t with as many degrees of freedom as there are seeds but one."""
    from scipy.stats import t

    if not values:
        return None
    mean = fmean(values)
    if len(values) < 2:
        return {"value": round(mean, 4)}
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return {"value": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}


def end(rows: Sequence[Mapping[str, Any]], what: str) -> float | None:
    """The mean over the end of a training; None where it was not told."""
    values = [row[what] for row in rows[-max(1, round(LAST * len(rows))) :] if what in row]
    return fmean(values) if values else None


def load(config: Any, plan: Plan, told: Told) -> dict[str, Any]:
    """Does one expert come to bear it all?"""
    n = config.experts
    rows: list[list[Any]] = []
    for arm, of_seeds in told.items():
        ends = {what: [end(r, what) for r in of_seeds.values()] for what in ("load_cv", "entropy", "match_mass", "ce")}
        values = {what: [v for v in some if v is not None] for what, some in ends.items()}
        bearing = [n / (1 + cv * cv) for cv in values["load_cv"]]
        columns = (values["load_cv"], bearing, values["entropy"], values["match_mass"], values["ce"])
        rows.append([arm, *map(over, columns)])
    series = []
    for beta in config.betas:
        of_seeds = list(told.get(bank(beta, plan.whole), {}).values())
        if of_seeds:
            series.append({"name": f"β {beta:g}", "points": curve(of_seeds)})
    text = [
        "In training, by the batches that were learnt: the load's coefficient of variation (mean over the layers) is 0 where all "
        f"experts are heard alike, as they are at first, and √{n - 1} = {sqrt(n - 1):.2f} where one of {n} is heard alone. "
        "“Bearing”: how many experts alike would be as uneven, N / (1 + CV²). “Own type”: the weight that a question gives the "
        "experts of its type; as much as their share of all experts says that the types do nothing.",
        *collapse(config, plan, told),
    ]
    found: dict[str, Any] = {
        "heading": "Do few experts come to bear all?",
        "text": text,
        "table": {
            "columns": ["", "load CV", "bearing", "entropy, nats", "own type", "loss of the answers"],
            "rows": rows,
            "note": f"Means over the last fifth of the steps; intervals over {len(config.seeds)} seeds alone (t).",
        },
    }
    if any(one["points"] for one in series):
        found["figure"] = {
            "kind": "lines", "title": "Load CV while the bank is trained", "caption": "All languages; mean over seeds and "
            "layers, from the lowest to the highest seed.", "x": "step", "y": "coefficient of variation", "series": series,
        }  # fmt: skip
    return found


def curve(of_seeds: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[float]]:
    """CV over the steps, a few points: mean, lowest and highest seed."""
    steps = min(len(rows) for rows in of_seeds)
    width = max(1, steps // POINTS)
    points = []
    for start in range(0, steps - width + 1, width):
        means = [fmean(row["load_cv"] for row in rows[start : start + width]) for rows in of_seeds]
        at = of_seeds[0][start + width - 1]["step"]
        points.append([at, round(fmean(means), 4), round(min(means), 4), round(max(means), 4)])
    return points


def collapse(config: Any, plan: Plan, told: Told) -> list[str]:
    """The paper's third piece of evidence, in words that follow the numbers."""
    if len(config.betas) < 2:
        return []
    plain, ours = (told.get(bank(beta, plan.whole), {}) for beta in (config.betas[0], config.betas[-1]))
    both = sorted(plain.keys() & ours.keys())
    if not both:
        return []
    without = [end(plain[s], "load_cv") or 0.0 for s in both]
    with_it = [end(ours[s], "load_cv") or 0.0 for s in both]
    gap = over([a - b for a, b in zip(without, with_it, strict=True)])
    assert gap is not None
    most, bearing = sqrt(config.experts - 1), config.experts / (1 + fmean(without) ** 2)
    said = (
        f"Without the constraint (β {config.betas[0]:g}) the CV ends at {fmean(without):.2f}, with β {config.betas[-1]:g} at "
        f"{fmean(with_it):.2f}: {gap['value']:+.3f}"
    )
    if "low" not in gap:
        said += " with one seed, which has no interval."
    else:
        clear = (
            "the constraint keeps it lower"
            if gap["low"] > 0
            else "higher with it"
            if gap["high"] < 0
            else "inside the noise"
        )
        said += f" ({gap['low']:+.3f} to {gap['high']:+.3f}), {clear}."
    word = "This is a collapse" if bearing < config.experts / 2 else "This is no collapse"
    paper = "The paper reports a CV of about 3"
    paper += f", which {config.experts} experts cannot reach ({most:.2f} at most)." if most < 3 else "."
    return [said, f"{word}: without it, as uneven as {bearing:.1f} of {config.experts} experts alike. {paper}"]


def heard(config: Any, plan: Plan, kept: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Who is heard for easy and hard questions, language by language: the types in numbers, the experts in figures."""
    types = share_out(config.experts, 2)
    arms = list(dict.fromkeys(arm for of_arms in kept.values() for arm in of_arms))
    if not arms:
        return []
    cells = [name for name in next(iter(next(iter(kept.values())).values()))["tasks"] if not name.endswith(OTHERS)]
    rows: list[list[Any]] = []
    for arm in arms:
        seeds = [of_arms[arm] for of_arms in kept.values() if arm in of_arms]
        for name in cells:
            mass = [mass_of(of["tasks"][name], [k == 0 for k in types]) for of in seeds]
            rows.append(
                [arm, name, *map(over, (mass, *([fmean(of[w][name]) for of in seeds] for w in ("cv", "entropy"))))]
            )
    top = bank(config.betas[-1], plan.whole)
    text = [
        "Test questions with their gold answers, read by each bank; the weight of the experts of the first type "
        "(easy, or the first language), the load's CV, and how sure a token's choice is.",
        *differ(plan, kept, types, top),
    ]
    found: list[dict[str, Any]] = [
        {
            "heading": "Who is heard for easy and for hard questions",
            "text": text,
            "table": {
                "columns": ["", "questions", "weight of the first type", "load CV", "entropy, nats"],
                "rows": rows,
                "note": "Means over layers; intervals over seeds alone (t).",
            },
        }
    ]
    first = next((of_arms[top] for of_arms in kept.values() if top in of_arms), None)
    if first is None:
        return found
    experts = [f"{e} ({'easy' if k == 0 else 'hard'})" for e, k in enumerate(types)]
    for name in [name for name in cells if name != "known"]:
        found.append(matrix(f"Router weights, {name}", first["layers"], experts, first["tasks"][name]))
    for language in plan.languages:
        easy, hard = (first["tasks"].get(f"{kind} {language}") for kind in ("easy", "hard"))
        if easy and hard:
            change = [[b - a for a, b in zip(*pair, strict=True)] for pair in zip(easy, hard, strict=True)]
            found.append(matrix(f"Hard less easy, {language}", first["layers"], experts, change))
    return found


def differ(plan: Plan, kept: Mapping[int, Mapping[str, Any]], types: Sequence[int], arm: str) -> list[str]:
    """Whether the routers tell kinds, and languages, apart: half the sum of what an expert is heard more and less, per layer."""
    seeds = [of_arms[arm]["tasks"] for of_arms in kept.values() if arm in of_arms]
    if not seeds:
        return []
    pairs = {f"easy and hard, {lang}": (f"easy {lang}", f"hard {lang}") for lang in plan.languages}
    if len(plan.languages) > 1:
        a, b = plan.languages[:2]
        pairs |= {f"{a} and {b}, {kind}": (f"{kind} {a}", f"{kind} {b}") for kind in ("easy", "hard")}
    parts = []
    for what, (a, b) in pairs.items():
        values = [apart(of[a], of[b]) for of in seeds if a in of and b in of]
        if (shown := over(values)) is not None:
            parts.append(
                f"{what} {shown['value']:.3f}"
                + (f" ({shown['low']:.3f} to {shown['high']:.3f})" if "low" in shown else "")
            )
    lots = [[apart(of[a], of[a + OTHERS]) for a in of if a + OTHERS in of] for of in seeds]
    same = over([fmean(some) for some in lots if some])
    if parts and same is not None:
        parts.append(
            f"two lots of questions of the same kind and language {same['value']:.3f}, which is what chance does"
        )
    said = "; ".join(parts)
    return [f"How far the mean weights of {arm} lie apart (0: the same; 1: nobody in common): {said}."] if parts else []


def apart(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> float:
    """Mean total variation of two [layer][expert]."""
    return fmean(sum(abs(x - y) for x, y in zip(*rows, strict=True)) / 2 for rows in zip(a, b, strict=True))


def mass_of(weights: Sequence[Sequence[float]], which: Sequence[bool]) -> float:
    """The weight of some experts, mean over layers."""
    return fmean(sum(w for w, mine in zip(row, which, strict=True) if mine) for row in weights)


def matrix(
    title: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """A finding that is a figure."""
    short = [row.removeprefix("model.") for row in rows]
    figure = {"kind": "matrix", "title": title, "caption": "Layer by expert (its type), the balanced bank, first seed.",
              "rows": short, "columns": list(columns), "values": [[round(v, 4) for v in row] for row in values]}  # fmt: skip
    return {"heading": title, "figure": figure}


def ablation(config: Any, plan: Plan, worth: Mapping[int, Sequence[Mapping[str, list[float]]]]) -> dict[str, Any]:
    """What is lost without each expert, the others as loud as they were."""
    types = share_out(config.experts, 2)
    groups = {
        f"{kind} {language}": [task.name for task in plan.some(kind, language)]
        for kind in ("easy", "hard")
        for language in plan.languages
    } | {"known": [task.name for task in plan.known]}
    groups = {name: some for name, some in groups.items() if some}

    def change(seed: int, expert: int, some: Sequence[str]) -> list[float]:
        whole, part = worth[seed][0], worth[seed][expert + 1]
        return [after - before for task in some for before, after in zip(whole[task], part[task], strict=True)]

    names = [f"{e} ({'easy' if k == 0 else 'hard'})" for e, k in enumerate(types)]
    experts = range(len(types))
    rows = [[names[e], *(cell({s: change(s, e, some) for s in worth}) for some in groups.values())] for e in experts]
    values = [[fmean(fmean(change(s, e, some)) for s in worth) for some in groups.values()] for e in experts]
    text = [
        f"Log p of the gold answer with one expert silent, less that with all; {config.ablated} questions a task, "
        f"{bank(config.betas[-1], plan.whole)}. Below 0 the expert was of use."
    ]
    special: dict[int, list[float]] = {}
    for seed in worth:
        for k, kind in enumerate(("easy", "hard")):
            some = [task.name for task in plan.some(kind, plan.whole)]
            own, other = ([change(seed, e, some) for e in experts if (types[e] == k) is mine] for mine in (True, False))
            if own and other:
                mean = [[fmean(v) for v in zip(*part, strict=True)] for part in (own, other)]
                special.setdefault(seed, []).extend(b - a for a, b in zip(*mean, strict=True))
    if special and (shown := cell(special)) is not None:
        clear = (
            "more"
            if shown["low"] > 0
            else "less"
            if shown["high"] < 0
            else "neither more nor less, that we could tell,"
        )
        text.append(
            f"A question loses {clear} by silencing an expert of its own type than one of the other: {shown['value']:+.4f} nats "
            f"a token ({shown['low']:+.4f} to {shown['high']:+.4f})."
        )
    figure = {"kind": "matrix", "title": "Change of log p without an expert", "caption": "Mean over seeds. Experts of two seeds "
              "have nothing in common but their type.", "rows": names, "columns": list(groups),
              "values": [[round(v, 4) for v in row] for row in values]}  # fmt: skip
    return {
        "heading": "What each expert is worth",
        "text": text,
        "table": {"columns": ["silent", *groups], "rows": rows},
        "figure": figure,
    }


def costs(run: Run, config: Any, plan: Plan, arms: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Parameters, time and memory of each arm."""
    pace = files.read_json(run.path / "pace.json")
    one, top = pace[lora("both", plan.whole)], pace[bank(config.betas[-1], plan.whole)]
    rows: list[list[Any]] = []
    for arm, of in next(iter(arms.values())).items():
        measured = pace.get(arm, {})
        wall = fmean(found[arm]["wall_s"] for found in arms.values() if arm in found)
        step = round(1000 * measured["seconds"], 1) if measured else None
        memory = round(measured["peak_mb"], 1) if measured else None
        rows.append([arm, of["params"], of["params"], of["steps"], step, memory, round(wall, 1)])
    ratio = top["seconds"] / max(one["seconds"], 1e-9)
    longer = next(iter(arms.values())).get(LONGER)
    said = (
        f"A step of the bank takes {ratio:.2f} times as long as one of the equal LoRA. In the bank's time the LoRA has "
        + (
            f"{longer['steps']} steps instead of {config.steps}."
            if longer
            else "no more steps: it is that of equal time, too."
        )
    )
    return {
        "heading": "What it costs",
        "text": [
            said,
            "A step was measured by itself, the quickest of three rounds (processor seconds on a CPU); so was the most that "
            "torch held beside the base. Seconds of training are as the clock on the wall had them, a fleet's shared out.",
            "The softmax router hears every expert, so as many parameters are at work for a token as there are.",
        ],
        "table": {
            "columns": ["", "trained", "at work", "steps", "ms a step", "peak, MB", "training, s"],
            "rows": rows,
        },
    }
