"""`yosegi generate`: prompts in, answers out, by one arm or by several side by side."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._config import check
from yosegi.commands._flags import flags
from yosegi.commands._options import ABase, ALibrary, Json, begin, say
from yosegi.errors import Invalid, NoData

EXAMPLE = "yosegi generate --base smollm2 'What is the capital of France?' --arm base --arm 'arrow{top_k=2}'"
ARM = "An arm: base, an expert, arrow{top_k=2}(a,b), merge:ties(a,b), a*.7+b*.3, a kept name. May be repeated \\[base]."
FILE = "Prompts: a .txt with one per line, or rows with `prompt` or `messages`; - for the lines of stdin."


@flags("engine/settings.py", "AskSettings", panel="Answers")
def generate(
    prompts: Annotated[list[str] | None, typer.Argument(help="Prompts; without any, stdin is one.")] = None,
    base: ABase = None,
    library: ALibrary = None,
    arm: Annotated[list[str] | None, typer.Option(help=ARM)] = None,
    file: Annotated[Path | None, typer.Option(help=FILE)] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Answers to each prompt.")] = 1,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Let one arm or several answer prompts, all of them in one batch; a single answer is shown while it is written.

    In Python: Engine(load_base("smollm2")).generate(arm, prompts)
    """
    begin(as_json=as_json)
    from yosegi.bases import load
    from yosegi.engine.engine import Engine
    from yosegi.engine.prompts import read_prompts
    from yosegi.engine.settings import AskSettings
    from yosegi.engine.spec import parse_arms
    from yosegi.library.store import Library

    settings: AskSettings = check(AskSettings, options)
    if n > 1 and not settings.temperature:
        raise Invalid(f"{n} answers at temperature 0 are {n} times the same: --temperature 1 samples.")
    asked = read_prompts(prompts or [], file, settings.system)
    if not asked:
        raise NoData("There is no prompt: give one, or a --file.")
    folder = library or Path("library")
    arms = parse_arms(arm or ["base"], Library(folder) if library or folder.is_dir() else None)
    engine = Engine(load(base or "nano", **settings.loading))
    if len(asked) == len(arms) == n == 1 and not as_json:
        for piece in engine.stream(arms[0], asked[0], seed=settings.seed, **settings.answering):
            print(piece, end="", flush=True)
        print()
        return
    pairs = [(prompt, one) for prompt in asked for one in arms]
    answers = engine.generate(
        [one for _, one in pairs], [prompt for prompt, _ in pairs], seed=settings.seed, n=n, **settings.answering
    )
    rows = [
        {"prompt": prompt, "arm": one.name, "text": answer.text, "truncated": answer.truncated}
        for (prompt, one), place in zip(pairs, range(0, len(answers), n), strict=True)
        for answer in answers[place : place + n]
    ]
    say(rows, as_json, "\n\n".join(_shown(row, len(arms) > 1, len(asked) > 1) for row in rows))
    if cut := sum(row["truncated"] for row in rows):
        print(f"{cut} of {len(rows)} answers end at --max-new-tokens {settings.max_new_tokens}.", file=sys.stderr)


def _shown(row: dict[str, Any], with_arm: bool, with_prompt: bool) -> str:
    """The answer under its prompt and its arm, where there are several."""
    prompt = row["prompt"] if isinstance(row["prompt"], str) else row["prompt"][-1]["content"]
    heads = [f"> {prompt}"] * with_prompt + [f"[{row['arm']}]"] * with_arm
    return "\n".join([*heads, row["text"]])
