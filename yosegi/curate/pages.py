"""Pages, one after another, from files of any size: JSON Lines (plain or gzipped) and folders of texts.

A row of a JSONL file is a page; its `text` is scored, and all its other fields are kept. A .txt or .md file is a page, or several
of at most `page_chars` characters, cut between lines. Only one page is in memory. The reason why a page cannot be read (no JSON,
no text, another encoding, half a gzip file) is its `fault`, and the reading continues.
"""

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from yosegi.errors import Invalid, NoData

ENDINGS = (".jsonl", ".jsonl.gz", ".txt", ".md")


@dataclass(frozen=True)
class Page:
    """One page and its place.

    Args:
        id: the id of the row, or the file and the number of its line or piece.
        text: the text that is scored.
        title: "" if there is none.
        split: the split of the row, if it has one.
        source: the file, relative to the given folder.
        line: the line where it begins, from 1.
        row: the fields of the row.
        size: the bytes of the file that were read for it.
        fault: why it cannot be read; "" if it can.
    """

    id: str
    text: str
    title: str = ""
    split: str | None = None
    source: str = ""
    line: int = 0
    row: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    fault: str = ""


class Pages:
    """A corpus that can be iterated several times, always in the same order.

    Args:
        paths: files and folders; of a folder every file with one of the `ENDINGS`, in order of their names.
        page_chars: the most characters of a page of a text file.
        encoding: the encoding of text files; JSON Lines are UTF-8.
    """

    def __init__(self, paths: Sequence[str | Path], page_chars: int = 100_000, encoding: str = "utf-8"):
        self.paths, self.page_chars, self.encoding = [Path(path) for path in paths], page_chars, encoding
        if page_chars < 1:
            raise Invalid(f"page_chars={page_chars}: a page has at least one character.")
        try:
            "".encode(encoding)
        except LookupError:
            raise Invalid(f"No encoding is called {encoding!r}; Japanese texts are often cp932 or euc_jp.") from None
        for path in self.paths:
            if not path.exists():
                raise NoData(f"There is no file or folder {path}.")
            if path.is_file() and not path.name.endswith(ENDINGS):
                raise Invalid(f"{path} is not one of {', '.join(ENDINGS)}.")
        if next(self.files(), None) is None:
            raise NoData(f"There is no {', '.join(ENDINGS)} in {', '.join(map(str, self.paths))}.")

    def __iter__(self) -> Iterator[Page]:
        for name, path in self.files():
            yield from self._rows(name, path) if ".jsonl" in path.name[-9:] else self._pieces(name, path)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yields each file with its name relative to the given folder; hidden files are left out."""
        for path in self.paths:
            if path.is_file():
                yield path.name, path
            else:
                for file in _below(path):
                    yield f"{path.resolve().name}/{file.relative_to(path).as_posix()}", file

    def about(self) -> dict[str, Any]:
        """Returns the number and size of the files, and a hash of their names, sizes and dates, which must not change."""
        digest, count, size = hashlib.sha256(), 0, 0
        for name, path in self.files():
            status = path.stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
            count, size = count + 1, size + status.st_size
        return {
            "paths": [str(path) for path in self.paths], "files": count, "bytes": size, "hash": digest.hexdigest()[:16],
            "page_chars": self.page_chars, "encoding": self.encoding,
        }  # fmt: skip

    def _rows(self, name: str, path: Path) -> Iterator[Page]:
        """Yields the rows of a JSONL file; blank lines are ignored."""
        with path.open("rb") as raw:
            file: Any = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            number = before = 0
            try:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        now = raw.tell()
                        yield _page(line.removeprefix(b"\xef\xbb\xbf"), f"{name}/{number}", name, number, now - before)
                        before = now
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                fault = f"the file cannot be read beyond line {number}: {error}"
                yield Page(f"{name}/{number + 1}", "", source=name, line=number + 1, fault=fault)

    def _pieces(self, name: str, path: Path) -> Iterator[Page]:
        """Yields the pieces of a text file. A single one has the name of the file, several are counted from 0."""
        waiting: Page | None = None
        with path.open("rb") as raw:
            count = before = 0
            for text, line, fault in self._cut(raw):
                page_id = f"{name}/{count}" if count else name
                if waiting is not None:
                    yield waiting if count > 1 else replace(waiting, id=f"{name}/0")
                title = path.name.removesuffix(path.suffix)
                waiting = Page(page_id, text, title, None, name, line, {}, raw.tell() - before, fault)
                before, count = raw.tell(), count + 1
        if waiting is not None:
            yield waiting

    def _cut(self, raw: BinaryIO) -> Iterator[tuple[str, int, str]]:
        """Yields (text, its first line, fault): pieces cut between lines, or inside a line that is too long for one."""
        codec = "utf-8-sig" if self.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else self.encoding
        lines, piece, length, first, number = io.TextIOWrapper(raw, codec), [], 0, 1, 1
        try:
            while line := lines.readline(self.page_chars):
                if length + len(line) > self.page_chars:
                    yield "".join(piece), first, ""
                    piece, length, first = [], 0, number
                piece.append(line)
                length += len(line)
                number += line.endswith("\n")
        except UnicodeDecodeError:
            yield "", number, f"not {self.encoding} text (say --encoding if it is another)"
            return
        finally:
            lines.detach()
        if length or number == 1:
            yield "".join(piece), first, ""


def _below(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder in order of their names; the names of one folder are in memory."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name[0] != "." and path.is_dir():
            yield from _below(path)
        elif path.name[0] != "." and path.name.endswith(ENDINGS):
            yield path


def _page(line: bytes, place: str, source: str, number: int, size: int) -> Page:
    """Returns one row as a page."""
    row, fault = None, "no field 'text' with a text in it"
    try:
        row = json.loads(line.decode())
        if b"\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()  # half of a surrogate pair cannot be written again
    except UnicodeError:
        row, fault = None, "not valid Unicode"
    except (ValueError, RecursionError) as error:
        fault = f"not JSON: {str(error)[:80]}"
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        return Page(place, "", source=source, line=number, size=size, fault=fault)
    known, split, title = row.get("id"), row.get("split"), row.get("title")
    return Page(
        str(known) if isinstance(known, str | int) and known != "" else place,
        row["text"],
        title if isinstance(title, str) else "",
        split if isinstance(split, str) and split else None,
        source, number, row, size,
    )  # fmt: skip
