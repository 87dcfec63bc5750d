"""Curation: score pages, keep the good ones, and keep the evidence, however large the corpus.

    curate(Pages(["texts/"]), "runs/railway", [load("keywords{words=[鉄道,軌道]}")], [Rule(keep=0.3)], languages=["ja"])

1. Every page is read once: language, length, near-duplicates, and the scores of those that pass. What is known of a page goes
   into scores.sqlite in batches. Killed, the same call goes on after the last batch.
2. The rules are told to all numbers at once: thresholds, then shares of what is left. No page is scored again for another rule.
3. Every page is read again and written, each file appearing when it is whole.

    kept.jsonl       id, title, text, chars, split, and the other fields of the row: what the task `corpus` reads
    dropped.jsonl    the same, with the rule
    evidence.jsonl   a row a page, without its text: scores, language, the rule that dropped it and why
    statistics.json  before and after, and examples        config.json  everything resolved

Memory holds one batch of pages and 64 MiB of the ledger.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from yosegi import files
from yosegi.curate.duplicates import Duplicates, hash_of
from yosegi.curate.language import KNOWN, language
from yosegi.curate.ledger import Ledger, why
from yosegi.curate.pages import Page, Pages
from yosegi.curate.statistics import examples, statistics
from yosegi.errors import Invalid, UnknownName
from yosegi.progress import Bar, progress
from yosegi.scores import Rule, Score

KEPT, DROPPED, EVIDENCE = "kept.jsonl", "dropped.jsonl", "evidence.jsonl"
STATISTICS, CONFIG, LEDGER = "statistics.json", "config.json", "scores.sqlite"
BATCH = 32
BATCH_CHARS = 1_000_000
READ = 500
"""Pages read at most between two batches, though none of them be scored."""
SHOWN = 400
"""Characters of an example."""
REVISED = ("rules", "validation")
"""What may change from one call to the next in the same folder: nothing has to be scored again for it."""


def curate(
    corpus: Iterable[Page],
    out: str | Path,
    scores: Sequence[Score] = (),
    rules: Sequence[Rule] = (),
    *,
    languages: Sequence[str] = (),
    min_chars: int = 0,
    max_chars: int = 0,
    near_duplicates: float = 0.0,
    grams: int = 5,
    validation: float = 0.05,
) -> dict[str, Any]:
    """Write the folder `out`; returns what statistics.json says.

    Args:
        corpus: can be read several times, always the same; `Pages` of files, or your own.
        out: the folder. One that holds the same curation is finished, or told its rules anew.
        scores: what the pages that pass the filters are asked.
        rules: one a score.
        languages: those that stay, as `language` names them; all if none is named.
        min_chars: of a page that stays.
        max_chars: of a page that stays; 0 is no limit.
        near_duplicates: the Jaccard similarity of n-grams from which a page is dropped; 0 keeps all.
        grams: characters of an n-gram.
        validation: the share of kept pages whose split is "valid", where the corpus does not say any split.
    """
    out = Path(out)
    rules = list(rules) or [Rule()] * len(scores)
    _check(scores, rules, languages, min_chars, max_chars, validation)
    seen = Duplicates(near_duplicates, grams) if near_duplicates else None
    about = getattr(corpus, "about", lambda: {})()
    config = {
        "corpus": about, "languages": list(languages), "min_chars": min_chars, "max_chars": max_chars,
        "near_duplicates": near_duplicates, "grams": grams, "scores": [score.about() for score in scores],
        "rules": [vars(rule) for rule in rules], "validation": validation,
    }  # fmt: skip
    _same(out, config)
    out.mkdir(parents=True, exist_ok=True)
    files.write_json(out / CONFIG, config)
    for score in scores:
        score.write(out)
    with closing(Ledger(out / LEDGER, len(scores))) as ledger:
        with progress("curate", about.get("bytes", 0)) as bar:
            filters = _Filters(languages, min_chars, max_chars, seen, ledger)
            _read(corpus, ledger, scores, filters, bar)
        _some(ledger)
        cuts = ledger.judge(rules, [score.best for score in scores])
        told = statistics(ledger, scores, rules, cuts)
        told["examples"] = _write(
            corpus, out, ledger, scores, rules, cuts, ledger.deal(validation), about.get("bytes", 0)
        )
    files.write_json(out / STATISTICS, told)
    return told


def sample(
    corpus: Iterable[Page], count: int, languages: Sequence[str] = (), min_chars: int = 1
) -> list[dict[str, Any]]:
    """Pages by lot, to be labelled by hand: rows of id, label (null) and text. The same corpus gives the same ones."""
    import heapq

    drawn: list[tuple[int, int, dict[str, Any]]] = []
    for n, page in enumerate(corpus):
        if page.fault or len(page.text) < max(1, min_chars) or (languages and language(page.text) not in languages):
            continue
        row = {"id": page.id, "label": None, "title": page.title, "text": page.text}
        heapq.heappush(drawn, (-hash_of(page.id.encode()), -n, row))
        if len(drawn) > count:
            heapq.heappop(drawn)
    return [row for _, _, row in sorted(drawn, key=lambda drawn: -drawn[1])]


class _Filters:
    """What is asked of a page before it is scored."""

    def __init__(self, languages: Sequence[str], least: int, most: int, seen: Duplicates | None, ledger: Ledger):
        self.languages, self.least, self.most, self.seen, self.ledger = languages, least, most, seen, ledger

    def of(self, n: int, page: Page) -> tuple[str | None, str | None, str | None]:
        """(its language, the rule that drops it, the facts)."""
        if page.fault:
            return None, "unreadable", why(fault=page.fault)
        if not page.text.strip():
            return None, "empty", None
        found = language(page.text)
        if self.languages and found not in self.languages:
            return found, "language", why(language=found)
        if len(page.text) < self.least:
            return found, "short", why(chars=len(page.text))
        if self.most and len(page.text) > self.most:
            return found, "long", why(chars=len(page.text))
        if self.seen is not None and (signature := self.seen.signature(page.text)) is not None:
            near = self.ledger.resembles(signature)
            if near is not None and near[1] >= self.seen.threshold:
                twin = self.ledger.one("SELECT id FROM pages WHERE n = ?", near[0])
                return found, "near_duplicate", why(of=twin, similarity=round(near[1], 3))
            self.ledger.remember(n, signature)
        return found, None, None


def _read(corpus: Iterable[Page], ledger: Ledger, scores: Sequence[Score], filters: _Filters, bar: Bar) -> None:
    """The first reading, from where the last batch ended."""
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
                found, rule, facts = filters.of(n, page)
                known = ledger.one("SELECT 1 FROM pages WHERE id = ?", page.id)
                name = f"{page.id}#{n}" if known else page.id  # two rows of one name are two pages
                place = (page.source, page.line, len(page.text), found, page.split, rule, facts)
                ledger.add((n, name, hash_of(page.text.encode()), hash_of(name.encode()), *place))
                read, size = read + 1, size + page.size
                if rule is None and scores:
                    waiting.append((n, page.text))
                    chars += len(page.text)
                if read >= READ or len(waiting) >= BATCH or chars >= BATCH_CHARS:
                    break
            texts = [text for _, text in waiting]
            columns = [score.of(texts) for score in scores] if texts else []
            ledger.score(zip((n for n, _ in waiting), zip(*columns, strict=True), strict=True) if columns else ())
        bar.advance(size, f"{len(waiting)}/{read} pages scored")


def _write(
    corpus: Iterable[Page], out: Path, ledger: Ledger, scores: Sequence[Score], rules: Sequence[Rule],
    cuts: Sequence[dict[str, Any]], deal: int | None, size: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """The second reading: every page to its file. Returns the pages to show."""
    chosen, shown = examples(ledger, scores), []
    names = [score.name for score in scores]
    columns = (
        "n, id, mark, draw, source, line, chars, language, split, verdict, why",
        *(f"s{i}" for i in range(len(scores))),
    )
    with ExitStack() as stack, progress("write", size) as bar:
        kept, dropped, evidence = (stack.enter_context(files.new_file(out / f)) for f in (KEPT, DROPPED, EVIDENCE))
        rows = stack.enter_context(closing(ledger.rows(f"SELECT {', '.join(columns)} FROM pages ORDER BY n")))
        for page, row in _together(corpus, rows):
            n, name, _, draw, source, line, chars, found, split, verdict, facts, *values = row
            split = {"validation": "valid"}.get(split, split) or (
                "valid" if deal is not None and draw <= deal else "train"
            )
            rule, about = _told(verdict, json.loads(facts or "{}"), names, rules, cuts, values)
            told = {
                "id": name, "source": source, "line": line, "title": page.title, "chars": chars, "language": found,
                "scores": dict(zip(names, values, strict=True)), "kept": verdict is None, "rule": rule, **about,
            }  # fmt: skip
            _line(evidence, told)
            text = page.row | {"id": name, "title": page.title, "text": page.text, "chars": chars}
            if verdict is None:
                _line(kept, text | {"split": split})
            else:
                _line(dropped, text | {"rule": rule} | about)
            if n in chosen:
                group, how = chosen[n]
                shown.append(told | {"group": group, "how": how, "text": page.text[:SHOWN]})
            bar.advance(page.size)
    return shown


def _told(
    verdict: str | None, facts: dict[str, Any], names: Sequence[str], rules: Sequence[Rule],
    cuts: Sequence[dict[str, Any]], values: Sequence[float | None],
) -> tuple[str | None, dict[str, Any]]:  # fmt: skip
    """The rule that dropped a page, and why, in the words of the evidence."""
    if verdict is None or not verdict.startswith("score"):
        return verdict, {"why": facts} if facts else {}
    i = int(verdict.removeprefix("score"))
    ends = {end: cuts[i][end] for end in ("low", "high") if cuts[i][end] is not None}
    return f"score {names[i]}", {"why": {"score": values[i], **ends, "rule": rules[i].about()}}


def _together(corpus: Iterable[Page], rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Page, tuple[Any, ...]]]:
    """The pages with what is known of them; they have to be the same pages as before."""
    changed = Invalid("The corpus has changed since it was scored. Curate it anew into another folder.")
    for page in corpus:
        row = next(rows, None)
        if row is None or row[2] != hash_of(page.text.encode()):
            raise changed
        yield page, row
    if next(rows, None) is not None:
        raise changed


def _line(file: BinaryIO, row: dict[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _check(
    scores: Sequence[Score], rules: Sequence[Rule], languages: Sequence[str], least: int, most: int, validation: float
) -> None:
    names = [score.name for score in scores]
    if len(rules) != len(scores):
        raise Invalid(f"{len(scores)} scores have as many rules; {len(rules)} were given.")
    if len(set(names)) < len(names):
        raise Invalid(f"Score {max(names, key=names.count)!r} was given twice.")
    for code in languages:
        if code not in KNOWN:
            raise UnknownName.among("language that can be told", code, KNOWN)
    if least < 0 or most < 0 or (most and most < least):
        raise Invalid(f"min_chars={least}, max_chars={most}: no page is that long.")
    if not 0 <= validation < 1:
        raise Invalid(f"validation={validation:g}: it is a share of the kept pages, from 0 to less than 1.")


def _same(out: Path, config: dict[str, Any]) -> None:
    """A folder goes on with the same corpus, filters and scores; another curation is not mixed into it."""
    if out.exists() and not out.is_dir():
        raise Invalid(f"{out} is a file; a curation is a folder.")
    if not (out / CONFIG).exists():
        if (out / LEDGER).exists() or (out / KEPT).exists():
            raise Invalid(f"{out} holds something else. Choose another folder, or delete it.")
        return
    before, now = files.read_json(out / CONFIG), json.loads(json.dumps(config))
    changed = [
        key for key in now if key not in REVISED and (not isinstance(before, dict) or before.get(key) != now[key])
    ]
    if changed:
        raise Invalid(
            f"{out} holds another curation ({', '.join(changed)} differ). Choose another folder, or delete it."
        )


def _some(ledger: Ledger) -> None:
    """At least one page has to be one."""
    if not len(ledger):
        raise Invalid("The corpus has no pages.")
    if not ledger.one("SELECT count(*) FROM pages WHERE rule IS NOT 'unreadable'"):
        first = json.loads(ledger.one("SELECT why FROM pages WHERE n = 0"))["fault"]
        source = ledger.one("SELECT source FROM pages WHERE n = 0")
        raise Invalid(f"No page of the corpus can be read; of the first, in {source}: {first}.")


__all__ = ["Page", "Pages", "curate", "language", "sample"]
