"""The command line: one verb a file. Machines are imported inside the verbs, so that `--help` is instant.

Every verb keeps the same manners: bad input is one line on stderr and exit code 2; Ctrl-C says how to go on (130).
"""

import errno
import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer

import yosegi
from yosegi.commands._options import one_line
from yosegi.commands._verbs import ByWorkflow, verbs
from yosegi.errors import YosegiError

HELP = "Train many small LoRA experts, keep them in a library, let them answer together, and know whether it worked."


def app() -> typer.Typer:
    """Returns the command line: the verbs of this folder."""
    options: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": "rich"}
    every = verbs(__path__, __name__, panels=True, help=HELP, cls=ByWorkflow, **options)

    @every.callback()
    def about(
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version, and end.")
        ] = False,
    ) -> None:
        pass

    return every


def main() -> None:
    """Runs one command line and exits."""
    warnings.formatwarning = one_line
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
    context = getattr(error, "ctx", None)
    stop = "" if message.endswith("?") else "."
    return message.rstrip(".") + stop + (f" See: {context.command_path} --help" if context is not None else "")
