"""`yosegi curate`: score pages, keep the good ones, show what was dropped."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import Json, begin, say, table
from yosegi.errors import Invalid, UnknownName

SCORE = (
    "What a page is worth; may be repeated: length, keywords:words.txt, labelled:labels.jsonl, classifier:ORG/MODEL?label=1, "
    "perplexity:BASE, likelihood_ratio:LIBRARY/EXPERT?base=BASE. `yosegi ls scores` names them, `yosegi show` their arguments."
)
KEEP = "The best share to keep, as in 0.3; with several scores NAME=0.3."
THRESHOLD = "What the good side of a score has to reach, or LOW..HIGH; with several scores NAME=2."


def curate(
    corpus: Annotated[list[Path], typer.Argument(help="Files (.jsonl, .jsonl.gz, .txt, .md) and folders of them.")],
    score: Annotated[list[str] | None, typer.Option(help=SCORE)] = None,
    keep: Annotated[list[str] | None, typer.Option(help=KEEP)] = None,
    threshold: Annotated[list[str] | None, typer.Option(help=THRESHOLD)] = None,
    lang: Annotated[list[str] | None, typer.Option(help="A language that stays, such as ja; may be repeated.")] = None,
    min_chars: Annotated[int, typer.Option("--min-chars", help="Of a page that stays.", min=0)] = 0,
    max_chars: Annotated[int, typer.Option("--max-chars", help="Of a page that stays; 0 is no limit.", min=0)] = 0,
    near_duplicates: Annotated[
        float,
        typer.Option("--near-duplicates", help="Drop pages from this similarity (MinHash), as in 0.8; 0 keeps all."),
    ] = 0.0,
    grams: Annotated[int, typer.Option(help="Characters of an n-gram for near-duplicates.", min=1)] = 5,
    page_chars: Annotated[
        int, typer.Option("--page-chars", help="At most, of a page of a text file.", min=1)
    ] = 100_000,
    encoding: Annotated[str, typer.Option(help="Of text files: utf-8, cp932, euc_jp …")] = "utf-8",
    validation: Annotated[float, typer.Option(help="Share of kept pages that are for validation.")] = 0.05,
    draw: Annotated[
        int, typer.Option("--sample", help="Only draw so many pages into sample.jsonl, to be labelled by hand.", min=0)
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="The folder for the result; by default one below runs/.")] = None,
    as_json: Json = False,
) -> None:
    """Score the pages of a corpus and keep the good ones. Killed, the same command goes on.

    The folder has kept.jsonl, dropped.jsonl, evidence.jsonl (each page's scores and the rule that dropped it),
    statistics.json and curate.html. Another --keep or --threshold for the same folder scores nothing again.
    """
    begin(None, as_json)
    from yosegi.curate import Pages
    from yosegi.curate import curate as run
    from yosegi.scores import Rule, load, rule

    pages = Pages(corpus, page_chars, encoding)
    first = corpus[0].resolve().name.partition(".")[0]
    out = out or Path("runs") / f"curate-{first}"
    _outside(out, corpus)
    if draw:
        _sample(pages, draw, lang or [], min_chars, out, as_json)
        return
    names = [spec.partition(":")[0] for spec in score or []]
    if not names and (keep or threshold):
        raise Invalid("--keep and --threshold are about a score: say --score as well.")
    shares, limits = _by_name("--keep", keep or [], names), _by_name("--threshold", threshold or [], names)
    for name, value in shares.items():
        Rule(keep=_number(name, value))  # bad numbers are told before a model is loaded
    scores = [load(spec) for spec in score or []]
    rules = []
    for name, made in zip(names, scores, strict=True):
        share = _number(name, shares[name]) if name in shares else None
        rules.append(rule(made, share, limits.get(name)))
    told = run(
        pages, out, scores, rules, languages=lang or [], min_chars=min_chars, max_chars=max_chars,
        near_duplicates=near_duplicates, grams=grams, validation=validation,
    )  # fmt: skip
    from yosegi.reporting.curated import page

    page(out)
    if not as_json:
        _show(told)
    summary = {key: told[key] for key in ("before", "after", "rules", "scores")} | {"out": str(out)}
    say(summary, as_json, f"Kept pages in {out / 'kept.jsonl'}; what was dropped, and why, in {out / 'curate.html'}.")


def _show(told: dict[str, Any]) -> None:
    """The counts in words."""
    before, after = told["before"], told["after"]
    rows = [["read", f"{before['pages']:,}", f"{before['chars']:,}", ""]]
    rows += [[f"− {r['rule']}", f"{r['pages']:,}", f"{r['chars']:,}", r["about"]] for r in told["rules"]]
    table("", ["", "pages", "characters", "why"], [*rows, ["kept", f"{after['pages']:,}", f"{after['chars']:,}", ""]])
    for score in told["scores"]:
        if score["note"]:
            print(f"{score['name']}: {score['note']}.")
        if score.get("tied", 0) > score.get("tied_kept", 0):
            print(
                f"Warning: {score['tied']} pages have the {score['name']} of the last page kept; "
                f"the first {score['tied_kept']} of them were kept, and nothing but their order says why."
            )


def _sample(pages: Any, count: int, languages: list[str], least: int, out: Path, as_json: bool) -> None:
    """Pages to be labelled."""
    from yosegi import files
    from yosegi.curate import sample

    path = out / "sample.jsonl"
    if path.exists():
        raise Invalid(f"{path} is there already, and may have labels in it. Choose another --out, or delete it.")
    rows = sample(pages, count, languages, least)
    if not rows:
        raise Invalid("There is no page to draw.")
    files.write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    how = f'{len(rows)} pages in {path}. Put 1 (keep) or 0 (drop) where "label" is null, then --score labelled:{path}'
    say({"pages": len(rows), "out": str(path)}, as_json, how)


def _by_name(option: str, given: list[str], names: list[str]) -> dict[str, str]:
    """NAME=VALUE for each, or a bare value where there is one score."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.rpartition("=")
        if not equals:
            if len(names) > 1:
                raise Invalid(f"{option} {text}: there are several scores; write {names[0]}={text}.")
            name = names[0]
        if name not in names:
            raise UnknownName.among("score of this command", name, names)
        if name in found:
            raise Invalid(f"{option} was given twice for {name}.")
        found[name] = value
    return found


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise Invalid(f"--keep {value!r} for {name}: a share is a number, such as 0.3.") from None


def _outside(out: Path, corpus: list[Path]) -> None:
    """What is written must not be read as a part of the corpus the next time."""
    for path in corpus:
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise Invalid(f"--out {out} lies inside the corpus {path}, and would be read as a part of it.")
