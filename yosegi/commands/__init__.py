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
from yosegi.errors import YosegiError, printable

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
    except Exception as error:
        if hasattr(error, "format_message"):  # one of the parser's own
            _stop(_usage(error))
        if (what := _of_the_system(error)) is None:
            raise
        _stop(printable(what))
    sys.exit(code if isinstance(code, int) else 0)


def _of_the_system(error: Exception) -> str | None:
    """Returns in one line what the system refused, whichever library says it; None for an error of the program."""
    text = str(error)
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(
        words in text for words in ("No space left", "disk is full", "os error 28", "Disk quota exceeded")
    ):
        return (
            f"The disk is full ({getattr(error, 'filename', None) or 'while writing'}). Nothing half-written was kept."
        )
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return f"Memory ran out ({text[:200] or 'while computing'}). `yosegi doctor --plan train` says what a training takes."
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}: {error.filename or 'a file or an address'}."
    if type(error).__name__ == "SafetensorError":
        return f"A safetensors file cannot be read or written: {text[:200]}."
    return None


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
