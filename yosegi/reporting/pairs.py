"""Any two models on the same questions: is there a difference, and do they have the same questions right?

Equal scores over different questions are what luck looks like: two models that have 2 of 100 right, and not the same two, show
nothing. So each pair has McNemar's exact test (McNemar 1947) and the overlap of what is right (Jaccard's index, 1912), beside
the overlap of two models that were right as often without regard to the question. Of several seeds the difference has the
interval of `over_seeds` instead of a p.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from yosegi.evaluation.exact import mcnemar, wilson
from yosegi.reporting.answers import RIGHT, Asked
from yosegi.reporting.format import number, probability

MODELS = 10
"""All pairs of so many models are compared; of more, each with the base and with the first."""
LISTED = 300
"""Pairs listed on one page; of more, those of each task with the smallest p."""
FEW = 0.05
"""Right answers, as a share, that may as well be luck."""
ALPHA = 0.05


@dataclass(frozen=True)
class Pair:
    """Two models on one task. The counts are of questions; `higher` and `lower` say how often b's score is above a's."""

    a: str
    b: str
    n: int
    score_a: float
    score_b: float
    both: int
    only_a: int
    only_b: int
    higher: int
    lower: int
    p: float | None
    low: float | None
    high: float | None
    noise: bool

    @property
    def right(self) -> tuple[int, int]:
        """How many each has right."""
        return self.both + self.only_a, self.both + self.only_b

    @property
    def jaccard(self) -> float | None:
        """Of the questions that one of them has right, those that both have."""
        either = self.both + self.only_a + self.only_b
        return self.both / either if either else None

    @property
    def by_luck(self) -> float | None:
        """The same, expected of models that are right as often and do not look at the question."""
        a, b = self.right
        both = a * b / self.n
        return both / (a + b - both) if a + b else None


@dataclass
class Pairs:
    """One task."""

    task: str
    words: list[str]
    rows: list[Pair] = field(default_factory=list)
    seeds: bool = False
    every: bool = True
    """Whether all pairs were compared."""
    compared: int = 0


def pairs(asked: Asked, listed: int = LISTED) -> Pairs | None:
    """The pairs of one task, and in words what its questions can tell apart; None of a single model.

    Args:
        asked: the answers.
        listed: how many pairs there is room for; the words are about all of them.
    """
    models = list(asked.said)
    if len(models) < 2:
        return None
    means = {model: _mean(asked, model) for model in models}
    ranked = sorted(models, key=lambda model: -means[model])
    wanted = list(combinations(models, 2))
    if len(models) > MODELS:
        middle = {asked.base, ranked[0]}
        wanted = [pair for pair in wanted if middle & set(pair)]
    rows = [row for a, b in wanted if (row := pair(asked, a, b)) is not None]
    if not rows:
        return None
    seeds = any(row.p is None for row in rows)
    words, compared = _words(asked, rows, ranked), len(rows)
    if compared > listed:
        nearest = sorted(range(compared), key=lambda i: (rows[i].noise, 1.0 if rows[i].p is None else rows[i].p, i))
        rows = [rows[i] for i in sorted(nearest[:listed])]
    return Pairs(asked.task, words, rows, seeds, len(models) <= MODELS, compared)


def pair(asked: Asked, a: str, b: str) -> Pair | None:
    """One pair, on the questions that both were asked."""
    if not (ids := asked.ids(a, b)):
        return None
    of_a, of_b = asked.mean(a, ids), asked.mean(b, ids)
    right = [(x >= RIGHT, y >= RIGHT) for x, y in zip(of_a, of_b, strict=True)]
    higher = sum(y > x for x, y in zip(of_a, of_b, strict=True))
    lower = sum(y < x for x, y in zip(of_a, of_b, strict=True))
    p = low = high = None
    each_a, each_b = asked.scores(a, ids), asked.scores(b, ids)
    if len(each_a) == len(each_b) == 1:
        whole = all(score in (0, 1) for score in (*of_a, *of_b))
        p = mcnemar(higher, lower) if whole else _by_signs(of_b, of_a)
        noise = p >= ALPHA
    else:  # one seed (a base has no more) stands against each of the other's
        count = max(len(each_a), len(each_b)) if min(len(each_a), len(each_b)) == 1 else min(len(each_a), len(each_b))
        repeat = [(scores * count if len(scores) == 1 else scores)[:count] for scores in (each_a, each_b)]
        from yosegi.evaluation.statistics import over_seeds  # numpy: only where it is needed

        _, low, high = over_seeds(repeat[1], repeat[0])
        noise = low <= 0 <= high
    return Pair(
        a, b, len(ids), sum(of_a) / len(ids), sum(of_b) / len(ids), right.count((True, True)), right.count((True, False)),
        right.count((False, True)), higher, lower, p, low, high, noise,
    )  # fmt: skip


def _by_signs(after: list[float], before: list[float]) -> float:
    from yosegi.evaluation.statistics import compare

    return compare(after, before).p_value


def _mean(asked: Asked, model: str) -> float:
    ids = asked.ids(model)
    return sum(asked.mean(model, ids)) / len(ids) if ids else 0.0


def _words(asked: Asked, rows: Sequence[Pair], ranked: Sequence[str]) -> list[str]:
    """What may be concluded, by itself."""
    apart = [row for row in rows if not row.noise]
    n = max(row.n for row in rows)
    said: list[str] = []
    if not apart:
        if len(rows) > 1 and len(ranked) > MODELS:
            what = f"any of the {len(ranked)} models from the base or from the first; others were not compared"
            said.append(f"These {n:,} questions do not tell {what}.")
        else:
            what = f"{rows[0].a} and {rows[0].b}" if len(rows) == 1 else f"any two of the {len(ranked)} models"
            said.append(f"These {n:,} questions do not tell {what} apart: no difference here is a finding.")
    else:
        count = f"{len(apart)} of {len(rows)} pairs differ" if len(rows) > 1 else f"{rows[0].a} and {rows[0].b} differ"
        said.append(f"{count} outside the noise{_together(rows)}.")
        first = next((row for row in rows if {row.a, row.b} == set(ranked[:2])), None)
        if first is not None and first.noise and len(rows) > 1:
            said.append(f"{ranked[0]} stands first, but cannot be told from {ranked[1]} ({_p(first)}).")
    said += _luck(rows)
    if asked.chance is not None:
        said.append(f"Guessing is worth {number(asked.chance)}.")
    return said


def _together(rows: Sequence[Pair]) -> str:
    """Holm 1979, where each pair has a p."""
    ps = sorted(row.p for row in rows if row.p is not None)
    if len(ps) != len(rows) or len(rows) < 2:
        return ""
    left = next((i for i, p in enumerate(ps) if p >= ALPHA / (len(ps) - i)), len(ps))
    return f", {left} when all are judged together (Holm)"


def _luck(rows: Sequence[Pair]) -> list[str]:
    """Pairs with hardly anything right: what that is worth, and whether it is even the same that is right."""
    few = [row for row in rows if row.noise and max(row.right) and max(row.right) <= FEW * row.n and min(row.right)]
    said = []
    for row in sorted(few, key=lambda row: (row.jaccard or 0.0, row.a, row.b))[:2]:
        (a, b), (low, high) = row.right, wilson(max(row.right), row.n)
        share = "none" if row.both == 0 else str(row.both)
        said.append(
            f"{row.a} has {a} of {row.n:,} right and {row.b} {b} of {row.n:,} ({_p(row)}), {share} of them the same (Jaccard "
            f"{number(row.jaccard)}; without regard to the question {number(row.by_luck)}). {max(a, b)} of {row.n:,} may be "
            f"{100 * low:.1f} % to {100 * high:.1f} %: this is no finding"
            + (", and different questions right by each is what luck looks like; see which answers could be read."
               if (row.jaccard or 0) <= 0.34 else ".")
        )  # fmt: skip
    return said


def _p(row: Pair) -> str:
    return f"p {probability(row.p)}" if row.p is not None else f"{number(row.low)} to {number(row.high)} over seeds"
