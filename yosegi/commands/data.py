"""`yosegi data check FILE`: what is in a file of your own, as the model will read it."""

from typing import Annotated, Any

import typer

from yosegi.commands._config import read_columns
from yosegi.commands._options import Columns, Json, begin, say, table

app = typer.Typer(help="Data of your own: check what is in it.", no_args_is_help=True)


@app.callback()
def _verbs() -> None:
    """Data of your own."""


@app.command(
    "check", epilog="Example: yosegi data check support.csv --columns prompt=question,completion=answer --base nano"
)
def check(
    file: Annotated[str, typer.Argument(help="A file in any usual form, or hf:ID\\[/CONFIG]\\[:SPLIT].")],
    columns: Columns = None,
    metric: Annotated[
        str | None, typer.Option(help="How answers are scored; by default what the fields suggest.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Count the tokens of this base, and show what it reads.")] = None,
    max_length: Annotated[int, typer.Option(help="Tokens of a training row: what would be cut?", min=2)] = 1024,
    as_json: Json = False,
) -> None:
    """Say how a file is understood: its rows and splits, lengths, what would be cut, duplicates, three examples.

    Between « and » stands what would be learnt. Bad rows are one line with their place, and exit code 2.
    """
    begin(None, as_json)
    from yosegi.bases import load
    from yosegi.curate.rows import check_rows
    from yosegi.tasks.file import File

    task = File(file, metric, read_columns(columns))
    result = check_rows(task, load(base) if base else None, max_length)
    if as_json:
        say(result, True)
        return
    print(f"{file}: {result['rows']} rows, {task.describe()}.")
    print("Splits: " + ", ".join(f"{name} {rows}" for name, rows in result["splits"].items()) + ".\n")
    _print_lengths(result)
    for number, text in enumerate(result["examples"], 1):
        print(f"\n--- example {number}\n{text}")
    name = task.name if "{" not in task.name else f"'{task.name}'"
    print(f"\nThen: yosegi train --task {name}")


def _print_lengths(result: dict[str, Any]) -> None:
    """Prints lengths, what would be cut, and what comes twice."""
    rows = [[name, *(f"{value:,}" for value in values.values())] for name, values in result["lengths"].items()]
    table("", [result["unit"], "median", "95 %", "longest"], rows)
    if "cut" in result:
        words = result["cut"] or "nothing is cut"
        print(f"\nWith --max-length {result['max_length']}: {words}.")
    twice = [f"{count} {what}" for what, count in result["duplicates"].items() if count]
    print(f"Duplicates: {', '.join(twice) or 'none'}.")
