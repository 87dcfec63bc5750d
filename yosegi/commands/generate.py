"""`yosegi generate`: prompts in, answers out, by one arm or by several side by side."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import BASES, ALibrary, Json, begin, say
from yosegi.errors import Invalid, NoData

EXAMPLE = "yosegi generate --base smollm2 'What is the capital of France?' --arm base --arm 'arrow{top_k=2}'"
ARM = "An arm: base, an expert, arrow{top_k=2}(a,b), merge:ties(a,b), a*.7+b*.3, a kept name. May be repeated \\[base]."
FILE = "Prompts: a .txt with one per line, or a .jsonl with `prompt` or `messages` in each row; - for stdin."


def generate(
    prompts: Annotated[list[str] | None, typer.Argument(help="Prompts; without any, stdin is read.")] = None,
    base: Annotated[str, typer.Option("--base", help=BASES)] = "nano",
    library: ALibrary = None,
    arm: Annotated[list[str] | None, typer.Option(help=ARM)] = None,
    file: Annotated[Path | None, typer.Option(help=FILE)] = None,
    system: Annotated[str | None, typer.Option(help="A system message before every prompt.")] = None,
    task: Annotated[str, typer.Option(help="The task of the prompts, for routers that need it (oracle).")] = "",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest answer, in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token; 1 samples the model.")] = 0,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="Sample from the likeliest tokens of this mass.")] = 1,
    top_k: Annotated[int, typer.Option(min=0, help="Sample from this many likeliest tokens; 0 for all.")] = 0,
    n: Annotated[int, typer.Option("--n", min=1, help="Answers to each prompt.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="A text that ends an answer. May be repeated.")] = None,
    chat_template: Annotated[str, typer.Option(help="auto (that of the base), none, or a file.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, fp32 or bf16: precision of the base's weights.")] = "auto",
    as_json: Json = False,
) -> None:
    """Let one arm or several answer prompts, all of them in one batch; a single answer is shown while it is written.

    In Python: Engine(load_base("smollm2")).generate(arm, prompts)
    """
    begin(as_json=as_json)
    if n > 1 and not temperature:
        raise Invalid(f"{n} answers at temperature 0 are {n} times the same: --temperature 1 samples.")
    from yosegi.bases import load
    from yosegi.engine.engine import Engine
    from yosegi.engine.prompts import read_prompts
    from yosegi.engine.spec import parse_arms
    from yosegi.library.store import Library

    asked = read_prompts(prompts or [], file, system)
    if not asked:
        raise NoData("There is no prompt: give one, or a --file.")
    folder = library or Path("library")
    arms = parse_arms(arm or ["base"], Library(folder) if library or folder.is_dir() else None)
    engine = Engine(load(base, dtype=dtype, chat_template=chat_template))
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "top_k": top_k, "seed": seed, "n": n,
        "stop": stop or [], "task": task,
    }  # fmt: skip
    if len(asked) == len(arms) == n == 1 and not as_json:
        options.pop("n")
        for piece in engine.stream(arms[0], asked[0], **options):
            print(piece, end="", flush=True)
        print()
        return
    pairs = [(prompt, one) for prompt in asked for one in arms]
    answers = engine.generate([one for _, one in pairs], [prompt for prompt, _ in pairs], **options)
    rows = [
        {"prompt": prompt, "arm": one.name, "text": answer.text, "truncated": answer.truncated}
        for (prompt, one), place in zip(pairs, range(0, len(answers), n), strict=True)
        for answer in answers[place : place + n]
    ]
    say(rows, as_json, "\n\n".join(_shown(row, len(arms) > 1, len(asked) > 1) for row in rows))
    if cut := sum(row["truncated"] for row in rows):
        print(f"{cut} of {len(rows)} answers end at --max-new-tokens {max_new_tokens}.", file=sys.stderr)


def _shown(row: dict[str, Any], with_arm: bool, with_prompt: bool) -> str:
    """The answer under its prompt and its arm, where there are several."""
    prompt = row["prompt"] if isinstance(row["prompt"], str) else row["prompt"][-1]["content"]
    heads = [f"> {prompt}"] * with_prompt + [f"[{row['arm']}]"] * with_arm
    return "\n".join([*heads, row["text"]])
