"""What the routers of banks do: does the load collapse, which experts are active, and what is each expert worth?

Seeds share no experts: only their types and the size of the load can be averaged over seeds. Intervals are over seeds alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from yosegi import files
from yosegi.engine.arm import Arm
from yosegi.evaluation.routing import trace
from yosegi.findings import Cell, Estimate, Finding, Matrix, Table
from yosegi.run import Run
from yosegi.study.kinds import OTHERS
from yosegi.study.measures import LOGP, Measure
from yosegi.study.study import Study
from yosegi.study.tables import changes, lines, metrics, training_curves
from yosegi.tasks import Example

LAST = 0.2
"""The end of a training: its last fifth."""

Weights = Sequence[Sequence[float]]
"""Mean routing weights [layer][expert]."""
Routes = Mapping[int, Mapping[str, Mapping[str, Any]]]
"""Seed -> arm -> what `evaluation.routing.trace` says."""


def over(values: Sequence[float]) -> Estimate | None:
    """Returns a mean over seeds with Student's interval."""
    from scipy.stats import t

    if len(values) < 2:
        return Estimate(round(values[0], 4)) if values else None
    mean, half = fmean(values), float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Estimate(*(round(number, 4) for number in (mean, mean - half, mean + half)))  # type: ignore[arg-type]


def load_finding(
    run: Run, experts: Mapping[str, Sequence[str]], size: int, compared: tuple[str, str] | None = None
) -> Finding:
    """Returns whether few experts come to bear all: the load's coefficient of variation over a training.

    Args:
        run: whose metrics.
        experts: arm -> the names of its banks there, one for each seed.
        size: experts of a bank.
        compared: the arm without a constraint, and that with one.
    """
    rows = [row for row in metrics(run) if "load_cv" in row]
    rows_of_arms: list[list[Cell]] = []
    cvs: dict[str, list[float]] = {}
    for arm, names in experts.items():
        seeds = [[row for row in rows if row.get("expert") == name] for name in names]
        ends = {what: [end(seed, what) for seed in seeds if any(what in row for row in seed)] for what in ENDS}
        cvs[arm], bearing = ends["load_cv"], [size / (1 + cv * cv) for cv in ends["load_cv"]]
        rows_of_arms.append([arm, over(ends["load_cv"]), over(bearing), *(over(ends[what]) for what in ENDS[1:])])
    about = (
        f"The load's coefficient of variation is 0 where all experts are equally active, and √{size - 1} = {sqrt(size - 1):.2f} "
        f"where one of {size} is active alone. “Bearing”: how many equal experts would be as uneven, N / (1 + CV²). “Own type”: "
        "the weight that a question gives the experts of its type."
    )
    words = [about, *(_collapse(*compared, cvs[compared[0]], cvs[compared[1]], size) if compared else [])]
    columns = ["", "load CV", "bearing", "entropy, nats", "own type", "loss of the answers"]
    table = Table(columns, rows_of_arms, "Means over the last fifth of the steps.")
    curves = training_curves(run, experts, lambda row: row.get("load_cv"))
    figure = lines("Load CV while the bank is trained", curves, "step", "coefficient of variation")
    return Finding("Do few experts come to bear all?", words, table, figure)


def _collapse(plain: str, ours: str, without: Sequence[float], with_it: Sequence[float], size: int) -> list[str]:
    """Returns whether the load collapses without the constraint, and what the constraint changes, in words."""
    if not without or len(without) != len(with_it):
        return []
    gap = over([a - b for a, b in zip(without, with_it, strict=True)])
    assert gap is not None
    bearing = size / (1 + fmean(without) ** 2)
    collapse = "This is a collapse" if bearing < size / 2 else "This is no collapse"
    return [
        f"{collapse}: {plain} ends as uneven as {bearing:.1f} of {size} equal experts. Its load CV is {fmean(without):.2f}, that "
        f"of {ours} {fmean(with_it):.2f}; the difference is {_words(gap)}."
    ]


ENDS = ("load_cv", "entropy", "match_mass", "ce")


def end(rows: Sequence[Mapping[str, Any]], what: str) -> float:
    """Returns the mean over the end of a training."""
    return fmean(row[what] for row in rows[-max(1, round(LAST * len(rows))) :] if what in row)


def read_routes(
    study: Study, arms: Mapping[str, Arm], cells: Mapping[str, Sequence[Example]], seed: int
) -> Mapping[str, Any]:
    """Returns what each router does on each sample of questions with their gold answers; kept in routes-sSEED.json."""
    path = study.run.path / f"routes-s{seed}.json"
    if not path.exists():
        traced = {}
        for name, arm in arms.items():
            with arm.attached(study.base) as banks:
                assert banks is not None
                traced[name] = trace(study.base, banks, cells)
                del traced[name]["tokens"]
        files.write_json(path, traced)
    return files.read_json(path)


