"""The findings of a search: the chosen arm, the history of the trials, the Pareto front, and which parameters mattered."""

import warnings
from collections.abc import Sequence
from itertools import accumulate
from statistics import median_high

import optuna
from optuna import Study
from optuna.trial import TrialState

from yosegi.findings import Bars, Cell, Estimate, Finding, Lines, Point, Reference, Scatter, Series, Table, save
from yosegi.run import Run
from yosegi.search.settings import Search
from yosegi.search.space import given_of, method
from yosegi.search.trials import Tried, best_baseline, choose, front, gain, shown, tried

ENOUGH = 10
"""Finished trials from which on it is worth asking which parameter mattered."""
SHOWN = 30
"""Most parameters in the figure of what mattered."""


def findings(run: Run, study: Study, search: Search) -> None:
    """Writes the part of the page that is about this search; before the first finished trial there is none."""
    if not (trials := tried(study, search.space)):
        return
    parts = [_chosen(choose(trials), trials, study, search), _history(trials, study)]
    parts += [_front(trials, search)] if search.settings.pareto else []
    parts += [_importance(shares)] if (shares := importance(study, search)) else []
    save(run.path, f"Search among {len(search.space.experts)} experts: {', '.join(search.probe.labels)}", parts)


def _chosen(best: Tried, trials: Sequence[Tried], study: Study, search: Search) -> Finding:
    """The chosen arm, and what it is compared with."""
    space, labels, against = search.space, search.probe.labels, best_baseline(trials)
    pruned, asked = len(study.get_trials(states=(TrialState.PRUNED,))), sum(map(len, search.probe.examples))
    text = [
        f"{len(trials)} whole trials and {pruned} broken off early, {asked} validation questions each; sampler "
        f"{search.settings.sampler}, penalty {search.penalty:g} on mean |w|. Chosen: {best.label}, {_words(best)}.",
        "Chosen and measured on the same questions, these numbers flatter the choice: the more trials and the fewer questions, "
        "the more. What it is worth is what yosegi eval finds on test, which the search never reads.",
    ]
    if against is best:
        text.append("No trial beat the best baseline, so the baseline is what was chosen.")
    elif against is not None:
        gains = [
            f"{label} {c.diff:+.4f} ({c.diff_low:+.4f} to {c.diff_high:+.4f}{', inside the noise' if c.inside_noise else ''})"
            for label, c in zip(labels, gain(best, against), strict=True)
        ]
        text.append(f"Against the best baseline ({against.label}), question by question: {'; '.join(gains)}.")
    listed, experts = shown(trials, best), space.experts if space.labels else []
    top = [max(means) for means in zip(*(one.means for one in listed), strict=True)]
    rows: list[list[Cell]] = [
        [
            one.label + " (chosen)" * (one is best),
            Estimate(round(one.value, 5), best=one is best),
            *(Estimate(round(m, 5), best=m == t) for m, t in zip(one.means, top, strict=True)),
            *(_weight([w_E[e] for w_E in space.weights(one.params)]) for e in range(len(experts))),
        ]
        for one in listed
    ]
    note = "value: the mean of the goals by weight, less the penalty."
    note += f" A weight with several numbers: {'; '.join(space.labels)}." * (len(space.labels) > 1)
    table = Table(["", "value", *labels, *(f"w {e}" for e in experts)], rows, note)
    return Finding("The chosen arm and the baselines", text, table)


def _words(one: Tried) -> str:
    given = {k: v for k, v in given_of(one.arm).items() if k != "weights"}
    args = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in given.items())
    return (method(one.arm) if one.arm.experts else "the base") + (f" with {args}" if args else "")


def _weight(w_G: Sequence[float]) -> str | float:
    return round(w_G[0], 4) if len(set(w_G)) == 1 else " / ".join(f"{w:.2f}" for w in w_G)


def _history(trials: Sequence[Tried], study: Study) -> Finding:
    """Every trial, and the best so far."""
    values = [one.value for one in trials]
    points = [("trial", values), ("best so far", list(accumulate(values, max)))]
    series = [Series(name, [(one.number, y) for one, y in zip(trials, ys, strict=True)]) for name, ys in points]
    against, done = best_baseline(trials), study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    write, probe = (median_high(t.user_attrs["result"][key] for t in done) for key in ("write_ms", "probe_ms"))
    text = f"A trial took {probe:,.0f} ms of questions and {write:.2f} ms of writing its arm into the model (medians)."
    caption = "The value of every whole trial, and the best so far; the line across is the best baseline."
    reference = Reference(against.value, against.label) if against else None
    figure = Lines("Value by trial", caption, series, x="trial", y="value", reference=reference)
    return Finding("How the search went", [text], figure=figure)


def _front(trials: Sequence[Tried], search: Search) -> Finding:
    """The trials that nothing beats, in the first two goals drawn, in all of them listed."""
    best, labels = front(trials), search.probe.labels
    points = [Point(one.means[0], one.means[1], one.label, "front" if one in best else "beaten") for one in trials]
    rows: list[list[Cell]] = [
        [one.label, *(round(m, 5) for m in one.means), _words(one)] for one in sorted(best, key=lambda one: one.means)
    ]
    caption = f"{labels[0]} against {labels[1]}, one point per whole trial."
    return Finding(
        "Where the tasks disagree",
        ["On the front, no task can gain without another losing, among what was tried."],
        Table(["", *labels, "arm"], rows),
        Scatter("Pareto front", caption, points, x=labels[0], y=labels[1]),
    )


def importance(study: Study, search: Search) -> dict[str, float]:
    """Returns each parameter's share in what sets the best trials apart, largest first; {} where too little was tried.

    PED-ANOVA, Watanabe et al. 2023, arXiv:2304.10255: it also counts parameters that only some methods have.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len([t for t in trials if t.params and "baseline" not in t.user_attrs]) < ENOUGH:
        return {}
    pareto = search.settings.pareto  # with a target, less is better
    target = (lambda t: -t.user_attrs["result"]["value"]) if pareto else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = optuna.importance.get_param_importances(study, target=target)
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _importance(shares: dict[str, float]) -> Finding:
    caption = "Share of what sets the best tenth of the trials apart (PED-ANOVA)"
    caption += f"; the first {SHOWN} of {len(shares)} parameters." if len(shares) > SHOWN else "."
    names, values = list(shares)[:SHOWN], [round(share, 5) for share in shares.values()][:SHOWN]
    return Finding("What mattered", figure=Bars("Importance of each parameter", caption, names, values, y="share"))
