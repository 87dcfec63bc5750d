"""Claims of a paper, held against the numbers of a study.

    a difference ("> 0", "+1.2")   two-sided test of the paired differences, over seeds and questions or tasks
    an equality ("≈ 0")            two one-sided tests against a margin (TOST): a difference that was not found is no equality
    no verdict                     below three seeds: with one, two equal arms were called different in 40 % of simulated cases

All tests of one table are corrected together (Holm 1979), so that the whole table is wrong somewhere in one case of twenty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yosegi.evaluation.exact import ALPHA, POWER, holm
from yosegi.evaluation.statistics import difference_p, equivalence_p, over_seeds
from yosegi.findings import Cell, Estimate, Finding, Table
from yosegi.study.measures import LOGP, Measure, rounded

SEEDS = 3
"""Fewer than these get no verdict."""
MARGINS = {LOGP: 0.1}
MARGIN = 0.05
"""What counts as equal: a log p within 0.1 nats a token, any other score within 0.05."""

HOLDS, REVERSE, NOISE = "holds", "the reverse", "inside the noise"
BETTER, WORSE, UNSHOWN = "better", "worse", "not shown"
FEW = f"no verdict below {SEEDS} seeds"
VERDICTS = (HOLDS, REVERSE, BETTER, WORSE, NOISE, UNSHOWN, FEW)


@dataclass(frozen=True)
class Claim:
    """One comparison that somebody has made, on a group of questions."""

    group: str
    arm: str
    against: str
    paper: str = "> 0"
    """What the paper measured: "+1.2", "> 0", "+43 %" of the other arm's score, or "≈ 0" for an equality. "(ours)" marks a
    control that the paper does not have."""

    @property
    def equality(self) -> bool:
        """Returns whether two arms are claimed to be alike."""
        return self.paper.startswith("≈")

    def __str__(self) -> str:
        return f"{self.arm} {'is as good as' if self.equality else 'beats'} {self.against}"


def claims(table: Mapping[str, Mapping[str, Mapping[str, str]]]) -> list[Claim]:
    """Returns the claims of a table: questions -> arm -> the arm it is compared with -> what the paper measured."""
    return [
        Claim(group, arm, against, paper)
        for group, arms in table.items()
        for arm, others in arms.items()
        for against, paper in others.items()
    ]


@dataclass(frozen=True)
class Judged:
    """A claim by one measure: the difference, p after Holm's correction (None without a verdict), and the verdict."""

    claim: Claim
    metric: str
    difference: Estimate
    p: float | None
    verdict: str
    relative: float | None
    """The difference in per cent of the other arm's score, where that is above 0."""


def judge(claims: Sequence[Claim], measures: Sequence[Measure]) -> list[Judged]:
    """Judges every claim by every measure of its group. A claim about an arm that was not run is left out."""
    asked = [(c, m, *m.pairs(c.arm, c.against)) for c in claims for m in measures if m.group == c.group]
    asked = [one for one in asked if one[2]]
    tests: list[list[float]] = []
    for claim, measure, after, before in asked:
        p = [difference_p(after, before, measure.clusters)]
        if claim.equality:
            p.append(equivalence_p(after, before, MARGINS.get(measure.metric, MARGIN), measure.clusters))
        tests.append(p if len(after) >= SEEDS else [])
    adjusted = iter(holm([p for several in tests for p in several]))
    judged: list[Judged] = []
    for (claim, measure, after, before), several in zip(asked, tests, strict=True):
        diff, low, high = over_seeds(after, before, measure.clusters)
        p, verdict = _verdict(diff, [next(adjusted) for _ in several])
        mean = measure.mean(claim.against) or 0.0
        relative = 100 * diff / mean if mean > 0 else None
        judged.append(Judged(claim, measure.metric, rounded(diff, low, high), p, verdict, relative))
    return judged


def _verdict(diff: float, p_values: Sequence[float]) -> tuple[float | None, str]:
    """Returns the p that decides, and the verdict: of a difference alone, or of a difference and an equality."""
    if not p_values:
        return None, FEW
    if len(p_values) == 1:
        return p_values[0], NOISE if p_values[0] > ALPHA else HOLDS if diff > 0 else REVERSE
    differs, equal = p_values
    if equal <= ALPHA:
        return equal, HOLDS
    return (differs, BETTER if diff > 0 else WORSE) if differs <= ALPHA else (equal, UNSHOWN)


def claims_finding(
    claims: Sequence[Claim],
    measures: Sequence[Measure],
    heading: str = "Held against the paper",
    note: str = "",
) -> Finding:
    """Returns the verdicts in words, and a row for each claim and measure."""
    judged = judge(claims, measures)
    text = []
    for verdict in VERDICTS[:-1]:
        if words := [f"{one.claim} ({one.claim.group}, {one.metric})" for one in judged if one.verdict == verdict]:
            text.append(f"{verdict[0].upper()}{verdict[1:]}: {'; '.join(words)}.")
    if few := sum(one.verdict == FEW for one in judged):
        text.append(f"{few} comparisons have {FEW}.")
    text += [
        f"{one.claim}: by {one.relative:+.0f} % ({one.claim.group}, {one.metric}); the paper: {one.claim.paper}."
        for one in judged
        if one.claim.paper.endswith("%") and one.relative is not None
    ]
    tests = sum(1 + one.claim.equality for one in judged if one.p is not None)
    if tests:
        text.append(
            f"{tests} tests, corrected together (Holm): where nothing is the matter, the whole table says something in one case "
            f"of twenty. Equal means within {MARGIN} of a score or {MARGINS[LOGP]} nats of a log p a token (TOST)."
        )
    rows: list[list[Cell]] = []
    for one in judged:  # a log p and a score have no axis in common
        difference: list[Cell] = [None, one.difference] if one.metric == LOGP else [one.difference, None]
        judged_by: list[Cell] = [_could_be_seen(one.difference), _p(one.p), one.verdict]
        rows.append([str(one.claim), one.claim.group, one.metric, one.claim.paper, *difference, *judged_by])
    columns = [
        "claim",
        "questions",
        "by",
        "paper",
        "difference",
        "of the log p",
        "could be seen",
        "p (Holm)",
        "verdict",
    ]
    note = (
        "Paired, on the same questions; 95 % intervals, each for itself. What could be seen is the difference that so many "
        f"seeds and questions find in four of five cases, before any correction. {note}"
    ).rstrip()
    return Finding(heading, text, Table(columns, rows, note))


def _could_be_seen(difference: Estimate) -> Cell:
    if difference.low is None or difference.high is None:
        return None
    return round(POWER * (difference.high - difference.low) / 2, 4)


def _p(value: float | None) -> Cell:
    return None if value is None else "< .0001" if value < 1e-4 else round(value, 4)
