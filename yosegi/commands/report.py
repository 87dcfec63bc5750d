"""`yosegi report RUN…`: one self-contained HTML page."""

from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import Json, say


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    to: Annotated[Path | None, typer.Option(help="The page; by default report.html in the first run.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another run: compare the same arms and tasks with it, question by question.")
    ] = None,
    figures: Annotated[bool, typer.Option("--figures", help="Also draw PNG files into figures/.")] = False,
    as_json: Json = False,
) -> None:
    """Write one HTML page about one or more runs, from their files alone."""
    from yosegi.reporting import report as write

    page = write(runs, to or runs[0] / "report.html", against=against, figures=figures)
    say({"report": str(page)}, as_json, f"Open {page}")
