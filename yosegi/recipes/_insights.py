"""What `insights` says of its numbers: one finding each, a list of seeds in, a piece of `findings.json` out."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import pearsonr, spearmanr


def similarity_finding(
    pairs: Sequence[Sequence[Mapping[str, Any]]], names_: Sequence[str], draws: int
) -> dict[str, Any]:
    """(a) as a page of the report: the mean over seeds of every pair."""
    gain, rows, points = _matrix(pairs, "gain", names_), [], []
    for space in ("factors", "delta"):
        cosine = _matrix(pairs, space, names_)
        for what, of in (("Pearson", pearsonr), ("Spearman", spearmanr)):
            value, low, high, p = correlation(cosine, gain, of, draws)
            rows.append([space, what, {"value": value, "low": low, "high": high}, p])
        if space == "delta":
            points = [
                {
                    "x": float(cosine[i, j]),
                    "y": float(gain[i, j]),
                    "label": f"{_short(names_[i])} + {_short(names_[j])}",
                }
                for i, j in combinations(range(len(names_)), 2)
            ]
    worth = float(np.mean([p["y"] > 0 for p in points]))
    return {
        "heading": "Like experts, and the gain of training together",
        "text": [
            f"{len(points)} pairs of {len(names_)} tasks, mean of {len(pairs)} seeds. Gain: mean log p of the gold answers with "
            f"one expert for both, minus that with one each; each task is read as often. {worth:.0%} of the pairs gain.",
            "Pairs share tasks and so are not independent: the intervals draw tasks again, and p is by permuting tasks (Mantel).",
        ],
        "table": {"columns": ["cosine of", "correlation with the gain", "value", "p"], "rows": rows},
        "figure": {
            "kind": "scatter", "title": "Cosine of two private experts, and the gain of one for both",
            "caption": "A point a pair of tasks.", "x": "cosine of ΔW", "y": "gain, nats a token", "points": points,
            "line": True,
        },
    }  # fmt: skip


def correlation(x: np.ndarray, y: np.ndarray, of: Any, draws: int) -> tuple[float, float, float, float]:
    """The correlation of two symmetric matrices above their diagonals, its 95 % interval over tasks, Mantel's two-sided p."""
    n = len(x)
    upper = np.triu_indices(n, 1)
    value, generator, drawn, beyond = float(of(x[upper], y[upper])[0]), np.random.default_rng(0), [], 0
    for _ in range(draws):
        some = generator.integers(0, n, n)
        kept = [(i, j) for i, j in combinations(some, 2) if i != j]
        if len({tuple(sorted(pair)) for pair in kept}) > 2:
            i, j = np.array(kept).T
            drawn.append(of(x[i, j], y[i, j])[0])
        order = generator.permutation(n)
        beyond += abs(of(x[order][:, order][upper], y[upper])[0]) >= abs(value)
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if drawn else (np.nan, np.nan)
    return value, float(low), float(high), (beyond + 1) / (draws + 1)


def ratio_finding(ratios: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """(b) as a page of the report."""
    rows: list[list[Any]] = []
    for what in ("raw", "equal size"):
        shares = [float(np.mean(np.array(r[what]) > 1)) for r in ratios]
        middle = [float(np.median(r[what])) for r in ratios]
        shown = ", ".join(f"{share:.3f}" for share in shares)
        rows.append([what, float(np.mean(shares)), shown, float(np.mean(middle))])
    values = np.concatenate([np.array(r["equal size"]) for r in ratios])
    edges = np.quantile(np.log2(values), [0.001, 0.999])
    counts, edges = np.histogram(np.log2(values), bins=24, range=(min(edges[0], -0.1), max(edges[1], 0.1)))
    return {
        "heading": "Does a delta know its own inputs?",
        "text": [
            "For an example of a task, ‖ΔW x‖ of the task's own expert over that of another, a ratio for each other expert. "
            "Norms are of the delta alone (the authors' code takes the layer's whole output) and averaged over real tokens. "
            "equal size: every ΔW divided by its Frobenius norm, so that a large expert does not win everywhere."
        ],
        "table": {"columns": ["", "share above 1", "by seed", "median ratio"], "rows": rows},
        "figure": {
            "kind": "bars", "title": "log₂ of own over other, at equal size", "caption": "Above 0 the own expert moves more.",
            "labels": [f"{(a + b) / 2:.2f}" for a, b in zip(edges, edges[1:], strict=False)],
            "values": [float(c) / len(values) for c in counts], "x": "log₂ ratio", "y": "share",
        },
    }  # fmt: skip


def arrow_finding(routed: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """(c) as a page of the report."""
    rows, points = [], []
    for several in zip(*routed, strict=True):
        oracle, arrow = (float(np.mean([row[what] for row in several])) for what in ("oracle", "arrow"))
        rows.append([_short(several[0]["task"]), oracle, arrow, arrow - oracle])
        points.append({"x": oracle, "y": arrow, "label": _short(several[0]["task"])})
    below = sum(row[3] < 0 for row in rows)
    return {
        "heading": "Arrow against the oracle",
        "text": [f"log p of the gold answer, mean of {len(routed)} seeds. Arrow is below on {below} of {len(rows)} tasks."],
        "table": {"columns": ["task", "oracle", "arrow", "difference"], "rows": rows},
        "figure": {
            "kind": "scatter", "title": "Arrow and oracle", "caption": "A point a task.", "x": "oracle, log p",
            "y": "arrow, log p", "points": points, "diagonal": True,
        },
    }  # fmt: skip


def clusters_finding(counted: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """(d) as a page of the report."""
    ks = sorted({row["k"] for row in counted[0]})
    series, rows = [], []
    for way in ("mbc", "random"):
        points = []
        for k in ks:
            values = [row["logp"] for seed in counted for row in seed if (row["k"], row["way"]) == (k, way)]
            points.append([k, float(np.mean(values)), float(min(values)), float(max(values))])
        series.append({"name": way, "points": points})
    for k, mbc, lot in zip(ks, series[0]["points"], series[1]["points"], strict=True):
        shown = [row.get("silhouette") for seed in counted for row in seed if (row["k"], row["way"]) == (k, "mbc")]
        known = [value for value in shown if value is not None]
        rows.append([k, mbc[1], lot[1], mbc[1] - lot[1], float(np.mean(known)) if known else None])
    best = max(rows, key=lambda row: row[1])[0]
    return {
        "heading": "How many clusters",
        "text": [
            f"Every task with its cluster's expert; 1 is one expert for all, {ks[-1]} one a task. Clusters, of either kind, have "
            f"three fifths of the training (the private phase of MBC has the rest). Best here: {best}."
        ],
        "table": {"columns": ["k", "mbc, log p", "random, log p", "difference", "silhouette"], "rows": rows},
        "figure": {
            "kind": "lines", "title": "log p by number of clusters", "caption": "Mean of the seeds, and their range.",
            "x": "clusters", "y": "log p of the gold answer", "series": series,
        },
    }  # fmt: skip


def _matrix(seeds: Sequence[Sequence[Mapping[str, Any]]], what: str, names_: Sequence[str]) -> np.ndarray:
    """The mean over seeds of a number a pair, symmetric."""
    place, found = {task: i for i, task in enumerate(names_)}, np.zeros((len(names_), len(names_)))
    for rows in seeds:
        for row in rows:
            i, j = place[row["a"]], place[row["b"]]
            found[i, j] = found[j, i] = found[i, j] + row[what] / len(seeds)
    return found


def _short(task: str) -> str:
    return task.rpartition("/")[2]
