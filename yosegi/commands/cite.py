"""`yosegi cite RUN`: the papers behind a run, as BibTeX."""

from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import Json, say

EXAMPLE = "yosegi cite runs/demo > demo.bib"


def cite(run: Annotated[Path, typer.Argument(help="A run folder.")], as_json: Json = False) -> None:
    """Print the bibliography of a run: the paper of every method, task and base that its files name."""
    from yosegi.reporting.citations import cite as bibliography

    text = bibliography(run)
    say({"bibtex": text}, as_json, text)
