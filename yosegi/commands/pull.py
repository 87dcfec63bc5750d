"""`yosegi pull`: an expert, a library or an export from the Hub of Hugging Face."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import Json, Overwrite, begin, say

EXAMPLE = "yosegi pull me/my-experts experts --base smollm2"


def pull(
    repo: Annotated[str, typer.Argument(help="USER/NAME.")],
    to: Annotated[Path, typer.Argument(help="The library for experts; of an export the new folder.")],
    base: Annotated[str | None, typer.Option(help="The base that the experts have to belong to.")] = None,
    name: Annotated[str | None, typer.Option(help="Another name for a single expert.")] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, a tag or a commit.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fetch what `push` sent, verify it, then move it in. Interrupted, the same command goes on."""
    begin(as_json=as_json)
    from yosegi.exporting.hub import pull as fetch

    about = fetch(repo, to, base=base, name=name, revision=revision, overwrite=overwrite)
    if left_out := about["left_out"]:
        print(f"Left out of {repo}: {', '.join(left_out[:6])}{' …' * (len(left_out) > 6)}", file=sys.stderr)
    say(about, as_json, f"{about['kind']} {repo}@{(about['commit'] or '')[:12]} in {to}: {', '.join(about['names'])}")
