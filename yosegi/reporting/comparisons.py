"""Paired comparisons of two models on the same questions, and what is called a difference."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from yosegi.reporting.format import known
from yosegi.reporting.read import Measurement, Results

ALPHA = 0.05
"""A paired difference with a p below this is called a difference; anything else is noise."""
LOW_IS_GOOD = ("loss", "perplexity", "ppl", "error", "nll", "bits_per_byte", "bits_per_character", "parse_failures")


@dataclass(frozen=True)
class Comparison:
    """One model against another. `verdict` is better, worse or noise."""

    model: str
    against: str
    task: str
    metric: str
    seed: str
    diff: float | None
    low: float | None
    high: float | None
    gained: int | None
    lost: int | None
    p: float
    verdict: str


def low_is_good(metric: str) -> bool:
    """Whether less of it is better."""
    return any(word in metric.lower() for word in LOW_IS_GOOD)


def is_noise(m: Measurement) -> bool:
    """Whether a paired comparison finds no difference: as its row says, else by its p."""
    written = m.row.get("inside_noise")
    return written if isinstance(written, bool) else (known(m.row.get("p_value")) or 0.0) >= ALPHA


def comparisons(results: Results, models: Sequence[str]) -> list[Comparison]:
    """Returns every paired comparison by task, models in the order of the page."""
    several_seeds = len({str(m.seed) for m in results.comparisons}) > 1
    rows: list[Comparison] = []
    for m in results.comparisons:
        diff, low, high, gained, lost, p = (
            known(m.row.get(key)) for key in ("diff", "diff_low", "diff_high", "gained", "lost", "p_value")
        )
        up = diff if diff is not None else (gained or 0) - (lost or 0)
        good = up < 0 if low_is_good(m.metric) else up > 0
        verdict = "noise" if is_noise(m) or up == 0 else "better" if good else "worse"
        more, fewer = (None if count is None else int(count) for count in (gained, lost))
        seed = str(m.seed) if several_seeds else ""
        against = results.against(m)
        rows.append(
            Comparison(m.model, against, m.task, m.metric, seed, diff, low, high, more, fewer, p or 0.0, verdict)
        )
    tasks = list(dict.fromkeys(row.task for row in rows))
    places = {model: i for i, model in enumerate(models)}
    rows.sort(key=lambda row: (tasks.index(row.task), row.metric, places.get(row.model, len(models)), row.seed))
    return rows


def holm(ps: Iterable[float]) -> int:
    """Returns how many differences are left when all are judged together, so that a false one anywhere is rare (Holm 1979)."""
    ordered = sorted(ps)
    return next((i for i, p in enumerate(ordered) if p >= ALPHA / (len(ordered) - i)), len(ordered))
