"""`yosegi library verify`: is every file whole?"""

from pathlib import Path

import typer

from yosegi.commands._options import Folder, Json, say


def verify(library: Folder = Path("library"), as_json: Json = False) -> None:
    """Read every byte and name every file that is damaged. Exit code 1 if there is one."""
    from yosegi.library.store import Library

    folder = Library(library)
    problems = folder.verify()
    lines = [*(f"{problem.file}: {problem.what}" for problem in problems)]
    lines.append(f"{len(folder)} experts, {len(problems)} problems")
    say([{"file": str(one.file), "what": one.what} for one in problems], as_json, "\n".join(lines))
    if problems:
        raise typer.Exit(1)
