"""The counts against counting by hand."""

import pytest

from yosegi.curate.ledger import Ledger
from yosegi.curate.statistics import EXAMPLES, examples, statistics
from yosegi.scores import Rule, Score


class Told(Score):
    name = "told"


@pytest.fixture
def ledger(tmp_path):
    """Pages of 0, 7, 14 … characters; every tenth too short, every seventh English, the score falls."""
    ledger = Ledger(tmp_path / "l.sqlite", 1)
    with ledger.batch():
        for n in range(100):
            rule = "short" if n % 10 == 0 else None
            language = "en" if n % 7 == 0 else "ja"
            ledger.add((n, f"p{n}", 0, (n * 37) % 100, f"f{n % 3}", n, 7 * n, language, None, rule, None))
        ledger.score((n, (float(100 - n),)) for n in range(100) if n % 10)
    yield ledger
    ledger.close()


def test_everything_adds_up(ledger):
    rules = [Rule(keep=0.5)]
    result = statistics(ledger, [Told()], rules, ledger.judge(rules, ["high"]))
    kept = [n for n in range(100) if n % 10][:45]
    assert result["before"] == {"pages": 100, "chars": 7 * sum(range(100))}
    assert result["after"] == {"pages": 45, "chars": 7 * sum(kept)}
    assert [(rule["rule"], rule["pages"]) for rule in result["rules"]] == [("short", 10), ("score told", 45)]
    assert sum(rule["chars"] for rule in result["rules"]) == result["before"]["chars"] - result["after"]["chars"]
    english = next(row for row in result["languages"] if row["name"] == "en")
    assert (english["pages"], english["kept"]) == (15, len([n for n in kept if n % 7 == 0]))
    assert [row["name"] for row in result["sources"]] == ["f0", "f1", "f2"]
    lengths = result["lengths"]
    assert sum(row["pages"] for row in lengths) == 100 and sum(row["kept"] for row in lengths) == 45
    assert (lengths[0]["from"], lengths[0]["pages"]) == (0, 1) and lengths[-1]["below"] == 1024
    assert all(row["pages"] == len([n for n in range(100) if row["from"] <= 7 * n < row["below"]]) for row in lengths)


def test_the_spread_of_a_score(ledger):
    rules = [Rule(low=60)]
    (summary,) = statistics(ledger, [Told()], rules, ledger.judge(rules, ["high"]))["scores"]
    values = sorted(100.0 - n for n in range(100) if n % 10)
    assert (summary["scored"], summary["low"], summary["rule"]) == (90, 60, "at least 60")
    assert {q["at"]: q["score"] for q in summary["quantiles"]} == {
        q: values[round(q * 89)] for q in (0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)
    }
    assert sum(b["pages"] for b in summary["histogram"]) == 90 and sum(b["kept"] for b in summary["histogram"]) == 36


def test_examples_are_of_every_group(ledger):
    ledger.judge([Rule(low=60)], ["high"])
    chosen = examples(ledger, [Told()])
    groups = {}
    for n, (group, how) in chosen.items():
        groups.setdefault(group, {}).setdefault(how, []).append(n)
    assert {group: {how: len(ns) for how, ns in hows.items()} for group, hows in groups.items()} == {
        "kept": {"farthest from the cut": EXAMPLES, "nearest to the cut": EXAMPLES, "at random": EXAMPLES},
        "short": {"at random": EXAMPLES},
        "score0": {"farthest from the cut": EXAMPLES, "nearest to the cut": EXAMPLES, "at random": EXAMPLES},
    }
    assert groups["kept"]["farthest from the cut"] == [1, 2, 3, 4]
    assert groups["kept"]["nearest to the cut"] == [39, 38, 37, 36]
    assert groups["score0"]["nearest to the cut"] == [41, 42, 43, 44]


def test_a_score_that_never_varies(tmp_path):
    ledger = Ledger(tmp_path / "s.sqlite", 1)
    with ledger.batch():
        for n in range(3):
            ledger.add((n, f"p{n}", 0, n, "f", n, 5, "ja", None, None, None))
        ledger.score((n, (2.0,)) for n in range(3))
    (summary,) = statistics(ledger, [Told()], [Rule()], ledger.judge([Rule()], ["high"]))["scores"]
    assert summary["histogram"] == [{"from": 2.0, "pages": 3, "kept": 3}] and summary["bin"] == 1.0
    ledger.close()
