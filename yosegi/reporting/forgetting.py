"""What was forgotten: general knowledge and general texts before and after, from the rows that are marked "general".

For each model one number, how much less of what the base knew it knows: the mean change over the knowledge tasks, each counted
alike, paired question by question, with a 95 % interval over questions and seeds (evaluation/statistics.py). Texts are counted
apart, as the factor on the perplexity per character. A task on which the base does no better than chance cannot show forgetting:
it would only dilute the number, so it is listed and not counted.

Shapes: S seeds, N questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from yosegi.evaluation.exact import Z95, wilson
from yosegi.reporting.format import known, number, signed
from yosegi.reporting.read import Measurement, Results, read

BITS = "bits_per_character"
LETTER = "letter"
"""The metric that, in tasks with choices, asks for knowledge alone and not for the form of an answer."""
FEW = 5
"""An open question task on which the base has fewer right (and fewer than half) is one that it knows nothing about."""

Interval = tuple[float, float, float]
"""A mean, and where it may lie."""
Scores = list[list[float]]
"""[S][N]"""


@dataclass(frozen=True)
class Change:
    """One model on one general task. `gained` and `lost` are ids of questions (texts that became likelier), of the first seed."""

    task: str
    metric: str
    before: float
    interval: Interval
    gained: list[str]
    lost: list[str]
    at_chance: bool
    """Whether the base knows no more than chance, so that nothing can be lost."""
    after_SN: Scores
    before_SN: Scores

    @property
    def questions(self) -> int:
        """Returns how many were answered in all seeds."""
        return len(self.after_SN[0])

    @property
    def seeds(self) -> int:
        """Returns how many there are."""
        return len(self.after_SN)


@dataclass(frozen=True)
class Forgetting:
    """One model. `knowledge` and `texts` are mean changes; None where nothing was measured."""

    model: str
    changes: list[Change]
    knowledge: Interval | None
    texts: Interval | None

    @property
    def verdict(self) -> str:
        """Returns the change of knowledge in words."""
        if self.knowledge is None:
            asked = any(change.metric != BITS for change in self.changes)
            return f"not measured: {'the base is at chance' if asked else 'no questions were asked, only texts'}"
        _, low, high = self.knowledge
        if high < 0:
            return "forgets"
        return "gains" if low > 0 else f"no loss shown; at most {number(-low)}"

    @property
    def factor(self) -> Interval | None:
        """Returns what the perplexity per character of the texts together is multiplied by."""
        return None if self.texts is None else (2 ** self.texts[0], 2 ** self.texts[1], 2 ** self.texts[2])


def forgetting(results: Results, models: Sequence[str]) -> list[Forgetting]:
    """Returns a line for each model that answered general tasks and is not the base."""
    lines: list[Forgetting] = []
    tasks = dict.fromkeys(m.task for m in results.general)
    for model in (model for model in models if model not in results.bases.values()):
        changes = [change for task in tasks if (change := _change(results, model, task)) is not None]
        if changes:
            knowledge = _together([c for c in changes if c.metric != BITS and not c.at_chance])
            lines.append(Forgetting(model, changes, knowledge, _together([c for c in changes if c.metric == BITS])))
    return lines


def print_forgetting(run: Path) -> None:
    """Prints a line for each model of a run."""
    results = read([run])
    for line in forgetting(results, results.models):
        words = [line.verdict]
        if line.knowledge is not None:
            value, low, high = map(signed, line.knowledge)
            words = [f"{value} [{low}, {high}]", *words]
        if line.factor is not None:
            value, low, high = map(number, line.factor)
            words.append(f"perplexity of general texts × {value} [{low}, {high}]")
        print(f"General knowledge, {line.model}: {'; '.join(words)}")


def _change(results: Results, model: str, task: str) -> Change | None:
    """Returns the metric that counts, for every seed, with the base of the same seed (or of any, where it has no such)."""
    mine = [m for m in results.general if (m.model, m.task) == (model, task)]
    names = [m.metric for m in mine]
    metric = next((name for name in (BITS, LETTER) if name in names), next(iter(names), ""))
    runs = {run.name: run for run in results.runs}
    pairs: list[tuple[Measurement, Measurement]] = []
    for m in (m for m in mine if m.metric == metric):
        wanted = (results.bases.get(m.run), task, metric)
        bases = [b for b in results.general if (b.model, b.task, b.metric) == wanted]
        pairs += [(m, base) for base in sorted(bases, key=lambda b: str(b.seed) != str(m.seed))[:1]]
    if not pairs:
        return None
    key = "score" if names[:1] == [metric] else metric
    after, before = (
        [{str(row["id"]): v for row in runs[m.run].items(m) if (v := known(row.get(key))) is not None} for m in side]
        for side in zip(*pairs, strict=True)
    )
    ids = [key for key in before[0] if all(key in values for values in (*after, *before))]
    if not ids:
        return None
    after_SN, before_SN = ([[values[key] for key in ids] for values in side] for side in (after, before))
    moved = {key: (after[0][key] - before[0][key]) * (-1 if metric == BITS else 1) for key in ids}
    level, base = sum(before_SN[0]) / len(ids), pairs[0][1]
    return Change(
        task,
        metric,
        level,
        _interval(after_SN, before_SN),
        gained=[key for key, by in moved.items() if by > 0],
        lost=[key for key, by in moved.items() if by < 0],
        at_chance=metric != BITS and _at_chance(base, level, len(ids)),
        after_SN=after_SN,
        before_SN=before_SN,
    )


def _at_chance(base: Measurement, level: float, n: int) -> bool:
    """Returns whether the interval of the base reaches down to what a guess is worth."""
    if (chance := base.number("chance")) is None:
        return level * n < min(FEW, n / 2)
    return (base.low if base.low is not None else level) <= chance


def _together(changes: Sequence[Change]) -> Interval | None:
    """Returns the mean over tasks, each counted alike, with an interval over questions and seeds."""
    if not changes:
        return None
    total, seeds = sum(c.questions for c in changes), range(min(c.seeds for c in changes))
    weights = [total / (len(changes) * c.questions) for c in changes]
    after_SN, before_SN = (
        [[value * w for of_SN, w in zip(side, weights, strict=True) for value in of_SN[s]] for s in seeds]
        for side in ([c.after_SN for c in changes], [c.before_SN for c in changes])
    )
    moved = sum(len(c.gained) + len(c.lost) for c in changes)
    return _interval(after_SN, before_SN, moved if changes[0].metric != BITS else None)


def _interval(after_SN: Scores, before_SN: Scores, moved: int | None = None) -> Interval:
    """Returns the mean change and its interval; where answers are right or wrong, never so narrow as to be proof.

    That no question of 300 changed does not show that none ever will: it may be 0.013 (Wilson 1927). Where a few changed, half
    an observation more of each kind is added (Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
    proportions").
    """
    from yosegi.evaluation.statistics import over_seeds  # numpy: only where it is needed

    mean, low, high = over_seeds(after_SN, before_SN)
    n = len(after_SN[0])
    if moved is None:
        if any(value not in (0, 1) for values in (*after_SN, *before_SN) for value in values):
            return mean, low, high
        moved = sum(a != b for a, b in zip(after_SN[0], before_SN[0], strict=True))
    # What was never seen in n questions may still be as frequent as Wilson's interval says.
    half = Z95 * sqrt(max(moved + 1 - mean * mean * (n + 2), 0)) / (n + 2) if moved else wilson(0, n)[1]
    return mean, min(low, mean - half), max(high, mean + half)
