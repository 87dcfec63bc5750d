"""Paired comparisons of two models on the same questions, and what is called a difference."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from yosegi.evaluation.exact import ALPHA, FEW_CHANGED, holm
from yosegi.reporting.read import Measurement, Results

LOW_IS_GOOD = ("loss", "perplexity", "ppl", "error", "nll", "bits_per_byte", "bits_per_character", "parse_failures")


ALIKE = 0.02
"""How far two measurements of one arm may be apart: a batch of another shape rounds otherwise."""


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

    @property
    def is_few(self) -> bool:
        """Returns whether so few answers changed that the exact p is conservative, and the mid-p says more."""
        changed = (self.measured.number("gained") or 0) + (self.measured.number("lost") or 0)
        return self.measured.number("mid_p") is not None and changed < FEW_CHANGED


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


def own_experts(results: Results) -> dict[tuple[str, str], str]:
    """Returns the expert that an oracle is on a task, by (oracle, task): there the two are one arm.

    The cards of the run say which expert was trained on a task; without cards it is the one that has every number of the oracle.
    """
    numbers: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    oracles: dict[str, str] = {}
    experts: dict[str, list[str]] = {}
    names: dict[tuple[str, str], str] = {}
    for m in results.scores:
        numbers.setdefault((m.model, m.task), {})[m.metric, str(m.seed)] = m.value or 0.0
        names[m.run, str(m.row["model"])] = m.model
        if m.row.get("router") == "oracle":
            oracles[m.model] = m.run
        elif m.row.get("method") == "expert":
            experts.setdefault(m.run, []).append(m.model)
    cards = {(run.name, str(task)): names.get((run.name, str(card.get("name"))))
             for run in results.runs for card, _ in run.experts for task in card.get("task") or []}  # fmt: skip
    same_arm: dict[tuple[str, str], str] = {}
    for oracle, run in oracles.items():
        for task in results.tasks:
            mine = numbers.get((oracle, task), {})
            theirs = {expert: numbers.get((expert, task), {}) for expert in dict.fromkeys(experts.get(run, []))}
            same = [expert for expert, of in theirs.items() if mine and of == mine]
            expert = cards.get((run, task.partition(" · ")[0])) or (same[0] if len(same) == 1 else "")
            of = theirs.get(expert, {})
            if (
                mine
                and mine.keys() == of.keys()
                and all(abs(mine[k] - of[k]) <= ALIKE * max(1.0, abs(of[k])) for k in of)
            ):
                same_arm[oracle, task] = expert
    return same_arm
