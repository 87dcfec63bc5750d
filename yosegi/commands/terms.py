"""`yosegi terms build CORPUS…`: a quiz about a corpus, drafted from its definitions or by a teacher, for a person to check."""

from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import Data, Json, begin, say, table

app = typer.Typer(help="Quizzes about the terms of a corpus: build.", no_args_is_help=True)


@app.callback()
def _verbs() -> None:
    """Quizzes about the terms of a corpus."""


@app.command("build", epilog="Example: yosegi terms build corpus/ja_railway_law --out terms.jsonl")
def build(
    corpus: Annotated[
        list[str], typer.Argument(help="A corpus as `corpus/NAME` has it, a .jsonl with texts, or a .txt.")
    ],
    out: Annotated[Path, typer.Option(help="The quiz; then --task terms/OUT and terms/OUT/rank.")] = Path(
        "terms.jsonl"
    ),
    choices: Annotated[int, typer.Option(help="Candidates of each question.", min=2, max=10)] = 8,
    shots: Annotated[int, typer.Option(help="Examples shown before each question.", min=0)] = 3,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file, and what was checked in it.")
    ] = False,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Drafts questions about passages: http://host:port/v1#model, local/BASE, local{base=B,library=DIR,arm=ARM}."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Passages that the teacher reads at most.", min=1)] = 100,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Find definition sentences and draft one question each. Check them: a draft says `checked: false`, and results say so.

    With a --teacher, texts without definitions give questions as well. Killed, the same command asks it nothing twice.
    """
    begin(data, as_json)
    from yosegi.curate.quiz import draft_quiz

    options = {"choices": choices, "shots": shots, "overwrite": overwrite, "teacher": teacher, "limit": limit}
    quiz = draft_quiz(corpus, out, **options)
    terms, drafts, questions = quiz["terms"], quiz["drafts"], quiz["questions"]
    if as_json:
        say(quiz | {"terms": [term.word for term in terms]}, True)
        return
    if teacher:
        dropped = "".join(f", {count} dropped: {why}" for why, count in quiz["dropped"].items())
        print(f"Looked at {quiz['read']} of {quiz['passages']} passages: {quiz['drafted']} drafts{dropped}.")
    table("", ["term", "its sentence"], [[term.word, _short(term.sentence)] for term in terms[:10]])
    print(
        f"\n{drafts} drafts ({questions} questions, {drafts - questions} examples) in {out}. Nobody has checked them yet:"
    )
    print("read each beside its evidence, correct it or delete its line, and set checked to true.")
    print(f"Then: yosegi eval --task terms/{out} --task terms/{out}/rank")


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
