"""Pages, one after another, from files of any size: JSON Lines (plain or gzipped) and folders of texts.

A row of a JSONL file is a page; its `text` is what is judged, and all its other fields are carried along. A .txt or .md file is
a page, or several of at most `page_chars` characters, cut between lines. Nothing is ever read whole but one page.
A page that cannot be read (no JSON, no text, another encoding, half a gzip file) says so in `fault`, and the rest goes on.
"""

import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from yosegi.errors import Invalid, NoData

ENDINGS = (".jsonl", ".jsonl.gz", ".txt", ".md")


@dataclass(frozen=True)
class Page:
    """One page and where it comes from.

    Args:
        id: the row's own, or the file and the number of its line or piece.
        text: what is judged.
        title: "" where there is none.
        split: what the row says of it, else None.
        source: the file, as seen from the folder that was named.
        line: where it begins, from 1.
        row: the fields of the row, to be carried along.
        size: bytes of the file that were read for it.
        fault: why it cannot be read; "" for a page that can.
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
    """A corpus that can be read again and again, in the same order.

    Args:
        paths: files and folders; of a folder every file whose name ends as `ENDINGS`, in order of their names.
        page_chars: the most characters that one page of a text file has.
        encoding: of text files; JSON Lines are UTF-8.
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
        """Each file with its name as seen from the folder that was named; hidden ones are left out."""
        for path in self.paths:
            if path.is_file():
                yield path.name, path
            else:
                for file in _below(path):
                    yield f"{path.resolve().name}/{file.relative_to(path).as_posix()}", file

    def about(self) -> dict[str, Any]:
        """How many files, how large, and a hash of their names, sizes and dates: what a resumed run has to find again."""
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
        """The rows of a JSONL file; a blank line is none."""
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
        """The pieces of a text file. A single one has the name of the file, several are counted from 0."""
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
        """A text in pieces, cut between lines, or where a line is too long for one: (text, its first line, fault)."""
        codec = "utf-8-sig" if self.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else self.encoding
        lines, found, length, first, number = io.TextIOWrapper(raw, codec), [], 0, 1, 1
        try:
            while line := lines.readline(self.page_chars):
                if length + len(line) > self.page_chars:
                    yield "".join(found), first, ""
                    found, length, first = [], 0, number
                found.append(line)
                length += len(line)
                number += line.endswith("\n")
        except UnicodeDecodeError:
            yield "", number, f"not {self.encoding} text (say --encoding if it is another)"
            return
        finally:
            lines.detach()
        if length or number == 1:
            yield "".join(found), first, ""


def _below(folder: Path) -> Iterator[Path]:
    """The files below a folder by their names, one folder in memory at a time."""
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries if entry.name[0] != ".")
    for name, is_folder in found:
        if is_folder:
            yield from _below(folder / name)
        elif name.endswith(ENDINGS):
            yield folder / name


def _page(line: bytes, place: str, source: str, number: int, size: int) -> Page:
    """One row as a page."""
    try:
        row = json.loads(line.decode())
        if b"\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()  # half of a surrogate pair cannot be written again
    except UnicodeError:
        return Page(place, "", source=source, line=number, size=size, fault="not valid Unicode")
    except (ValueError, RecursionError) as error:
        return Page(place, "", source=source, line=number, size=size, fault=f"not JSON: {str(error)[:80]}")
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        return Page(place, "", source=source, line=number, size=size, fault="no field 'text' with a text in it")
    known = row.get("id")
    split = row.get("split")
    return Page(
        str(known) if isinstance(known, str | int) and known != "" else place,
        row["text"],
        row["title"] if isinstance(row.get("title"), str) else "",
        split if isinstance(split, str) and split else None,
        source, number, row, size,
    )  # fmt: skip
