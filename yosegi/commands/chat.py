"""`yosegi chat`: a conversation in the terminal."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import BASES, ALibrary, begin
from yosegi.errors import Invalid, YosegiError

EXAMPLE = "yosegi chat --base smollm2 --library experts --arm arrow"
HELP = """/arm NAME    another arm answers from here on, such as /arm arrow{top_k=2} or /arm a*.7+b*.3
/arms        the experts and kept arms of the library
/system TEXT a system message, for a new conversation
/new         forget the conversation
/quit        end (so does Ctrl-D); Ctrl-C stops an answer"""


def chat(
    base: Annotated[str, typer.Option("--base", help=BASES)] = "smollm2",
    library: ALibrary = None,
    arm: Annotated[str, typer.Option(help="The arm that answers first.")] = "base",
    system: Annotated[str, typer.Option(help="A system message.")] = "",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest answer, in tokens.")] = 512,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token; 1 samples the model.")] = 0,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="Sample from the likeliest tokens of this mass.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    dtype: Annotated[str, typer.Option(help="auto, fp32 or bf16: precision of the base's weights.")] = "auto",
) -> None:
    """Talk with a base, an expert, a router or a merge; /arm NAME switches in the middle, /help lists what else there is."""
    begin()
    from yosegi.bases import load
    from yosegi.engine.conversation import Conversation
    from yosegi.engine.engine import Engine
    from yosegi.engine.kept import arms
    from yosegi.engine.spec import parse_arm
    from yosegi.library.store import Library

    folder = library or Path("library")
    known = Library(folder) if library or folder.is_dir() else None
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p}
    talk = Conversation(Engine(load(base, dtype=dtype)), parse_arm(arm, known), system, seed=seed, **options)
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
