"""Claims of a paper, held against the numbers of a study.

    a difference ("> 0", "+1.2")   two-sided test of the paired differences, over seeds and questions or tasks
    an equality ("≈ 0")            two one-sided tests against a margin (TOST): a difference that was not found is no equality
    no verdict                     below three seeds: with one, two equal arms were called different in 40 % of simulated cases

All tests of one table are corrected together (Holm 1979), so that the whole table is wrong somewhere in one case of twenty.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from yosegi.evaluation.statistics import ALPHA, difference_p, equivalence_p, holm, over_seeds
from yosegi.findings import Cell, Estimate, Figure, Finding, Table
from yosegi.study.measures import LOGP, Measure

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
    """One comparison that somebody has made.

    Args:
        text: what is claimed.
        arm: which arm it is about.
        against: the arm it is compared with.
        group: the questions it is asked on.
        paper: what the paper measured: "+1.2", "> 0", or "≈ 0" for an equality. "(ours)" marks a control it does not have.
    """

    text: str
    arm: str
    against: str
    group: str
    paper: str = "> 0"

    @property
    def equality(self) -> bool:
        """Whether two arms are claimed to be alike."""
        return self.paper.startswith("≈")


@dataclass(frozen=True)
class Judged:
    """A claim by one measure: the difference, p after Holm's correction (None without a verdict), and the verdict."""

    claim: Claim
    metric: str
    difference: Estimate
    p: float | None
    verdict: str


def judge(claims: Sequence[Claim], measures: Sequence[Measure]) -> list[Judged]:
    """Every claim by every measure of its group. A claim about an arm that was not run is left out."""
    asked = [(c, m, *m.pairs(c.arm, c.against)) for c in claims for m in measures if m.group == c.group]
    asked = [one for one in asked if one[2]]
    tests: list[list[float]] = []
    for claim, measure, after, before in asked:
        p = [difference_p(after, before, measure.clusters)]
        if claim.equality:
            p.append(equivalence_p(after, before, MARGINS.get(measure.metric, MARGIN), measure.clusters))
        tests.append(p if len(after) >= SEEDS else [])
    adjusted = iter(holm([p for some in tests for p in some]))
    judged: list[Judged] = []
    for (claim, measure, after, before), some in zip(asked, tests, strict=True):
        diff, low, high = over_seeds(after, before, measure.clusters)
        differs, *equal = [next(adjusted) for _ in some] or [None]
        verdict, p = FEW, differs
        if differs is not None and equal:
            verdict = UNSHOWN if differs > ALPHA else BETTER if diff > 0 else WORSE
            if equal[0] <= ALPHA or verdict == UNSHOWN:
                verdict, p = HOLDS if equal[0] <= ALPHA else UNSHOWN, equal[0]
        elif differs is not None:
            verdict = NOISE if differs > ALPHA else HOLDS if diff > 0 else REVERSE
        judged.append(
            Judged(claim, measure.metric, Estimate(round(diff, 4), round(low, 4), round(high, 4)), p, verdict)
        )
    return judged


def claims_finding(
    claims: Sequence[Claim],
    measures: Sequence[Measure],
    heading: str = "Held against the paper",
    note: str = "",
    figure: Figure | None = None,
) -> Finding:
    """The verdicts in words, and a row for each claim and measure."""
    judged = judge(claims, measures)
    text = []
    for verdict in VERDICTS:
        if said := [f"{one.claim.text} ({one.claim.group}, {one.metric})" for one in judged if one.verdict == verdict]:
            text.append(f"{verdict[0].upper()}{verdict[1:]}: {'; '.join(said)}.")
    tests = sum(1 + one.claim.equality for one in judged if one.p is not None)
    text.append(
        f"{tests} tests, corrected together (Holm): where nothing is the matter, the whole table says something in one case of "
        f"twenty. Equal means within {MARGIN} of a score or {MARGINS[LOGP]} nats of a log p a token (TOST)."
    )
    rows: list[list[Cell]] = [
        [one.claim.text, one.claim.group, one.metric, one.claim.paper, one.difference, _p(one.p), one.verdict]
        for one in judged
    ]
    columns = ["claim", "questions", "by", "paper", "difference", "p (Holm)", "verdict"]
    note = f"Paired, on the same questions; 95 % intervals, each for itself. {note}".rstrip()
    return Finding(heading, text, Table(columns, rows, note), figure)


def _p(value: float | None) -> Cell:
    return None if value is None else "< .0001" if value < 1e-4 else round(value, 4)
