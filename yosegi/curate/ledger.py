"""The ledger: the results for every page so far in one SQLite file, so that memory stays small and a kill loses nothing.

Each page has a row (without its text): its place, length, language and scores, and the rule that dropped it. Pages are written
in batches that are there whole or not at all. `signatures` and `bands` are the index of near-duplicates.
"""

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
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
"""What is known of a page when it is read: its number, id, hash of its text, hash of its id, and so on. `verdict` is `rule`, or
the rule of a score, and can be decided again without reading a page."""


class Ledger:
    """Args:
    path: the file; created if missing.
    scores: the number of scores of a page.
    """

    def __init__(self, path: Path, scores: int):
        self.path, self.scores = path, scores
        # The connection locks the file: a second process gets an error.
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
        """Closes the file; what was not committed is gone."""
        self._file.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Writes everything in the block, or nothing."""
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
        """Returns the single value of a query; None if there is no row."""
        row = self._run(query, values).fetchone()
        return row[0] if row else None

    def rows(self, query: str, *values: Any) -> Generator[tuple[Any, ...]]:
        """Yields the rows of a query."""
        with self._named():
            yield from self._file.execute(query, values)

    def add(self, page: Sequence[Any]) -> None:
        """Adds one page, in the order of `COLUMNS`."""
        marks = ",".join("?" * len(COLUMNS))
        self._run(f"INSERT INTO pages({','.join(COLUMNS)}) VALUES ({marks})", page)

    def score(self, scored: Iterable[tuple[int, Sequence[float | None]]]) -> None:
        """Stores the scores of pages."""
        if self.scores:
            setting = ", ".join(f"s{i} = ?" for i in range(self.scores))
            with self._named():
                self._file.executemany(f"UPDATE pages SET {setting} WHERE n = ?", ((*v, n) for n, v in scored))

    def nearest(self, signature: Signature) -> tuple[int, float] | None:
        """Returns the most similar page that was kept and its similarity; None if no band is shared."""
        near = set()
        for band, key in enumerate(signature.keys):
            near |= {n for (n,) in self.rows("SELECT n FROM bands WHERE band = ? AND key = ?", band, key)}
        similarity = {}
        for n in near:
            numbers = np.frombuffer(self.one("SELECT numbers FROM signatures WHERE n = ?", n), dtype=np.uint32)
            similarity[n] = signature.similarity(numbers)
        return max(similarity.items(), key=lambda pair: (pair[1], -pair[0]), default=None)

    def add_signature(self, n: int, signature: Signature) -> None:
        """Adds a page that is kept, with which later ones are compared."""
        self._run("INSERT INTO signatures VALUES (?, ?)", (n, signature.numbers.tobytes()))
        with self._named():
            self._file.executemany(
                "INSERT INTO bands VALUES (?, ?, ?)", ((band, key, n) for band, key in enumerate(signature.keys))
            )

    def judge(self, rules: Sequence[Rule], sides: Sequence[str]) -> list[dict[str, Any]]:
        """Decides every page: thresholds first, then shares of what is left, each in the order of the scores.

        Returns the cut of each rule: `low` and `high`, and for a share the number of pages with the score of the last one kept
        (`tied`) and how many of these are kept (`tied_kept`): the first ones of the corpus.
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

    def splits(self, validation: float) -> Callable[[str | None, int], str]:
        """Returns the function (split of the row, hash of the id) -> split of a kept page.

        The given share of the kept pages is for validation, rounded up, but at most a fifth; if any row has a split, the rows
        without one are for training.
        """
        given = self.one("SELECT count(*) FROM pages WHERE verdict IS NULL AND split IS NOT NULL")
        count = 0 if given else min(share(validation, self._left()), self._left() // 5)
        order = "SELECT draw FROM pages WHERE verdict IS NULL ORDER BY draw, n LIMIT 1 OFFSET ?"
        last = self.one(order, count - 1) if count else -(2**63) - 1

        def split_of(split: str | None, draw: int) -> str:
            if split:
                return "valid" if split == "validation" else split
            return "valid" if draw <= last else "train"

        return split_of

    def _left(self) -> int:
        return self.one("SELECT count(*) FROM pages WHERE verdict IS NULL")

    def _run(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        with self._named():
            return self._file.execute(query, values)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turns the errors of SQLite into ours."""
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
