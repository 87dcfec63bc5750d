"""The findings of a search: the chosen arm, the history of the trials, the Pareto front, and which parameters mattered."""

import math
import warnings
from collections.abc import Sequence

import optuna
from optuna import Study
from optuna.trial import TrialState

from yosegi.findings import Bars, Cell, Estimate, Finding, Lines, Point, Reference, Scatter, Series, Table, save
from yosegi.run import Run
from yosegi.search.settings import Search
from yosegi.search.space import given_of, method
from yosegi.search.trials import Tried, best_baseline, choose, front, gain, shown, tried

ENOUGH = 10
"""Whole trials from which on it is worth asking which parameter mattered."""


def findings(run: Run, study: Study, search: Search) -> None:
    """Write the page's part about this search; before the first whole trial there is none.

    Args:
        run: the folder.
        study: the trials.
        search: what was searched.
    """
    every = tried(study, search.space)
    if not every:
        return
    best = choose(every)
    listed = [_chosen(best, every, study, search), _history(best, every, study)]
    if search.settings.pareto:
        listed.append(_front(every, search))
    if shares := importance(study, search):
        listed.append(_importance(shares))
    title = f"Search among {len(search.space.experts)} experts: {', '.join(search.probe.labels)}"
    save(run.path, title, listed)


def _chosen(best: Tried, every: Sequence[Tried], study: Study, search: Search) -> Finding:
    """The chosen arm, and what it is compared with."""
    space, labels = search.space, search.probe.labels
    against, pruned = best_baseline(every), len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))
    asked = sum(map(len, search.probe.examples))
    text = [
        f"{len(every)} whole trials and {pruned} broken off early, {asked} validation questions each; sampler "
        f"{search.settings.sampler}, penalty {search.penalty:g} on mean |w|. Chosen: {best.label}, {_words(best)}.",
        "Chosen and measured on the same questions, these numbers flatter the choice: the more trials and the fewer questions, "
        "the more. What it is worth is what yosegi eval finds on test, which the search never reads.",
    ]
    if against is not None and against is not best:
        gains = [
            f"{label} {c.diff:+.4f} ({c.diff_low:+.4f} to {c.diff_high:+.4f}{', inside the noise' if c.inside_noise else ''})"
            for label, c in zip(labels, gain(best, against), strict=True)
        ]
        text.append(f"Against the best baseline ({against.label}), question by question: {'; '.join(gains)}.")
    elif against is best:
        text.append("No trial beat the best baseline, so the baseline is what was chosen.")
    rows_of = shown(every, best)
    top = [max(one.means[n] for one in rows_of) for n in range(len(labels))]
    rows: list[list[Cell]] = [
        [
            one.label + (" (chosen)" if one is best else ""),
            Estimate(round(one.value, 5), best=one is best),
            *(Estimate(round(m, 5), best=m == t) for m, t in zip(one.means, top, strict=True)),
            *(_weight(space.weights(one.params), e) for e in range(len(space.experts)) if space.labels),
        ]
        for one in rows_of
    ]
    columns = ["", "value", *labels, *(f"w {e}" for e in space.experts if space.labels)]
    note = "value: the mean of the goals by weight, less the penalty."
    if len(space.labels) > 1:
        note += f" A weight with several numbers: {'; '.join(space.labels)}."
    return Finding("The chosen arm and the baselines", text, Table(columns, rows, note))


def _words(one: Tried) -> str:
    given = {k: v for k, v in given_of(one.arm).items() if k != "weights"}
    args = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in given.items())
    return (method(one.arm) if one.arm.experts else "the base") + (f" with {args}" if args else "")


def _weight(weights_GE: Sequence[Sequence[float]], e: int) -> str | float | None:
    w_G = [w_E[e] for w_E in weights_GE]
    if len(set(w_G)) <= 1:
        return round(w_G[0], 4) if w_G else None
    return " / ".join(f"{w:.2f}" for w in w_G)


def _history(best: Tried, every: Sequence[Tried], study: Study) -> Finding:
    """Every trial, and the best so far."""
    each = [(one.number, one.value) for one in every]
    so_far, top = [], -math.inf
    for one in every:
        top = max(top, one.value)
        so_far.append((one.number, top))
    series = [Series("trial", each), Series("best so far", so_far)]
    against = best_baseline(every)
    reference = Reference(against.value, against.label) if against else None
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    write, probe = (_median([t.user_attrs["result"][key] for t in trials]) for key in ("write_ms", "probe_ms"))
    caption = "The value of every whole trial, and the best so far; the line across is the best baseline."
    text = f"A trial took {probe:,.0f} ms of questions and {write:.2f} ms of writing its arm into the model (medians)."
    figure = Lines("Value by trial", caption, series, x="trial", y="value", reference=reference)
    return Finding("How the search went", [text], figure=figure)


def _front(every: Sequence[Tried], search: Search) -> Finding:
    """The trials that nothing beats, in the first two goals drawn, in all of them listed."""
    on, labels = front(every), search.probe.labels
    numbers = {one.number for one in on}
    points = [
        Point(one.means[0], one.means[1], one.label, "front" if one.number in numbers else "beaten") for one in every
    ]
    rows: list[list[Cell]] = [
        [one.label, *(round(m, 5) for m in one.means), _words(one)] for one in sorted(on, key=lambda one: one.means)
    ]
    caption = f"{labels[0]} against {labels[1]}, one point per whole trial."
    return Finding(
        "Where the tasks disagree",
        ["On the front, no task can gain without another losing, among what was tried."],
        Table(["", *labels, "arm"], rows),
        Scatter("Pareto front", caption, points, x=labels[0], y=labels[1]),
    )


def importance(study: Study, search: Search) -> dict[str, float]:
    """How much of what sets the best trials apart is each parameter's doing, largest first; {} where too little was tried.

    PED-ANOVA, Watanabe et al. 2023, arXiv:2304.10255: it also counts parameters that only some methods have.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len([t for t in trials if t.params and "baseline" not in t.user_attrs]) < ENOUGH:
        return {}
    target = (
        (lambda t: -t.user_attrs["result"]["value"]) if search.settings.pareto else None
    )  # where it is told, less is better
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = optuna.importance.get_param_importances(study, target=target)
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _importance(shares: dict[str, float]) -> Finding:
    largest = list(shares.items())[:30]
    caption = "Share of what sets the best tenth of the trials apart (PED-ANOVA)" + (
        f"; the first 30 of {len(shares)} parameters." if len(shares) > 30 else "."
    )
    names, values = [name for name, _ in largest], [round(share, 5) for _, share in largest]
    return Finding("What mattered", figure=Bars("Importance of each parameter", caption, names, values, y="share"))


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
