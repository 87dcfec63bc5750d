"""Rows from a file of any usual form, known by its content: JSON Lines, JSON arrays, CSV, TSV, Parquet, text, gzip of these.

A JSON object that holds rows ({"data": […]}) is their list. The paragraphs of a text, between empty lines, are rows
{"text": …}. In CSV and TSV the first line names the columns. `hf:ID[/CONFIG][:SPLIT]` is a data set on the Hugging Face Hub.
What cannot be read is one line that names the file and the place. A null, a NaN and an absent field are the same.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from yosegi import untrusted
from yosegi.errors import Corrupt, Invalid, NoData, printable

Row = dict[str, Any]
HOLDERS = ("data", "rows", "examples", "instances", "records", "items")
"""Fields of a JSON object that hold rows."""
ROW = 8 << 20
"""The longest row of JSON Lines, in characters."""
WHOLE = 4 << 30
"""The largest file that is read, decompressed, in bytes."""
SPREADSHEET = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


class Record(NamedTuple):
    """A row and where it stands: "line 3", "row 3"."""

    place: str
    row: Row

    @property
    def number(self) -> str:
        """The number of the line or the row."""
        return self.place.rpartition(" ")[2]


def read(source: str | Path) -> list[Record]:
    """Returns the rows of a file, or of a data set on the Hub.

    Raises:
        NoData: it is not there.
        Corrupt: it is damaged, or its text is not UTF-8.
        Invalid: it is empty, or none of the forms above.
    """
    if str(source).startswith("hf:"):
        return _from_hub(str(source)[3:])
    path = Path(source).expanduser()
    if not path.is_file():
        raise NoData(f"There is no file {str(path.absolute())!r}.")
    try:
        if (size := path.stat().st_size) > WHOLE:
            raise Invalid(f"{path} has {size:,} bytes; up to {WHOLE:,} are read. Cut it, or save it as Parquet.")
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(WHOLE + 1)
            if len(content) > WHOLE:
                raise Invalid(f"{path} has more than {WHOLE:,} bytes when it is unpacked.")
    except (OSError, EOFError, zlib.error) as error:
        raise Corrupt(f"{path} cannot be read: {short(error)}.") from error
    if content.startswith(SPREADSHEET):
        raise Invalid(f"{path} is a spreadsheet or an archive: save the sheet as CSV, or unpack it.")
    try:
        utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # as Excel writes it
        text = "" if content.startswith(b"PAR1") else content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content[: error.start].count(b"\n")
        raise Corrupt(f"{path} is not UTF-8 text (line {line}).") from error
    records = _text(path, text) if text else _parquet(path, content)
    if not records:
        raise Invalid(f"{path} is empty.")
    return [Record(place, _known(row)) for place, row in records]


def names(records: Sequence[tuple[Any, Row]], source: Any) -> list[str]:
    """Returns an id for each row: its own, or else its number (of the line), which no other row has for its id.

    Raises:
        Invalid: two rows have the same id; it names the second.
    """
    given = [None if row.get("id") in (None, "") else str(row["id"]) for _, row in records]
    taken, ids = {name for name in given if name is not None}, dict[str, None]()
    for name, (place, _) in zip(given, records, strict=True):
        if name in ids:
            raise Invalid(f"{source}, {place}: the id {name!r} is taken by an earlier row.")
        number = str(place).rpartition(" ")[2]
        while name is None and (number in taken or number in ids):
            number += "'"
        ids[number if name is None else name] = None
    return list(ids)


def short(error: BaseException) -> str:
    """Returns the first line of an error, cut after 160 characters."""
    text = printable(str(error).strip().split("\n")[0])
    if "integer string conversion" in text:
        return "a number has thousands of digits"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return (text[:160] + "…" if len(text) > 160 else text) or type(error).__name__


def _text(path: Path, text: str) -> list[Record]:
    """JSON and JSON Lines begin with a bracket; only the ending tells a table from a text."""
    beginning, name = text.lstrip()[:1], path.name.removesuffix(".gz")
    plain = name.endswith((".txt", ".md"))
    if beginning and (beginning in "[{" or name.endswith((".jsonl", ".json"))):
        try:
            if (records := _array(path, text)) is not None:
                return records
            first = next(line for line in text.split("\n") if line.strip())
            if not plain or isinstance(json.loads(first), dict):
                numbered = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
                return [Record(f"line {n}", _object(path, n, line.strip())) for n, line in numbered]
        except Corrupt:
            raise
        except (ValueError, RecursionError) as error:
            if not plain:
                raise Corrupt(f"{path} is not valid JSON ({short(error)}).") from error
    if name.endswith((".csv", ".tsv")):
        return _table(path, text)
    if plain:
        return list(paragraphs(text))
    if beginning:
        raise Invalid(
            f"{path} is not understood: rows are JSON Lines or a JSON array (whatever the ending), .csv, .tsv, .parquet, "
            ".txt or .md."
        )
    return []


def _array(path: Path, text: str) -> list[Record] | None:
    """The rows of a JSON array, or of the one list in a JSON object; None where the text is neither."""
    try:
        whole = json.loads(text, object_pairs_hook=untrusted.unique)
    except ValueError:
        if text.lstrip()[0] == "[":
            raise
        return None
    if isinstance(whole, dict):
        held = next((whole[key] for key in HOLDERS if isinstance(whole.get(key), list)), None)
        if held is None and "\n" not in text.strip():
            return None
        whole = [whole] if held is None else held
    records, halved = [Record(f"row {n}", row) for n, row in enumerate(whole, 1)], untrusted.halves(text)
    for place, row in records:
        if fault := _fault(row, halved):
            raise Corrupt(f"{path}, {place}, is not a valid row ({fault}).")
    return records


def _object(path: Path, number: int, line: str) -> Row:
    try:
        if len(line) > ROW:
            raise ValueError(f"it has {len(line):,} characters; a row has up to {ROW:,}")
        row = json.loads(line, object_pairs_hook=untrusted.unique)
        if fault := _fault(row, untrusted.halves(line)):
            raise ValueError(fault)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{path}, line {number}, is not a valid row ({short(error)}).") from error
    return row


def _fault(row: Any, halved: bool) -> str:
    """What is wrong with a row that JSON itself allows; `halved` if its text may hold half a character."""
    if not isinstance(row, dict):
        return "a row is one JSON object in braces"
    try:
        untrusted.check(row, "it", halved)
    except Corrupt as error:
        return str(error).rstrip(".")
    return ""


def _table(path: Path, text: str) -> list[Record]:
    """The delimiter is the one of tab, comma and semicolon that the first line has most often."""
    csv.field_size_limit(1 << 30)
    head = text.lstrip().split("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max("\t,;", key=head.count), strict=True)
    columns, records = None, list[Record]()
    try:
        for cells in filter(any, reader):
            place = f"line {reader.line_num}"
            if columns is None:
                columns = [cell.strip() for cell in cells]
                if len(set(columns)) < len(columns):
                    raise Invalid(f"{path}: two columns have one name: {', '.join(columns)}.")
            elif len(cells) != len(columns):
                raise Corrupt(f"{path}, {place}, has {len(cells)} cells, and there are {len(columns)} columns.")
            else:
                records.append(Record(place, {k: v for k, v in zip(columns, cells, strict=True) if v != ""}))
    except csv.Error as error:
        raise Corrupt(f"{path}, line {reader.line_num}, is not a valid row ({short(error)}).") from error
    return records


def _parquet(path: Path, content: bytes) -> list[Record]:
    if not content:
        return []
    from pyarrow import ArrowException, BufferReader
    from pyarrow.parquet import read_table

    try:
        rows = read_table(BufferReader(content)).to_pylist()
    except (ArrowException, UnicodeDecodeError) as error:
        raise Corrupt(f"{path} cannot be read: {short(error)}.") from error
    return [Record(f"row {n}", row) for n, row in enumerate(rows, 1)]


def paragraphs(text: str) -> Iterator[Record]:
    """Yields each paragraph of a text as a row {"text": …}, with the number of its first line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for blank, block in groupby(enumerate(text.split("\n"), 1), key=lambda line: not line[1].strip()):
        if not blank:
            numbers, texts = zip(*block, strict=True)
            yield Record(f"line {numbers[0]}", {"text": "\n".join(texts)})


