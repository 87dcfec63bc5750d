"""Paired comparisons of two models on the same questions, and what is called a difference."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from yosegi.evaluation.exact import ALPHA, holm
from yosegi.reporting.read import Measurement, Results

LOW_IS_GOOD = ("loss", "perplexity", "ppl", "error", "nll", "bits_per_byte", "bits_per_character", "parse_failures")


class Comparison(NamedTuple):
    """One model against another; `measured` has the difference and its interval, `verdict` is better, worse or noise."""

    measured: Measurement
    model: str
    against: str
    task: str
    metric: str
    seed: str
    p: float
    verdict: str


def low_is_good(metric: str) -> bool:
    """Returns whether less of it is better."""
    return any(word in metric.lower() for word in LOW_IS_GOOD)


def is_noise(m: Measurement) -> bool:
    """Returns whether a paired comparison finds no difference: as its row says, else by its p."""
    written = m.row.get("inside_noise")
    return written if isinstance(written, bool) else (m.number("p_value") or 0.0) > ALPHA


def comparisons(results: Results, models: Sequence[str]) -> list[Comparison]:
    """Returns every paired comparison by task, models in the order of the page."""
    several_seeds = len({str(m.seed) for m in results.comparisons}) > 1
    rows: list[Comparison] = []
    for m in results.comparisons:
        diff = m.number("diff")
        up = diff if diff is not None else (m.number("gained") or 0) - (m.number("lost") or 0)
        good = up < 0 if low_is_good(m.metric) else up > 0
        verdict = "noise" if is_noise(m) or up == 0 else "better" if good else "worse"
        seed, p = str(m.seed) if several_seeds else "", m.number("p_value") or 0.0
        rows.append(Comparison(m, m.model, results.against(m), m.task, m.metric, seed, p, verdict))
    tasks = list(dict.fromkeys(row.task for row in rows))
    places = {model: i for i, model in enumerate(models)}
    return sorted(
        rows, key=lambda row: (tasks.index(row.task), row.metric, places.get(row.model, len(models)), row.seed)
    )


def left_by_holm(p_values: Iterable[float]) -> int:
    """Returns how many differences are left when all are judged together, so that a false one anywhere is rare."""
    return sum(p <= ALPHA for p in holm(list(p_values)))
