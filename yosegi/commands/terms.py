"""`yosegi terms build CORPUS…`: a quiz about a corpus, drafted from its own definitions, for a person to check."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import Data, Json, begin, say, table
from yosegi.errors import Invalid, NoData

app = typer.Typer(help="Quizzes about the terms of a corpus: build.", no_args_is_help=True)


@app.callback()
def _verbs() -> None:
    """Quizzes about the terms of a corpus."""


@app.command("build")
def build(
    corpus: Annotated[
        list[str], typer.Argument(help="A corpus as `corpus/NAME` has it, or a .jsonl with texts, or a .txt.")
    ],
    out: Annotated[Path, typer.Option(help="The quiz; then --task terms/OUT and terms/OUT/rank.")] = Path(
        "terms.jsonl"
    ),
    choices: Annotated[int, typer.Option(help="Candidates of each question.", min=2, max=10)] = 8,
    shots: Annotated[int, typer.Option(help="Examples shown before each question.", min=0)] = 3,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file, and what was checked in it.")
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Find definition sentences and draft one question each. Check them: a draft says `checked: false`, and results say so."""
    begin(data, as_json)
    import json

    from yosegi import files
    from yosegi.tasks.readers import definitions

    if not out.name.endswith(".jsonl"):
        raise Invalid(f"--out is a .jsonl file, not {str(out)!r}.")
    if out.exists() and not overwrite:
        raise Invalid(f"{out} is there already; somebody may have checked it. --overwrite replaces it.")
    terms = definitions.found([row for name in corpus for row in _texts(name)])
    if len(terms) < 2:
        raise Invalid(
            f"{', '.join(corpus)}: {len(terms)} definition sentences found (「X」とは、…をいう; X means …; X is defined as …), "
            "and a quiz needs two."
        )
    rows = definitions.drafts(terms, choices, shots)
    files.write(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    asked = sum(row["split"] == "test" for row in rows)
    if as_json:
        say({"out": str(out), "drafts": len(rows), "questions": asked, "terms": [term.word for term in terms]}, True)
        return
    table("", ["term", "its sentence"], [[term.word, _short(term.sentence)] for term in terms[:10]])
    print(
        f"\n{len(rows)} drafts ({asked} questions, {len(rows) - asked} examples) in {out}. Nobody has checked them yet:"
    )
    print("read each beside its evidence, correct it or delete its line, and set checked to true.")
    print(f"Then: yosegi eval --task terms/{out} --task terms/{out}/rank")


def _texts(name: str) -> list[dict[str, Any]]:
    """The rows of one corpus that training sees, each with a name of its own."""
    from yosegi.tasks.corpus import Corpus
    from yosegi.tasks.readers import data

    path = Path(name).expanduser()
    if name.endswith((".jsonl", ".jsonl.gz", ".txt")):
        if not path.is_file():
            raise NoData(f"There is no file {str(path.absolute())!r}.")
        rows = list(data.paragraphs(path) if path.suffix == ".txt" else data.lines(path))
        found, what = [{"id": number, **row} for number, row in rows], path.name
    else:
        what = Corpus(name.removeprefix("corpus/")).part
        found = data.rows(f"corpus/{what}", None, f"The corpus {what}")
    if bad := next((row for row in found if not isinstance(row.get("text"), str)), None):
        raise Invalid(f"{name}: the row {bad.get('id')!r} has no text.")
    if not (seen := [row for row in found if row.get("split", "train") == "train"]):
        raise Invalid(f"{name} has no rows that training sees (split train).")
    names = [str(row.get("id", n)) for n, row in enumerate(seen, 1)]
    return [
        {"title": what, **row, "id": name if name.startswith(f"{what}/") else f"{what}/{name}"}
        for name, row in zip(names, seen, strict=True)
    ]


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
