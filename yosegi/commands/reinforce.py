"""`yosegi reinforce`: experts go on learning by reward (GRPO), all of them in one pass."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._config import read_config
from yosegi.commands._flags import flags
from yosegi.commands._options import (
    ABase,
    ALibrary,
    Columns,
    Config,
    Data,
    DataFile,
    Json,
    Overwrite,
    ReportTo,
    Resume,
    RunDir,
    begin,
    first_process,
    say,
)
from yosegi.errors import Invalid

EXAMPLE = "yosegi reinforce --task skills/chain --expert chain --reward correct --reward soft_format=0.5"
REWARD = "What an answer is worth (`yosegi ls rewards`), with its weight: correct, soft_format=0.5. May be repeated."
LABELS = "The folder of `yosegi label`: only questions of --system are asked."
Words = list[str] | None


@flags("training/settings.py", "GrpoSettings", panel="Training")
def reinforce(
    task: Annotated[Words, typer.Option(help="A task whose training questions are asked. May be repeated.")] = None,
    data_file: DataFile = None,
    columns: Columns = None,
    expert: Annotated[Words, typer.Option(help="Where it begins. May be repeated; all: every one.")] = None,
    base: ABase = None,
    library: ALibrary = None,
    reward: Annotated[Words, typer.Option(help=REWARD)] = None,
    suffix: Annotated[
        str | None, typer.Option(help="The new expert is called as the old one with this behind it. \\[-rl]")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help=LABELS)] = None,
    system: Annotated[str | None, typer.Option(help="Whose questions are asked, with --labels. \\[system2]")] = None,
    config: Config = None,
    overwrite: Overwrite = False,
    resume: Resume = True,
    run: RunDir = None,
    report_to: ReportTo = None,
    data: Data = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Experts answer questions and learn from which of their answers were better. Killed, the same command goes on.

    `yosegi show reinforce` lists every setting. The run writes run.yaml: --config with it trains the same again.
    """
    words = {"task": task, "expert": expert, "base": base, "library": library, "suffix": suffix, "labels": labels}
    words |= {"system": system, "run": run, "data": data, "overwrite": overwrite or None, "resume": resume and None}
    words |= {"data_file": data_file, "columns": columns, "report_to": report_to or None, **settings}
    words |= {"rewards": _weights(reward)} if reward else {}
    options = read_config(config, words)
    begin(options.pop("data", None), as_json)
    for needed in ("task", "expert"):
        if not options.get(needed):
            raise Invalid(f"--{needed} is missing.")

    from yosegi.trackers import report_to as reporting

    with reporting(options.pop("report_to", [])):
        from yosegi.training.reinforce import reinforce as go_on

        experts = go_on(**options)
    if first_process():
        rows = [{"name": e.name, "parents": e.card["parents"], **e.card["metrics"]} for e in experts]
        if not as_json:
            for row in rows:
                print(f"{row['name']}: {row['steps']} steps on {row['examples']} questions")
        folder = options.get("run") or f"runs/reinforce-{Path(options.get('library', 'library')).name}"
        say(rows, as_json, f"The curves: yosegi report {folder}")


def _weights(given: list[str]) -> dict[str, float]:
    """correct, or soft_format=0.5."""
    rewards = {}
    for text in given:
        name, _, weight = text.partition("=")
        try:
            rewards[name] = float(weight or 1)
        except ValueError as error:
            raise Invalid(f"--reward {text!r}: the form is NAME or NAME=WEIGHT.") from error
    return rewards