def routes_finding(routes: Routes, types: Sequence[int], pairs: Mapping[str, tuple[str, str]]) -> Finding:
    """Returns which experts are active, and how far the weights of two kinds lie apart, next to two samples of one kind.

    Args:
        routes: by seed and arm.
        types: of each expert; the table has the weight of the first type.
        pairs: what is compared -> two samples.
    """
    rows: list[list[Cell]] = []
    text: list[str] = []
    for arm in dict.fromkeys(arm for of_seed in routes.values() for arm in of_seed):
        seeds = [of_seed[arm] for of_seed in routes.values() if arm in of_seed]
        weights = [seed["tasks"] for seed in seeds]
        for cell in [cell for cell in weights[0] if not cell.endswith(OTHERS)]:
            first = [fmean(sum(compress(row, [not k for k in types])) for row in w[cell]) for w in weights]
            cv, entropy = (over([fmean(seed[what][cell]) for seed in seeds]) for what in ("cv", "entropy"))
            rows.append([arm, cell, over(first), cv, entropy])
        distances = {
            what: over([apart(w[a], w[b]) for w in weights if a in w and b in w]) for what, (a, b) in pairs.items()
        }
        samples = [[apart(w[a], w[a + OTHERS]) for a in w if a + OTHERS in w] for w in weights]
        if any(distances.values()):
            distances["two samples of one kind"] = over([fmean(s) for s in samples if s])
            words = "; ".join(f"{what} {_words(distance)}" for what, distance in distances.items() if distance)
            text.append(f"How far the mean weights of {arm} lie apart (0: the same; 1: no expert in common): {words}.")
    note = "Means over layers. Two samples of one kind lie as far apart as chance has it."
    table = Table(["", "questions", "weight of the first type", "load CV", "entropy, nats"], rows, note)
    return Finding("Who is active on which questions", text, table)


def weight_maps(routes: Mapping[str, Any], labels: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[Finding]:
    """Returns a heat map of one bank's weights on each kind of questions, and one of the difference within each pair of kinds.

    Args:
        routes: what `trace` says of the bank.
        labels: of the experts.
        pairs: two kinds; drawn are both, and the second less the first.
    """
    cells = [cell for pair in pairs for cell in pair]
    maps = {f"Routing weights, {cell}": w for cell, w in routes["tasks"].items() if cell in cells}
    for a, b in pairs:
        both = list(zip(*(routes["tasks"].get(cell, []) for cell in (a, b)), strict=False))
        difference = [[round(y - x, 4) for x, y in zip(*rows, strict=True)] for rows in both]
        maps |= {f"Routing weights, {b} less {a}": difference} if both else {}
    rows = [layer.removeprefix("model.") for layer in routes["layers"]]
    caption = "Layer by expert (its type), one seed."
    return [Finding(name, figure=Matrix(name, caption, rows, labels, w)) for name, w in maps.items()]


def apart(a: Weights, b: Weights) -> float:
    """Returns the mean total variation of two weights [layer][expert]."""
    return fmean(sum(abs(x - y) for x, y in zip(*rows, strict=True)) / 2 for rows in zip(a, b, strict=True))


def ablate(
    study: Study, arm: Arm, questions: Mapping[str, Sequence[Example]], labels: Sequence[str], seed: int
) -> Mapping[str, Mapping[str, list[float]]]:
    """Returns the log p of the answers to each group of questions with all experts and without each; kept in ablation-sSEED.json.

    Experts are named by `labels`, since those of two seeds have only their type in common.
    """
    path = study.run.path / f"ablation-s{seed}.json"
    if not path.exists():
        arms = {"all": arm}
        arms |= {f"without {n}": replace(arm, ablate=(e.name,)) for n, e in zip(labels, arm.experts, strict=True)}
        files.write_json(
            path, {n: {g: study.logps(a, asked) for g, asked in questions.items()} for n, a in arms.items()}
        )
    return files.read_json(path)


def ablation_finding(
    ablations: Mapping[int, Mapping[str, Mapping[str, list[float]]]], text: Sequence[str] = ()
) -> Finding:
    """Returns what is lost without each expert, by group of questions, and a heat map of it."""
    first = next(iter(ablations.values()))
    measures = []
    for group, values in first["all"].items():
        scores = {arm: {seed: ablations[seed][arm][group] for seed in ablations} for arm in first}
        measures.append(Measure(group, LOGP, scores, [group] * len(values)))
    arms = [arm for arm in first if arm != "all"]
    values = [[one.value if (one := m.change(arm, "all")) else None for m in measures] for arm in arms]
    finding = changes(measures, text, "What each expert is worth", against="all")
    figure = Matrix("Change of log p without an expert", "Mean over seeds.", arms, [m.group for m in measures], values)
    return replace(finding, figure=figure)


def own_type(
    ablations: Mapping[int, Mapping[str, Mapping[str, list[float]]]], kinds: Sequence[str], types: Sequence[int]
) -> Measure:
    """Returns the log p without an expert of a question's own type and without one of another, a mean over such experts.

    `kinds` are the types in order, `types` that of each expert; groups of `ablations` are called "KIND LANGUAGE".
    """
    scores: dict[str, dict[int, list[float]]] = {"without its own type": {}, "without another type": {}}
    for seed, worth in ablations.items():
        experts = [values for arm, values in worth.items() if arm != "all"]
        for group in [group for group in worth["all"] if group.split(" ")[0] in kinds]:
            kind = kinds.index(group.split(" ")[0])
            for name, is_own in zip(scores, (True, False), strict=True):
                chosen = [of[group] for of, k in zip(experts, types, strict=True) if (k == kind) is is_own]
                scores[name].setdefault(seed, []).extend(fmean(values) for values in zip(*chosen, strict=True))
    questions = max((len(v) for v in scores["without its own type"].values()), default=0)
    return Measure("all kinds", LOGP, scores, ["all kinds"] * questions)


def _words(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
