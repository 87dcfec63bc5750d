"""`yosegi library rm`: deletes experts or kept arms."""

from typing import Annotated

import typer

from yosegi.commands._options import Folder


def rm(
    library: Folder,
    names: Annotated[list[str], typer.Argument(help="Experts, or with --arm kept arms.")],
    arm: Annotated[bool, typer.Option("--arm", help="Delete kept arms, not experts.")] = False,
) -> None:
    """Delete experts or kept arms."""
    from yosegi.engine.kept import arms, remove_arm
    from yosegi.errors import UnknownName
    from yosegi.library.store import Library

    folder = Library(library)
    # All must be there before the first is gone.
    UnknownName.check(f"{'arm' if arm else 'expert'} of this library", names, arms(folder) if arm else folder)
    for name in dict.fromkeys(names):
        remove_arm(folder, name) if arm else folder.remove(name)
