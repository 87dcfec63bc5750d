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
from yosegi.reporting.read import Measurement, Results, Row, read

BITS = "bits_per_character"
LETTER = "letter"
"""The metric that, in tasks with choices, asks for knowledge alone and not for the form of an answer."""
FEW = 5
"""An open question task on which the base has fewer right (and fewer than half) is one that it knows nothing about."""

Interval = tuple[float, float, float]
"""A mean, and where it may lie."""


@dataclass(frozen=True)
class Change:
    """One model on one general task. `gained` and `lost` are ids of questions (texts that became likelier), of the first seed."""

    task: str
    metric: str
    before: float
    interval: Interval
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    at_chance: bool
    """Whether the base knows no more than chance, so that nothing can be lost."""
    after_SN: list[list[float]]
    before_SN: list[list[float]]

    @property
    def is_text(self) -> bool:
        """Whether it is about plain text."""
        return self.metric == BITS

    @property
    def questions(self) -> int:
        """How many all seeds answered."""
        return len(self.after_SN[0])

    @property
    def seeds(self) -> int:
        """How many there are."""
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
        """The change of knowledge in words."""
        if self.knowledge is None:
            asked = any(not change.is_text for change in self.changes)
            return f"not measured: {'the base is at chance' if asked else 'no questions were asked, only texts'}"
        _, low, high = self.knowledge
        if high < 0:
            return "forgets"
        return "gains" if low > 0 else f"no loss shown; at most {number(-low)}"

    @property
    def factor(self) -> Interval | None:
        """What the perplexity per character of the texts together is multiplied by."""
        return None if self.texts is None else (2 ** self.texts[0], 2 ** self.texts[1], 2 ** self.texts[2])


def forgetting(results: Results, models: Sequence[str]) -> list[Forgetting]:
    """Returns a line for each model that answered general tasks and is not the base."""
    general = results.general
    lines: list[Forgetting] = []
    for model in (model for model in models if model not in results.bases.values()):
        tasks = dict.fromkeys(m.task for m in general)
        changes = [change for task in tasks if (change := _change(results, model, task)) is not None]
        if changes:
            knowledge = _together([c for c in changes if not c.is_text and not c.at_chance])
            lines.append(Forgetting(model, changes, knowledge, _together([c for c in changes if c.is_text])))
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
    """The metric that counts, for every seed, beside the base of the same seed (or of any, where it has no such)."""
    mine = [m for m in results.general if (m.model, m.task) == (model, task)]
    names = [m.metric for m in mine]
    metric = next((name for name in (BITS, LETTER) if name in names), next(iter(names), ""))
    key = "score" if names[:1] == [metric] else metric
    runs = {run.name: run for run in results.runs}
    after: list[dict[str, float]] = []
    before: list[dict[str, float]] = []
    base: Measurement | None = None
    for m in (m for m in mine if m.metric == metric):
        base_label = results.bases.get(m.run)
        bases = [b for b in results.general if (b.model, b.task, b.metric) == (base_label, task, metric)]
        of_seed = next((b for b in bases if str(b.seed) == str(m.seed)), next(iter(bases), None))
        if of_seed is not None:
            base = base or of_seed
            for values, measured in ((after, m), (before, of_seed)):
                rows = runs[measured.run].items(measured)
                values.append({str(row["id"]): v for row in rows if (v := known(row.get(key))) is not None})
    if base is None:
        return None
    ids = [key for key in before[0] if all(key in values for values in (*after, *before))]
    if not ids:
        return None
    after_SN, before_SN = ([[values[key] for key in ids] for values in seeds] for seeds in (after, before))
    sign, level = (-1 if metric == BITS else 1), sum(before_SN[0]) / len(ids)
    moved = {key: sign * (after[0][key] - before[0][key]) for key in ids}
    return Change(
        task,
        metric,
        level,
        _interval(after_SN, before_SN),
        gained=tuple(key for key, by in moved.items() if by > 0),
        lost=tuple(key for key, by in moved.items() if by < 0),
        at_chance=metric != BITS and _at_chance(base, runs[base.run].items(base), level, len(ids)),
        after_SN=after_SN,
        before_SN=before_SN,
    )


def _at_chance(base: Measurement, rows: Sequence[Row], level: float, n: int) -> bool:
    """Whether the interval of the base reaches down to one over the number of choices."""
    counts = [len(meta["choices"]) for row in rows if isinstance(meta := row.get("meta"), dict) and meta.get("choices")]
    if not counts:
        return level * n < min(FEW, n / 2)
    chance = sum(1 / count for count in counts) / len(counts)
    return (base.low if base.low is not None else level) <= chance


def _together(changes: Sequence[Change]) -> Interval | None:
    """The mean over tasks, each counted alike, with an interval over questions and seeds."""
    if not changes:
        return None
    total = sum(change.questions for change in changes)
    weights = [total / (len(changes) * change.questions) for change in changes]
    after_SN, before_SN = (
        [
            [value * w for values_SN, w in zip(of, weights, strict=True) for value in values_SN[seed]]
            for seed in range(min(change.seeds for change in changes))
        ]
        for of in ([change.after_SN for change in changes], [change.before_SN for change in changes])
    )
    moved = sum(len(change.gained) + len(change.lost) for change in changes)
    return _interval(after_SN, before_SN, None if any(change.is_text for change in changes) else moved)


def _interval(
    after_SN: Sequence[Sequence[float]], before_SN: Sequence[Sequence[float]], moved: int | None = None
) -> Interval:
    """The mean change and its interval; where answers are right or wrong, never so narrow as to be proof.

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
    if moved:
        half = Z95 * sqrt(max(moved + 1 - mean * mean * (n + 2), 0)) / (n + 2)
    else:  # what was never seen in n questions may still be this often
        half = wilson(0, n)[1]
    return mean, min(low, mean - half), max(high, mean + half)
