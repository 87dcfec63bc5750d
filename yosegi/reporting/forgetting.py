"""What was forgotten: general knowledge and general texts before and after, out of the rows that are marked "general".

For each model one number, how much less of what the base knew it knows: the mean change over the knowledge tasks, each counted
alike, paired question by question, with a 95 % interval over questions and seeds (evaluation/statistics.py). Texts are told
apart, as the factor on the perplexity per character. A task on which the base does no better than chance cannot show forgetting:
it would only dilute the number, so it is listed and not counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path

from yosegi.evaluation.exact import Z95, wilson
from yosegi.reporting.format import known, number, signed
from yosegi.reporting.read import Found, Measurement, Row, read

BITS = "bits_per_character"
LETTER = "letter"
"""Of tasks with choices the metric that asks for knowledge alone, not for the form of an answer."""
FEW = 5
"""An open question task of which the base has fewer right (and fewer than half) is one that it knows nothing of."""
LISTED = 40


@dataclass(frozen=True)
class Change:
    """One model on one general task."""

    task: str
    metric: str
    before: float
    after: float
    diff: float
    low: float
    high: float
    questions: int
    seeds: int
    gained: tuple[str, ...]
    """The ids of questions that became right (texts that became likelier), of the first seed."""
    lost: tuple[str, ...]
    blank: bool
    """Whether the base knows no more than chance, so that nothing can be lost."""

    @property
    def is_text(self) -> bool:
        """Whether it is about plain text."""
        return self.metric == BITS

    @property
    def factor(self) -> tuple[float, float, float]:
        """Of a text: what the perplexity per character is multiplied by, and its interval."""
        return 2**self.diff, 2**self.low, 2**self.high


@dataclass
class Kept:
    """One model. `knowledge` and `texts` are (mean change, low, high); None where nothing was measured."""

    model: str
    changes: list[Change] = field(default_factory=list)
    knowledge: tuple[float, float, float] | None = None
    texts: tuple[float, float, float] | None = None

    @property
    def says(self) -> str:
        """The verdict in words."""
        if self.knowledge is None:
            asked = any(not change.is_text for change in self.changes)
            return f"not measured: {'the base is at chance' if asked else 'no questions were asked, only texts'}"
        _, low, high = self.knowledge
        if high < 0:
            return "forgets"
        return "gains" if low > 0 else f"no loss shown; at most {number(-low)}"

    @property
    def factor(self) -> tuple[float, float, float] | None:
        """Of the texts together, what the perplexity per character is multiplied by."""
        return None if self.texts is None else (2 ** self.texts[0], 2 ** self.texts[1], 2 ** self.texts[2])


@dataclass(frozen=True)
class _Paired:
    """One model beside its base on one task: [seeds][items], on the items that all of them have."""

    change: Change
    after: list[list[float]]
    before: list[list[float]]


def forgetting(found: Found, models: Sequence[str]) -> list[Kept]:
    """A line for each model that answered general tasks and is not the base."""
    general = found.general
    bases = set(found.bases.values())
    out: list[Kept] = []
    for model in (model for model in models if model not in bases):
        pairs: list[_Paired] = []
        for task in dict.fromkeys(m.task for m in general):
            mine = [m for m in general if (m.model, m.task) == (model, task)]
            if (pair := _pair(found, mine, general)) is not None:
                pairs.append(pair)
        if pairs:
            out.append(
                Kept(
                    model,
                    [pair.change for pair in pairs],
                    _together([p for p in pairs if not p.change.is_text and not p.change.blank]),
                    _together([p for p in pairs if p.change.is_text]),
                )
            )
    return out


def say_kept(run: Path) -> None:
    """Print a line for each model of a run."""
    found = read([run])
    for kept in forgetting(found, found.models):
        said = [kept.says]
        if kept.knowledge is not None:
            value, low, high = map(signed, kept.knowledge)
            said = [f"{value} [{low}, {high}]", *said]
        if kept.factor is not None:
            value, low, high = map(number, kept.factor)
            said.append(f"perplexity of general texts × {value} [{low}, {high}]")
        print(f"General knowledge, {kept.model}: {'; '.join(said)}")


def _pair(found: Found, mine: Sequence[Measurement], general: Sequence[Measurement]) -> _Paired | None:
    """The metric that counts, for every seed, beside the base of the same seed (or of any, where it has no such)."""
    names = [m.metric for m in mine]
    metric = next((name for name in (BITS, LETTER) if name in names), next(iter(names), None))
    runs = {run.name: run for run in found.runs}
    after, before, first = [], [], None
    for m in (m for m in mine if m.metric == metric):
        own = [b for b in general if (b.model, b.task, b.metric) == (found.bases.get(m.run), m.task, metric)]
        base = next((b for b in own if str(b.seed) == str(m.seed)), next(iter(own), None))
        if base is None:
            continue
        key = "score" if metric == names[0] else str(metric)
        said, asked = ({str(row["id"]): row for row in runs[one.run].items(one)} for one in (m, base))
        after.append(_values(said.values(), key))
        before.append(_values(asked.values(), key))
        first = first or (m, base, list(asked.values()))
    if first is None:
        return None
    ids = [id for id in before[0] if all(id in some for some in (*after, *before))]
    if not ids:
        return None
    after_SN, before_SN = ([[some[id] for id in ids] for some in both] for both in (after, before))
    diff, low, high = _interval(after_SN, before_SN)
    sign = -1 if metric == BITS else 1
    changed = [(id, sign * (after[0][id] - before[0][id])) for id in ids]
    level = sum(before_SN[0]) / len(ids)
    change = Change(
        task=first[0].task,
        metric=str(metric),
        before=level,
        after=level + diff,
        diff=diff,
        low=low,
        high=high,
        questions=len(ids),
        seeds=len(after),
        gained=tuple(id for id, by in changed if by > 0),
        lost=tuple(id for id, by in changed if by < 0),
        blank=metric != BITS and _is_blank(first[1], first[2], level, len(ids)),
    )
    return _Paired(change, after_SN, before_SN)


def _values(rows: Iterable[Row], key: str) -> dict[str, float]:
    return {str(row["id"]): value for row in rows if (value := known(row.get(key))) is not None}


def _is_blank(base: Measurement, rows: Sequence[Row], level: float, n: int) -> bool:
    """Whether the base is at chance: its interval reaches down to one over the number of choices."""
    counts = [
        len(row["meta"]["choices"]) for row in rows if isinstance(row.get("meta"), dict) and row["meta"].get("choices")
    ]
    if not counts:
        return level * n < min(FEW, n / 2)
    chance = sum(1 / count for count in counts) / len(counts)
    return (base.low if base.low is not None else level) <= chance


def _together(pairs: Sequence[_Paired]) -> tuple[float, float, float] | None:
    """The mean over tasks, each counted alike, with an interval over questions and seeds."""
    if not pairs:
        return None
    seeds = min(pair.change.seeds for pair in pairs)
    total = sum(pair.change.questions for pair in pairs)

    def scaled(of: str) -> list[list[float]]:
        weights = [total / (len(pairs) * pair.change.questions) for pair in pairs]
        return [
            [value * w for pair, w in zip(pairs, weights, strict=True) for value in getattr(pair, of)[s]]
            for s in range(seeds)
        ]

    texts = any(pair.change.is_text for pair in pairs)
    moved = None if texts else [sum(len(ids) for ids in (p.change.gained, p.change.lost)) for p in pairs]
    return _interval(scaled("after"), scaled("before"), None if moved is None else sum(moved))


def _interval(
    after: Sequence[Sequence[float]], before: Sequence[Sequence[float]], moved: int | None = None
) -> tuple[float, float, float]:
    """The mean change and its interval; where answers are right or wrong, never so narrow as to be proof.

    That no question of 300 changed does not show that none ever will: it may be 0.013 (Wilson 1927). Of a few that changed, half
    an observation more of each kind is added (Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
    proportions").
    """
    from yosegi.evaluation.statistics import over_seeds  # numpy: only where it is needed

    mean, low, high = over_seeds(after, before)
    if moved is None:
        if any(value not in (0, 1) for some in (*after, *before) for value in some):
            return mean, low, high
        moved = sum(a != b for a, b in zip(after[0], before[0], strict=True))
    if not moved:  # what was never seen in n questions may still be this often
        half = wilson(0, len(after[0]))[1]
        return mean, min(low, mean - half), max(high, mean + half)
    n = len(after[0]) + 2
    half = Z95 * sqrt(max(moved + 1 - mean * mean * n, 0)) / n
    return mean, min(low, mean - half), max(high, mean + half)
