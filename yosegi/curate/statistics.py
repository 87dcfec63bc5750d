"""The statistics of a curation: pages and characters before and after, by rule, length, language and score."""

from collections.abc import Sequence
from typing import Any

from yosegi.curate.ledger import Ledger
from yosegi.scores import Rule, Score

BINS = 40
SOURCES = 50
EXAMPLES = 4
"""The number of pages shown of each group, for each way to choose them."""
WORDS = {
    "unreadable": "cannot be read",
    "empty": "has no text",
    "language": "is in another language",
    "short": "is too short",
    "long": "is too long",
    "near_duplicate": "is nearly the same as a page that was kept",
}
"""The rules that are applied before a page is scored, in their order."""


def statistics(ledger: Ledger, scores: Sequence[Score], rules: Sequence[Rule], cuts: Sequence[Any]) -> dict[str, Any]:
    """Returns all statistics as JSON."""
    return {
        **_sizes(ledger),
        "rules": _rules(ledger, scores, rules, cuts),
        "lengths": _lengths(ledger),
        "languages": _pairs(ledger, "language"),
        "sources": _pairs(ledger, "source", SOURCES),
        "scores": [_score(ledger, i, score, rules[i], cuts[i]) for i, score in enumerate(scores)],
    }


def examples(ledger: Ledger, scores: Sequence[Score]) -> dict[int, tuple[str, str]]:
    """Returns the pages to show, by number: their group ("kept" or their rule) and why they were chosen.

    Of the kept pages and of those that a score dropped these are the nearest to the cut and the farthest; of every group some
    at random.
    """
    chosen: dict[int, tuple[str, str]] = {}

    def choose(group: str, how: str, condition: str, order: str) -> None:
        taken = 0
        for (n,) in ledger.rows(f"SELECT n FROM pages WHERE {condition} ORDER BY {order}, n LIMIT {3 * EXAMPLES}"):
            if n not in chosen and taken < EXAMPLES:
                chosen[n], taken = (group, how), taken + 1

    groups = [verdict or "kept" for (verdict,) in ledger.rows("SELECT DISTINCT verdict FROM pages ORDER BY verdict")]
    for group in groups:
        members = "verdict IS NULL" if group == "kept" else f"verdict = '{group}'"
        i = int(group.removeprefix("score")) if group.startswith("score") else 0
        if scores and (group == "kept" or group.startswith("score")):
            up, down = ("DESC", "ASC") if (scores[i].best == "high") == (group == "kept") else ("ASC", "DESC")
            choose(group, "farthest from the cut", f"{members} AND s{i} IS NOT NULL", f"s{i} {up}")
            choose(group, "nearest to the cut", f"{members} AND s{i} IS NOT NULL", f"s{i} {down}")
        choose(group, "at random", members, "draw")
    return chosen


def _sizes(ledger: Ledger) -> dict[str, dict[str, int]]:
    query, sizes = "SELECT count(*), coalesce(sum(chars), 0) FROM pages WHERE ", dict[str, dict[str, int]]()
    for name, condition in (("before", "1"), ("after", "verdict IS NULL")):
        ((pages, chars),) = ledger.rows(query + condition)
        sizes[name] = {"pages": pages, "chars": chars}
    return sizes


def _rules(ledger: Ledger, scores: Sequence[Score], rules: Sequence[Rule], cuts: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns what each rule dropped, in the order of the rules."""
    query = "SELECT verdict, count(*), sum(chars) FROM pages WHERE verdict IS NOT NULL GROUP BY verdict"
    dropped = {verdict: (pages, chars) for verdict, pages, chars in ledger.rows(query)}
    order = sorted(range(len(scores)), key=lambda i: (rules[i].keep is not None, i))
    about = WORDS | {f"score{i}": f"{scores[i].name}: not {rules[i].about()}" for i in order}
    names = {f"score{i}": f"score {scores[i].name}" for i in order}
    return [
        {"rule": names.get(rule, rule), "about": about[rule], "pages": dropped[rule][0], "chars": dropped[rule][1]}
        for rule in about
        if rule in dropped
    ]


def _pairs(ledger: Ledger, column: str, most: int = 1000) -> list[dict[str, Any]]:
    """Returns pages and characters by a column, before and after, the most pages first."""
    query = (
        f"SELECT {column}, count(*), sum(verdict IS NULL), sum(chars), sum(CASE WHEN verdict IS NULL THEN chars ELSE 0 END) "
        f"FROM pages GROUP BY {column} ORDER BY count(*) DESC, {column} LIMIT {most}"
    )
    keys = ("pages", "kept", "chars", "chars_kept")
    return [{"name": name, **dict(zip(keys, counts, strict=True))} for name, *counts in ledger.rows(query)]


def _lengths(ledger: Ledger) -> list[dict[str, int]]:
    """Returns the pages by length, from one power of two to the next."""
    most, rows = ledger.one("SELECT max(chars) FROM pages") or 0, []
    for low in [0, *(2**i for i in range(most.bit_length()))]:
        high = max(1, 2 * low)
        query = "SELECT count(*), coalesce(sum(verdict IS NULL), 0) FROM pages WHERE chars >= ? AND chars < ?"
        ((pages, kept),) = ledger.rows(query, low, high)
        rows.append({"from": low, "below": high, "pages": pages, "kept": kept})
    first = next((i for i, row in enumerate(rows) if row["pages"]), 0)
    return rows[first:]


def _score(ledger: Ledger, i: int, score: Score, rule: Rule, cut: dict[str, Any]) -> dict[str, Any]:
    """Returns the cut and the distribution of one score."""
    count = ledger.one(f"SELECT count(s{i}) FROM pages")
    row = {"name": score.name, "best": score.best, "rule": rule.about(), "note": score.note, "scored": count, **cut}
    if not count:
        return row | {"quantiles": [], "histogram": []}
    at = {q: ledger.one(f"SELECT s{i} FROM pages WHERE s{i} IS NOT NULL ORDER BY s{i} LIMIT 1 OFFSET ?",
                        round(q * (count - 1))) for q in (0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)}  # fmt: skip
    low, high = at[0.01], at[0.99]
    width = (high - low) / BINS or 1.0
    query = (
        f"SELECT max(0, min({BINS - 1}, CAST((s{i} - ?) / ? AS INTEGER))) AS bin, count(*), sum(verdict IS NULL) "
        f"FROM pages WHERE s{i} IS NOT NULL GROUP BY bin ORDER BY bin"
    )
    bins = [
        {"from": low + b * width, "pages": pages, "kept": kept} for b, pages, kept in ledger.rows(query, low, width)
    ]
    quantiles = [{"at": q, "score": value} for q, value in at.items()]
    return row | {"quantiles": quantiles, "histogram": bins, "bin": width}
