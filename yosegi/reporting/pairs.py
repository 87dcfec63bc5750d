"""Two models on the same questions: the paired test, and the overlap of what both have right.

McNemar's exact test (McNemar 1947) and Jaccard's index (1912). With several seeds the difference has the interval of `over_seeds`
instead of a p.
"""

from dataclasses import dataclass

from yosegi.evaluation.exact import ALPHA, mcnemar
from yosegi.reporting.answers import RIGHT, Answers
from yosegi.reporting.format import between, probability


@dataclass(frozen=True)
class Pair:
    """Two models on one task. The counts are of questions; p and the interval are those of b less a."""

    a: str
    b: str
    n: int
    score_a: float
    score_b: float
    both: int
    only_a: int
    only_b: int
    p: float | None
    low: float | None
    high: float | None

    @property
    def noise(self) -> bool:
        """Returns whether no difference is shown."""
        if self.p is not None:
            return self.p > ALPHA
        return self.low is None or self.high is None or self.low <= 0 <= self.high

    @property
    def right(self) -> tuple[int, int]:
        """Returns how many each has right."""
        return self.both + self.only_a, self.both + self.only_b

    @property
    def jaccard(self) -> float | None:
        """Of the questions that one of them has right, the share that both have."""
        either = self.both + self.only_a + self.only_b
        return self.both / either if either else None

    @property
    def by_luck(self) -> float | None:
        """Returns the same, expected of models that are right as often and do not look at the question."""
        a, b = self.right
        both = a * b / self.n
        return both / (a + b - both) if a + b else None

    @property
    def test(self) -> str:
        """Returns the p, or the interval over seeds, in words."""
        return f"p {probability(self.p)}" if self.p is not None else f"{between(self.low, self.high)} over seeds"


def pair(answers: Answers, a: str, b: str) -> Pair | None:
    """Returns one pair, on the questions that both were asked."""
    if not (ids := answers.ids(a, b)):
        return None
    mean_a, mean_b = answers.mean(a, ids), answers.mean(b, ids)
    right = [(x >= RIGHT, y >= RIGHT) for x, y in zip(mean_a, mean_b, strict=True)]
    both, only_a, only_b = (right.count(kind) for kind in ((True, True), (True, False), (False, True)))
    p = low = high = None
    a_SN, b_SN = answers.scores(a, ids), answers.scores(b, ids)
    few, many = sorted((len(a_SN), len(b_SN)))
    if many == 1 and all(score in (0, 1) for score in (*mean_a, *mean_b)):
        p = mcnemar(only_b, only_a)
    else:
        from yosegi.evaluation.statistics import compare, over_seeds  # numpy: only where it is needed

        if many == 1:
            p = compare(mean_b, mean_a).p_value
        else:  # one seed (a base has no more) stands against each of the other's
            seeds = many if few == 1 else few
            a_SN, b_SN = ((scores * seeds if len(scores) == 1 else scores)[:seeds] for scores in (a_SN, b_SN))
            _, low, high = over_seeds(b_SN, a_SN)
    score_a, score_b = (sum(means) / len(ids) for means in (mean_a, mean_b))
    return Pair(a, b, len(ids), score_a, score_b, both, only_a, only_b, p, low, high)
