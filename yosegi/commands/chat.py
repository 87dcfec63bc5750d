"""`yosegi chat`: a conversation in the terminal."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._config import check
from yosegi.commands._flags import flags
from yosegi.commands._options import BASES, ALibrary, begin
from yosegi.errors import Invalid, YosegiError

EXAMPLE = "yosegi chat --base smollm2 --library experts --arm arrow"
HELP = """/arm NAME    another arm answers from here on, such as /arm arrow{top_k=2} or /arm a*.7+b*.3
/arms        the experts and kept arms of the library
/system TEXT a system message, for a new conversation
/new         forget the conversation
/quit        end (so does Ctrl-D); Ctrl-C stops an answer"""


@flags("engine/settings.py", "AskSettings", panel="Answers")
def chat(
    base: Annotated[str, typer.Option("--base", help=BASES)] = "smollm2",
    library: ALibrary = None,
    arm: Annotated[str, typer.Option(help="The arm that answers first.")] = "base",
    **options: Any,
) -> None:
    """Talk with a base, an expert, a router or a merge; /arm NAME switches in the middle, /help lists what else there is."""
    begin()
    from yosegi.bases import load
    from yosegi.engine.conversation import Conversation
    from yosegi.engine.engine import Engine
    from yosegi.engine.kept import arms
    from yosegi.engine.settings import AskSettings
    from yosegi.engine.spec import parse_arm
    from yosegi.library.store import Library

    settings: AskSettings = check(AskSettings, options)
    folder = library or Path("library")
    known = Library(folder) if library or folder.is_dir() else None
    engine = Engine(load(base, **settings.loading))
    talk = Conversation(engine, parse_arm(arm, known), settings.system, seed=settings.seed, **settings.answering)
    print(f"{base}, {talk.arm.name} answers. /help lists the commands.")
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        word, _, rest = line.partition(" ")
        try:
            if word == "/quit":
                return
            if word == "/help":
                print(HELP)
            elif word == "/arms":
                print(", ".join(["base", *(known or []), *(arms(known) if known else [])]))
            elif word == "/arm":
                talk.arm = parse_arm(rest or "base", known)
                print(f"{talk.arm.name} answers from here on.")
            elif word in ("/new", "/system"):
                talk.begin(rest if word == "/system" else talk.system)
            elif word.startswith("/"):
                raise Invalid(f"There is no command {word}; /help lists them.")
            elif line:
                _answer(talk.say(line))
        except YosegiError as error:
            print(error)


def _answer(pieces: Any) -> None:
    """Print an answer as it is written; Ctrl-C stops it, and what is there of it stays in the conversation."""
    try:
        for piece in pieces:
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        pieces.close()
        print(" …", end="")
    print()
