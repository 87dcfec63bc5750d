"""`yosegi curate`: score pages, keep the good ones, show what was dropped."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._config import check
from yosegi.commands._flags import flags
from yosegi.commands._options import Json, begin, say, table

EXAMPLE = "yosegi curate texts/ --lang ja --score 'keywords{words=[鉄道,軌道]}' --keep 0.3 --out runs/railway"


@flags("curate/settings.py", "CurateSettings", panel="Curation")
def curate(
    corpus: Annotated[list[Path], typer.Argument(help="Files (.jsonl, .jsonl.gz, .txt, .md) and folders of them.")],
    draw: Annotated[
        int,
        typer.Option("--sample", help="Only draw this many pages into sample.jsonl, to be labelled by hand.", min=0),
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the result; by default one below runs/.")] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Score the pages of a corpus and keep the good ones. Killed, the same command goes on.

    The folder has kept.jsonl, dropped.jsonl, evidence.jsonl (each page's scores and the rule that dropped it),
    statistics.json and curate.html. Another --keep or --threshold for the same folder scores nothing again.
    """
    begin(None, as_json)
    from yosegi.curate.corpus import curate_files, sample_files
    from yosegi.curate.settings import CurateSettings
    from yosegi.reporting.curated import page

    settings = check(CurateSettings, options)
    if draw:
        path, count = sample_files(corpus, settings, draw, out)
        words = f"{count} pages in {path}. Put 1 (keep) or 0 (drop) where label is null, then --score 'labelled{{path={path}}}'"
        say({"pages": count, "out": str(path)}, as_json, words)
        return
    result = curate_files(corpus, settings, out)
    page(result["out"])
    if not as_json:
        _print(result)
    folder = Path(result["out"])
    summary = {key: result[key] for key in ("before", "after", "rules", "scores", "out")}
    say(
        summary,
        as_json,
        f"Kept pages in {folder / 'kept.jsonl'}; what was dropped, and why, in {folder / 'curate.html'}.",
    )


def _print(result: dict[str, Any]) -> None:
    """Prints how many pages each rule dropped."""
    before, after = result["before"], result["after"]
    rows = [["read", f"{before['pages']:,}", f"{before['chars']:,}", ""]]
    rows += [[f"− {r['rule']}", f"{r['pages']:,}", f"{r['chars']:,}", r["about"]] for r in result["rules"]]
    table("", ["", "pages", "characters", "why"], [*rows, ["kept", f"{after['pages']:,}", f"{after['chars']:,}", ""]])
    for score in result["scores"]:
        if score["note"]:
            print(f"{score['name']}: {score['note']}.")
        if score.get("tied", 0) > score.get("tied_kept", 0):
            print(
                f"Warning: {score['tied']} pages have the {score['name']} of the last page kept; "
                f"the first {score['tied_kept']} of them were kept, and nothing but their order says why."
            )
