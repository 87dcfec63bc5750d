"""`yosegi eval`: arms x tasks -> a leaderboard."""

import sys
from typing import Annotated, Any

import typer

from yosegi.commands._config import check, read_config
from yosegi.commands._flags import flags
from yosegi.commands._options import Columns, Config, Data, DataFile, Json, RunDir, begin, say

EXAMPLE = "yosegi eval --library library --task gsm8k --arm experts --arm 'arrow{top_k=2}' --arm 'a*.7+b*.3'"


@flags("evaluation/arms.py", "EvalSettings", panel="Evaluation")
def eval_(
    base: Annotated[
        list[str] | None,
        typer.Option(
            "--base",
            help="nano (the default), smollm2, a folder, a GGUF file, a Hub id; may be repeated.",
        ),
    ] = None,
    data_file: DataFile = None,
    columns: Columns = None,
    config: Config = None,
    run: RunDir = None,
    data: Data = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Compare ways to answer on tasks, item by item: the base, experts, routers, merges; or several bases with each other.

    Interrupted, it goes on. Of several bases one is in memory at a time; one that fails is said, the others go on, and the exit
    code is 1.
    """
    begin(data, as_json)
    from yosegi.evaluation.arms import EvalSettings, evaluate_arms
    from yosegi.reporting.forgetting import print_forgetting
    from yosegi.reporting.terminal import leaderboard

    options |= {"base": base or None, "data_file": data_file, "columns": columns}
    settings = check(EvalSettings, read_config(config, options))
    result = evaluate_arms(settings, run, tell=lambda line: print(line, file=sys.stderr))
    if as_json:
        say(result.rows, True)
    elif result.rows:
        several = bool(result.words)
        rows = [row for row in result.rows if not several or row["metric"] != "logp"]  # tokens differ by base
        leaderboard(rows, None if several else result.run.path)
        if settings.forgetting:
            print_forgetting(result.run.path)
        for words in result.words:
            print(f"\n{words}")
        print(f"\nItems and rows: {result.run.path}   A page of it: yosegi report {result.run.path}")
    if result.failed:
        count = len(result.failed) + len({row["model"] for row in result.rows})
        print(f"{len(result.failed)} of {count} bases were not measured.", file=sys.stderr)
        raise typer.Exit(1)