def _from_hub(name: str) -> list[Record]:
    """Rows of several splits name theirs."""
    address, _, split = name.partition(":")
    owner, _, rest = address.partition("/")
    repo, _, config = rest.partition("/")
    repo = f"{owner}/{repo}" if repo else owner
    try:
        with online() as load_dataset:
            data = load_dataset(repo, config or None, split=split or None)
    except Exception as error:  # offline, no route, gated, not there: the Hub has a class for each
        raise NoData(f"{repo} could not be read from the Hugging Face Hub ({short(error)}).") from error
    parts: Iterable[tuple[str, Any]] = data.items() if isinstance(data, dict) else [("", data)]
    several = isinstance(data, dict) and len(data) > 1
    rows = [{**({"split": name} if several else {}), **dict(row)} for name, part in parts for row in part]
    if not rows:
        raise Invalid(f"hf:{name} is empty.")
    return [Record(f"row {n}", _known(row)) for n, row in enumerate(rows, 1)]


@contextmanager
def online() -> Iterator[Any]:
    """Gives the function `datasets.load_dataset`. Without a network nobody waits for its retries, which take half a minute."""
    import os
    import socket
    import urllib.request
    from urllib.parse import urlsplit

    from datasets import config, load_dataset  # two seconds and a network stack: only for those who need the Hub

    host, before = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname, config.HF_HUB_OFFLINE
    try:
        # behind a proxy names need not resolve here
        reachable = bool(urllib.request.getproxies() or socket.getaddrinfo(host, 443))
    except OSError:
        reachable = False
    config.HF_HUB_OFFLINE = before or not reachable
    try:
        yield load_dataset
    finally:
        config.HF_HUB_OFFLINE = before


def _known(row: Row) -> Row:
    return {key: value for key, value in row.items() if value is not None and value == value}
