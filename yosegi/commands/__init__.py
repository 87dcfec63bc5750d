"""The command line: one verb a file. Machines are imported inside the verbs, so that `--help` is instant.

Every verb keeps the same manners: bad input is one line on stderr and exit code 2; Ctrl-C says how to go on (130).
"""

import errno
import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.core

import yosegi
from yosegi.errors import YosegiError

HELP = "Train many small LoRA experts, keep them in a library, let them answer together, and know whether it worked."


PANELS = {
    "Start": ("demo", "doctor", "ls", "show"),
    "Train": ("data", "train", "reinforce", "train-router", "label", "curate", "terms"),
    "Combine": ("library", "merge", "search"),
    "Judge": ("eval", "report", "run"),
}
"""The verbs in the order in which `yosegi --help` lists them: from a first try to a finished report."""


class Verbs(typer.core.TyperGroup):
    """Lists the verbs by workflow, not by alphabet; an installed verb that no panel names comes last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names in the order of `PANELS`."""
        order = [name for names in PANELS.values() for name in names]
        return sorted(
            super().list_commands(ctx), key=lambda name: (order.index(name) if name in order else len(order), name)
        )


def app() -> typer.Typer:
    """Returns the command line: one verb a file of this folder. A file with an `app` of its own is a verb with verbs below it."""
    every = typer.Typer(
        help=HELP,
        cls=Verbs,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    panels = {name: panel for panel, names in PANELS.items() for name in names}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name[0] == "_":
            continue
        verb, name = importlib.import_module(f"yosegi.commands.{module.name}"), module.name.replace("_", "-")
        panel = panels.get(name, "Other")
        if hasattr(verb, "app"):
            every.add_typer(verb.app, name=name, rich_help_panel=panel)
        else:
            function = getattr(verb, module.name, None) or getattr(verb, f"{module.name}_")
            example = getattr(verb, "EXAMPLE", None)
            every.command(
                name,
                context_settings=getattr(verb, "CONTEXT", None),
                rich_help_panel=panel,
                epilog=example and f"Example: {example}",
            )(function)

    @every.callback()
    def about(
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version, and end.")
        ] = False,
    ) -> None:
        pass

    return every


def main() -> None:
    """Run one command line and exit."""
    try:
        code = app()(prog_name="yosegi", standalone_mode=False)
        if code == 130:  # what typer makes of a KeyboardInterrupt
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        _stop("Interrupted. What was finished is saved; the same command goes on from there.", 130)
    except BrokenPipeError:
        sys.exit(141)  # somebody closed the pipe, as `head` does
    except YosegiError as error:
        _stop(str(error))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _stop(f"The disk is full ({error.filename or 'while writing'}). Nothing half-written was kept.")
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
            _stop(f"{error.strerror}: {error.filename}.")
        raise
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one of the parser's own
            raise
        _stop(_usage(error))
    sys.exit(code if isinstance(code, int) else 0)


def _version(asked: bool) -> None:
    if asked:
        print(f"yosegi {yosegi.__version__}")
        raise typer.Exit


def _stop(message: str, code: int = 2) -> NoReturn:
    print(f"yosegi: {message}", file=sys.stderr)
    sys.exit(code)


def _usage(error: Any) -> str:
    message = " ".join(error.format_message().split())
    where = getattr(error, "ctx", None)
    stop = "" if message.endswith("?") else "."
    return message.rstrip(".") + stop + (f" See: {where.command_path} --help" if where is not None else "")
