"""The ledger: what is known of every page so far, in one SQLite file, so that neither memory nor a kill matters.

A row a page (never its text): where it is, how long, in which language, its scores, and the rule that dropped it. Pages are
written in batches that are there whole or not at all. `signatures` and `bands` are the index of near-duplicates.
"""

import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from yosegi.curate.duplicates import Signature
from yosegi.errors import Corrupt, Invalid
from yosegi.scores import Rule, share

TABLES = """
CREATE TABLE IF NOT EXISTS pages(
    n INTEGER PRIMARY KEY, id TEXT UNIQUE, mark INTEGER, draw INTEGER, source TEXT, line INTEGER, chars INTEGER,
    language TEXT, split TEXT, rule TEXT, why TEXT, verdict TEXT {scores});
CREATE TABLE IF NOT EXISTS signatures(n INTEGER PRIMARY KEY, numbers BLOB);
CREATE TABLE IF NOT EXISTS bands(band INTEGER, key INTEGER, n INTEGER, PRIMARY KEY(band, key, n)) WITHOUT ROWID;
"""
COLUMNS = ("n", "id", "mark", "draw", "source", "line", "chars", "language", "split", "rule", "why")
"""Of a page, when it is read: its number, id, hash of its text, hash of its id, and so on. `verdict` is `rule`, or the rule of
a score, and can be told anew without reading a page again."""


