"""Curation: score pages, keep the good ones, and keep the evidence, however large the corpus.

    curate(Pages(["texts/"]), "runs/railway", [load("keywords{words=[鉄道,軌道]}")], [Rule(keep=0.3)], lang=["ja"])

1. Every page is read once: language, length, near-duplicates, and the scores of those that pass. The results go into
   scores.sqlite in batches. If it is killed, the same call continues after the last batch.
2. The rules are applied to all numbers at once: thresholds, then shares of what is left. Another rule scores no page again.
3. Every page is read again and written; each file appears when it is complete.

    kept.jsonl       id, title, text, chars, split, and the other fields of the row: what the task `corpus` reads
    dropped.jsonl    the same, with the rule
    evidence.jsonl   a row for each page, without its text: scores, language, the rule that dropped it and why
    statistics.json  before and after, and examples        config.json  everything resolved

One batch of pages and 64 MiB of the ledger are in memory.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from yosegi import files
from yosegi.curate.duplicates import Duplicates, hash_of
from yosegi.curate.language import KNOWN, language
from yosegi.curate.ledger import Ledger
from yosegi.curate.pages import Page, Pages
from yosegi.curate.settings import FILTERS, CurateSettings
from yosegi.curate.statistics import examples, statistics
from yosegi.errors import Invalid, UnknownName, in_one_line
from yosegi.progress import progress
from yosegi.run import changed
from yosegi.scores import Rule, Score

__all__ = ["Page", "Pages", "curate", "language", "sample"]

KEPT, DROPPED, EVIDENCE = "kept.jsonl", "dropped.jsonl", "evidence.jsonl"
STATISTICS, CONFIG, LEDGER = "statistics.json", "config.json", "scores.sqlite"
BATCH, BATCH_CHARS = 32, 1_000_000
READ = 500
"""The most pages that are read between two batches, even if none of them is scored."""
SHOWN = 400
"""Characters of an example."""
REVISED = ("rules", "validation")
"""Settings that may change from one call to the next in the same folder: they do not change a score."""

Verdict = tuple[str | None, str | None, dict[str, Any]]
"""The language of a page, the rule that drops it (None for none), and the facts behind that."""


def curate(
    corpus: Iterable[Page],
    out: str | Path,
    scores: Sequence[Score] = (),
    rules: Sequence[Rule] = (),
    **filters: Any,
) -> dict[str, Any]:
    """Writes the folder `out`; returns the content of statistics.json.

    Args:
        corpus: the pages; it can be iterated several times and is always the same, such as `Pages`.
        out: the folder. If it has the same curation, that is finished, or gets the new rules.
        scores: the scores of pages that pass the filters.
        rules: one for each score.
        filters: `lang`, `min_chars`, `max_chars`, `near_duplicates`, `grams` and `validation` of CurateSettings.
    """
    with in_one_line(CurateSettings.model_fields):
        settings = CurateSettings(**filters)
    out, names = Path(out), [score.name for score in scores]
    rules = list(rules) or [Rule()] * len(scores)
    if len(rules) != len(scores):
        raise Invalid(f"{len(scores)} scores need as many rules; {len(rules)} were given.")
    if len(set(names)) < len(names):
        raise Invalid(f"Score {max(names, key=names.count)!r} was given twice.")
    UnknownName.check("known language", settings.lang, KNOWN)
    duplicates = Duplicates(settings.near_duplicates, settings.grams) if settings.near_duplicates else None
    about = getattr(corpus, "about", lambda: {})()
    config = {
        "corpus": about, **settings.model_dump(include={*FILTERS, "validation"}),
        "scores": [score.about() for score in scores], "rules": [vars(rule) for rule in rules],
    }  # fmt: skip
    _check_folder(out, config)
    out.mkdir(parents=True, exist_ok=True)
    files.tidy(out)
    files.write_json(out / CONFIG, config)
    for score in scores:
        score.write(out)

    def filtered(n: int, page: Page) -> Verdict:
        if page.fault:
            return None, "unreadable", {"fault": page.fault}
        if not page.text.strip():
            return None, "empty", {}
        code, chars = language(page.text), len(page.text)
        if settings.lang and code not in settings.lang:
            return code, "language", {"language": code}
        if chars < settings.min_chars:
            return code, "short", {"chars": chars}
        if settings.max_chars and chars > settings.max_chars:
            return code, "long", {"chars": chars}
        if duplicates is not None and (signature := duplicates.signature(page.text)) is not None:
            near = ledger.nearest(signature)
            if near is not None and near[1] >= settings.near_duplicates:
                twin = ledger.one("SELECT id FROM pages WHERE n = ?", near[0])
                return code, "near_duplicate", {"of": twin, "similarity": round(near[1], 3)}
            ledger.add_signature(n, signature)
        return code, None, {}

    with closing(Ledger(out / LEDGER, len(scores))) as ledger:
        _read(corpus, ledger, scores, filtered, about.get("bytes", 0))
        cuts = ledger.judge(rules, [score.best for score in scores])
        result = statistics(ledger, scores, rules, cuts)
        split_of = ledger.splits(settings.validation)
        result["examples"] = _write(corpus, out, ledger, scores, rules, cuts, split_of, about.get("bytes", 0))
    files.write_json(out / STATISTICS, result)
    return result


def sample(
    corpus: Iterable[Page], count: int, languages: Sequence[str] = (), min_chars: int = 1
) -> list[dict[str, Any]]:
    """Returns random pages to be labelled by hand: rows of id, label (null) and text. The same corpus gives the same ones."""
    drawn: list[tuple[int, int, dict[str, Any]]] = []
    for n, page in enumerate(corpus):
        if page.fault or len(page.text) < max(1, min_chars) or (languages and language(page.text) not in languages):
            continue
        row = {"id": page.id, "label": None, "title": page.title, "text": page.text}
        heapq.heappush(drawn, (-hash_of(page.id.encode()), -n, row))
        if len(drawn) > count:
            heapq.heappop(drawn)
    return [row for _, _, row in sorted(drawn, key=lambda drawn: -drawn[1])]


def _read(
    corpus: Iterable[Page], ledger: Ledger, scores: Sequence[Score], filtered: Callable[[int, Page], Verdict], size: int
) -> None:
    """Reads the corpus for the first time, from where the last batch ended."""
    with progress("curate", size) as bar:
        pages, done = iter(corpus), len(ledger)
        for page in islice(pages, done):
            bar.advance(page.size)
        if done and done == ledger.one("SELECT max(n) + 1 FROM pages"):
            bar.note = f"{done} pages known"
        numbered = enumerate(pages, done)
        while (first := next(numbered, None)) is not None:
            read = size = chars = 0
            waiting: list[tuple[int, str]] = []
            with ledger.batch():
                for n, page in chain([first], numbered):
                    code, rule, facts = filtered(n, page)
                    known = ledger.one("SELECT 1 FROM pages WHERE id = ?", page.id)
                    name = f"{page.id}#{n}" if known else page.id  # two rows of one name are two pages
                    why = json.dumps(facts, ensure_ascii=False) if facts else None
                    place = (page.source, page.line, len(page.text), code, page.split, rule, why)
                    ledger.add((n, name, hash_of(page.text.encode()), hash_of(name.encode()), *place))
                    read, size = read + 1, size + page.size
                    if rule is None and scores:
                        waiting.append((n, page.text))
                        chars += len(page.text)
                    if read >= READ or len(waiting) >= BATCH or chars >= BATCH_CHARS:
                        break
                if waiting:
                    columns = [score.of([text for _, text in waiting]) for score in scores]
                    ledger.score((n, row) for (n, _), row in zip(waiting, zip(*columns, strict=True), strict=True))
            bar.advance(size, f"{len(waiting)}/{read} pages scored")
    if not len(ledger):
        raise Invalid("The corpus has no pages.")
    if not ledger.one("SELECT count(*) FROM pages WHERE rule IS NOT 'unreadable'"):
        ((why, source),) = ledger.rows("SELECT why, source FROM pages WHERE n = 0")
        raise Invalid(f"No page of the corpus can be read; of the first, in {source}: {json.loads(why)['fault']}.")


def _write(
    corpus: Iterable[Page], out: Path, ledger: Ledger, scores: Sequence[Score], rules: Sequence[Rule],
    cuts: Sequence[dict[str, Any]], split_of: Callable[[str | None, int], str], size: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Reads the corpus again, and writes every page to its file. Returns the pages to show."""
    chosen, shown = examples(ledger, scores), []
    names = [score.name for score in scores]
    columns = ["n, id, mark, draw, source, line, chars, language, split, verdict, why"]
    columns += [f"s{i}" for i in range(len(scores))]
    with ExitStack() as stack, progress("write", size) as bar:
        kept, dropped, evidence = (stack.enter_context(files.new_file(out / f)) for f in (KEPT, DROPPED, EVIDENCE))
        rows = stack.enter_context(closing(ledger.rows(f"SELECT {', '.join(columns)} FROM pages ORDER BY n")))
        for page, row in _together(corpus, rows):
            n, name, _, draw, source, line, chars, code, split, verdict, why, *values = row
            rule, facts = verdict, json.loads(why or "{}")
            if verdict is not None and verdict.startswith("score"):
                i = int(verdict.removeprefix("score"))
                ends = {end: cuts[i][end] for end in ("low", "high") if cuts[i][end] is not None}
                rule, facts = f"score {names[i]}", {"score": values[i], **ends, "rule": rules[i].about()}
            reason = {"why": facts} if facts else {}
            proof = {
                "id": name, "source": source, "line": line, "title": page.title, "chars": chars, "language": code,
                "scores": dict(zip(names, values, strict=True)), "kept": rule is None, "rule": rule, **reason,
            }  # fmt: skip
            _line(evidence, proof)
            text = page.row | {"id": name, "title": page.title, "text": page.text, "chars": chars}
            if rule is None:
                _line(kept, text | {"split": split_of(split, draw)})
            else:
                _line(dropped, text | {"rule": rule} | reason)
            if n in chosen:
                group, how = chosen[n]
                shown.append(proof | {"group": group, "how": how, "text": page.text[:SHOWN]})
            bar.advance(page.size)
    return shown


def _together(corpus: Iterable[Page], rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Page, tuple[Any, ...]]]:
    """Yields the pages with their rows of the ledger; they must be the same pages as before."""
    other = Invalid("The corpus has changed since it was scored. Curate it anew into another folder.")
    for page in corpus:
        row = next(rows, None)
        if row is None or row[2] != hash_of(page.text.encode()):
            raise other
        yield page, row
    if next(rows, None) is not None:
        raise other


def _line(file: BinaryIO, row: dict[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _check_folder(out: Path, config: dict[str, Any]) -> None:
    """A folder is continued with the same corpus, filters and scores; another curation is refused."""
    if out.exists() and not out.is_dir():
        raise Invalid(f"{out} is a file; a curation is a folder.")
    if not (out / CONFIG).exists():
        if (out / LEDGER).exists() or (out / KEPT).exists():
            raise Invalid(f"{out} holds something else. Choose another folder, or delete it.")
    elif differ := changed(files.read_json(out / CONFIG), config, REVISED):
        raise Invalid(
            f"{out} holds another curation ({', '.join(differ)} differ). Choose another folder, or delete it."
        )
