"""The ledger against plain lists: verdicts, shares, splits, near-duplicates; and a file that is damaged or in use."""

import random
import subprocess
import sys

import numpy as np
import pytest

from yosegi.curate.duplicates import Signature
from yosegi.curate.ledger import Ledger
from yosegi.errors import Corrupt
from yosegi.scores import Rule, best, share


def page(n, rule=None, split=None, draw=None, chars=10):
    return (n, f"p{n}", 0, n if draw is None else draw, "f", n, chars, "ja", split, rule, None)


@pytest.fixture
def fill(tmp_path):
    opened = []

    def fill(values, rules=None):
        """A ledger with pages of these numbers; `rules` are those that were dropped before."""
        path = tmp_path / f"{len(opened)}.sqlite"
        ledger = Ledger(path, len(values[0]))
        opened.append(ledger)
        with ledger.batch():
            for n in range(len(values)):
                ledger.add(page(n, (rules or {}).get(n)))
            ledger.score(enumerate(values))
        return ledger

    yield fill
    for ledger in opened:
        ledger.close()


def verdicts(ledger):
    return [verdict for (verdict,) in ledger.rows("SELECT verdict FROM pages ORDER BY n")]


def plainly(values, rules, sides, dropped):
    """The rules as one would say them."""
    result = [dropped.get(n) for n in range(len(values))]
    for i, rule in enumerate(rules):
        if rule.keep is None and (rule.low, rule.high) != (None, None):
            result = [
                v or (None if rule.passes(ours[i]) else f"score{i}") for v, ours in zip(result, values, strict=True)
            ]
    for i, rule in enumerate(rules):
        if rule.keep is not None:
            left = [ours[i] if v is None else None for v, ours in zip(result, values, strict=True)]
            chosen = best(left, share(rule.keep, sum(value is not None for value in left)), sides[i])
            result = [v or (None if good else f"score{i}") for v, good in zip(result, chosen, strict=True)]
    return result


@pytest.mark.parametrize("seed", range(12))
def test_verdicts_are_what_the_rules_say(fill, seed):
    draw = random.Random(seed)
    number = lambda: draw.choice([None, *range(6), draw.random()])  # noqa: E731 - ties are the point
    values = [(number(), number()) for _ in range(60)]
    dropped = {n: "short" for n in range(60) if draw.random() < 0.2}
    sides = [draw.choice(["high", "low"]) for _ in range(2)]
    for rules in (
        [Rule(keep=0.3), Rule()],
        [Rule(low=2), Rule(keep=0.5)],
        [Rule(keep=0.5), Rule(high=3.5)],
        [Rule(1, 4), Rule(0.5, 3)],
        [Rule(keep=0.7), Rule(keep=0.4)],
    ):
        ledger = fill(values, dropped)
        cuts = ledger.judge(rules, sides)
        assert verdicts(ledger) == plainly(values, rules, sides, dropped)
        ledger.judge([Rule(), Rule()], sides)
        assert verdicts(ledger) == [dropped.get(n) for n in range(60)], "and can be told anew"
        assert [cut["asked"] for cut in cuts][0] > 0


def test_ties_at_the_cut_are_counted(fill):
    ledger = fill([(1.0,), (3.0,), (1.0,), (1.0,), (0.0,)])
    (cut,) = ledger.judge([Rule(keep=0.5)], ["high"])
    assert verdicts(ledger) == [None, None, None, "score0", "score0"]
    assert cut == {"low": 1.0, "high": None, "asked": 5, "tied": 3, "tied_kept": 2}


def test_a_batch_is_there_whole_or_not_at_all(fill):
    ledger = fill([(1.0,)])
    with pytest.raises(KeyboardInterrupt), ledger.batch():
        ledger.add(page(1))
        raise KeyboardInterrupt
    assert len(ledger) == 1


@pytest.mark.parametrize(
    ("pages", "share_", "valid"), [(100, 0.05, 5), (101, 0.05, 6), (5, 0.05, 1), (4, 0.5, 0), (20, 0, 0)]
)
def test_a_twentieth_is_for_validation(tmp_path, pages, share_, valid):
    ledger = Ledger(tmp_path / "l.sqlite", 0)
    draws = random.Random(1).sample(range(10**6), pages)
    with ledger.batch():
        for n, draw in enumerate(draws):
            ledger.add(page(n, draw=draw))
    ledger.judge([], [])
    assert [ledger.splits(share_)(None, draw) for draw in draws].count("valid") == valid
    with ledger.batch():
        ledger.add(page(pages, split="train"))
    ledger.judge([], [])
    split_of = ledger.splits(share_)
    assert {split_of(None, draw) for draw in draws} == {"train"}, "where one row has a split, none is drawn"
    assert [split_of(given, 0) for given in ("validation", "test", "train")] == ["valid", "test", "train"]
    ledger.close()


def test_the_most_alike_page_is_found(fill):
    ledger = fill([(1.0,)])
    draw = np.random.default_rng(0)

    def signature(numbers):
        return Signature(numbers, [int(numbers[0]), int(numbers[1]) - 2**31])

    kept = [draw.integers(0, 2**32, 128, dtype=np.uint32) for _ in range(20)]
    with ledger.batch():
        for n, numbers in enumerate(kept):
            ledger.add_signature(n, signature(numbers))
    near = kept[7].copy()
    near[60:] = 0
    assert ledger.nearest(signature(near)) == (7, 60 / 128)
    near[0] = kept[3][0]  # one band with page 3, one with page 7
    assert ledger.nearest(signature(near)) == (7, 59 / 128)
    assert ledger.nearest(signature(near + np.uint32(1))) is None


def test_a_second_process_is_refused(tmp_path):
    ledger = Ledger(tmp_path / "l.sqlite", 1)
    program = (
        "import sys; from pathlib import Path; from yosegi.curate.ledger import Ledger; Ledger(Path(sys.argv[1]), 1)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "l.sqlite"], capture_output=True, text=True)
    assert "in use by another process" in done.stderr
    ledger.close()
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "l.sqlite"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "l.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(Corrupt, match=r"l\.sqlite is damaged"):
        Ledger(tmp_path / "l.sqlite", 1)
    Ledger(tmp_path / "m.sqlite", 1).close()
    ledger = Ledger(tmp_path / "m.sqlite", 2)
    with pytest.raises(Corrupt, match="Delete it"):
        ledger.score([(0, (1.0, 2.0))])
    ledger.close()