class Ledger:
    """Args:
    path: of the file; made when missing.
    scores: how many numbers a page gets.
    """

    def __init__(self, path: Path, scores: int):
        self.path, self.scores = path, scores
        # The connection holds the file for itself: a second process is told so instead of mixing in.
        self._file = sqlite3.connect(path, timeout=0, isolation_level=None)
        with self._named():
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._file.execute("PRAGMA journal_mode = DELETE")
            self._file.execute("PRAGMA cache_size = -65536")  # KiB: 64 MiB, whatever the corpus
            self._file.execute("BEGIN EXCLUSIVE")
            for table in TABLES.format(scores="".join(f", s{i} REAL" for i in range(scores))).split(";"):
                self._file.execute(table)
            self._file.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file; what was not committed is gone."""
        self._file.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What is written in the block is there whole, or not at all."""
        with self._named():
            self._file.execute("BEGIN")
            try:
                yield
            except BaseException:
                self._file.execute("ROLLBACK")
                raise
            self._file.execute("COMMIT")

    def __len__(self) -> int:
        return self.one("SELECT count(*) FROM pages")

    def one(self, query: str, *values: Any) -> Any:
        """The single value that a query gives; None of no row."""
        row = self._run(query, values).fetchone()
        return row[0] if row else None

    def rows(self, query: str, *values: Any) -> Generator[tuple[Any, ...]]:
        """The rows of a query as they come."""
        with self._named():
            yield from self._file.execute(query, values)

    def add(self, page: Sequence[Any]) -> None:
        """One page, in the order of `COLUMNS`."""
        marks = ",".join("?" * len(COLUMNS))
        self._run(f"INSERT INTO pages({','.join(COLUMNS)}) VALUES ({marks})", page)

    def score(self, scored: Iterable[tuple[int, Sequence[float | None]]]) -> None:
        """The numbers of pages."""
        if self.scores:
            setting = ", ".join(f"s{i} = ?" for i in range(self.scores))
            with self._named():
                self._file.executemany(f"UPDATE pages SET {setting} WHERE n = ?", ((*v, n) for n, v in scored))

    def resembles(self, signature: Signature) -> tuple[int, float] | None:
        """The page that stayed and is most like this one, with the similarity; None if no band is shared."""
        near = set()
        for band, key in enumerate(signature.keys):
            near |= {n for (n,) in self.rows("SELECT n FROM bands WHERE band = ? AND key = ?", band, key)}
        most: tuple[float, int] | None = None
        for n in near:
            numbers = np.frombuffer(self.one("SELECT numbers FROM signatures WHERE n = ?", n), dtype=np.uint32)
            here = (signature.similarity(numbers), -n)
            most = here if most is None or here > most else most
        return None if most is None else (-most[1], most[0])

    def remember(self, n: int, signature: Signature) -> None:
        """A page that stays: later ones are held against it."""
        self._run("INSERT INTO signatures VALUES (?, ?)", (n, signature.numbers.tobytes()))
        with self._named():
            self._file.executemany(
                "INSERT INTO bands VALUES (?, ?, ?)", ((band, key, n) for band, key in enumerate(signature.keys))
            )

    def judge(self, rules: Sequence[Rule], sides: Sequence[str]) -> list[dict[str, Any]]:
        """Tell the verdict of every page: thresholds first, then shares of what is left, each in the order of the scores.

        Returns, for each score, where its rule cuts: `low` and `high`, and of a share how many pages tie with the last one
        kept (`tied`) and how many of these are kept (`tied_kept`): the first ones of the corpus.
        """
        cuts: list[dict[str, Any]] = [{"low": rule.low, "high": rule.high, "asked": 0} for rule in rules]
        with self.batch():
            self._run("UPDATE pages SET verdict = rule")
            for i, rule in enumerate(rules):
                if rule.keep is None:
                    cuts[i]["asked"] = self._left()
                    limits = [f"s{i} < {rule.low!r}"] if rule.low is not None else []
                    limits += [f"s{i} > {rule.high!r}"] if rule.high is not None else []
                    if limits:
                        out = " OR ".join([f"s{i} IS NULL", *limits])
                        self._run(f"UPDATE pages SET verdict = 'score{i}' WHERE verdict IS NULL AND ({out})")
            for i, rule in enumerate(rules):
                if rule.keep is not None:
                    cuts[i] |= self._share(i, rule.keep, sides[i])
        return cuts

    def _share(self, i: int, keep: float, side: str) -> dict[str, Any]:
        asked = self._left()
        self._run(f"UPDATE pages SET verdict = 'score{i}' WHERE verdict IS NULL AND s{i} IS NULL")
        count = share(keep, self._left())
        order = f"ORDER BY s{i} {'DESC' if side == 'high' else 'ASC'}, n"
        cut = self.one(f"SELECT s{i} FROM pages WHERE verdict IS NULL {order} LIMIT 1 OFFSET ?", count - 1)
        tied = self.one(f"SELECT count(*) FROM pages WHERE verdict IS NULL AND s{i} = ?", cut)
        beyond = f"SELECT n FROM pages WHERE verdict IS NULL {order} LIMIT -1 OFFSET ?"
        self._run(f"UPDATE pages SET verdict = 'score{i}' WHERE n IN ({beyond})", (count,))
        kept = self.one(f"SELECT count(*) FROM pages WHERE verdict IS NULL AND s{i} = ?", cut)
        low, high = (cut, None) if side == "high" else (None, cut)
        return {"asked": asked, "low": low, "high": high, "tied": tied, "tied_kept": kept}

    def deal(self, validation: float) -> int | None:
        """The hash up to which a kept page without a split is for validation; None if there is none such.

        A twentieth, say, of the kept pages, rounded up, but of fewer than five none; where a row says its split, the others
        are for training.
        """
        told = self.one("SELECT count(*) FROM pages WHERE verdict IS NULL AND split IS NOT NULL")
        count = min(share(validation, self._left()), self._left() // 5)
        if told or not count:
            return None
        return self.one("SELECT draw FROM pages WHERE verdict IS NULL ORDER BY draw, n LIMIT 1 OFFSET ?", count - 1)

    def _left(self) -> int:
        return self.one("SELECT count(*) FROM pages WHERE verdict IS NULL")

    def _run(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        with self._named():
            return self._file.execute(query, values)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What goes wrong with the file, in our words."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise Invalid(f"{self.path} is in use by another process.") from error
            if "full" in str(error):
                raise OSError(28, "No space left on device", str(self.path)) from error
            raise Corrupt(f"{self.path} cannot be used ({error}). Delete it, and the same call begins anew.") from error
        except sqlite3.DatabaseError as error:
            raise Corrupt(f"{self.path} is damaged ({error}). Delete it, and the same call begins anew.") from error


def why(**facts: Any) -> str:
    """The facts behind a rule, as they are kept."""
    return json.dumps(facts, ensure_ascii=False)
