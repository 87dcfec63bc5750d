"""`yosegi push`: an expert, a library or an export to the Hub of Hugging Face."""

from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import Json, begin, say

EXAMPLE = "yosegi push experts me/my-experts --dry-run"


def push(
    folder: Annotated[Path, typer.Argument(help="An expert (LIBRARY/NAME), a library, or what `export` wrote.")],
    repo: Annotated[str, typer.Argument(help="Where to: USER/NAME; made if it is not there.")],
    public: Annotated[bool, typer.Option("--public", help="A new repository may be seen by anybody.")] = False,
    revision: Annotated[str | None, typer.Option(help="The branch.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files with their sizes; send nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Send an expert, a library with its kept arms, or an export to the Hub. What is there already is not sent again."""
    begin(as_json=as_json)
    from yosegi.exporting.hub import push as send

    about = send(folder, repo, public=public, revision=revision, dry_run=dry_run)
    size, count = sum(one["size"] for one in about["files"]), len(about["files"])
    rows = [f"{one['size']:>14,}  {one['path']}" for one in about["files"]] if dry_run else []
    words = "would be sent" if dry_run else f"sent, commit {about['commit'][:12]}"
    seen = "private if it is new" if about["private"] else "public if it is new"
    text = f"{about['kind']} {folder} to {repo} ({seen}): {count} files, {size / 2**20:.1f} MiB {words}"
    say(about, as_json, "\n".join([*rows, text]))
