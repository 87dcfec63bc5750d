"""`yosegi train`: experts into a library, one or a fleet, built one of seven ways."""

import shlex
import time
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

EXAMPLE = "yosegi train --task skills/reverse --task skills/sort --learning-rate 5e-3 --max-steps 100"
TASK = "A task to learn from, as `yosegi ls tasks` names it, or file/PATH. May be repeated."
METHOD = """lora, pissa or olora; galore, apollo or full train whole weights and cut the change to --rank. With arguments:
'galore{update_gap=50}'. \\[lora]"""
BUILD = """private (an expert per task), shared, mbc, random, poly, mhr or loramoe. With arguments: 'mbc{clusters=10}'. See
docs/how-to/library.md. \\[private]"""
Words = list[str] | None


@flags("training/settings.py", "Settings", panel="Training")
def train(
    task: Annotated[Words, typer.Option(help=TASK)] = None,
    data_file: DataFile = None,
    columns: Columns = None,
    base: ABase = None,
    library: ALibrary = None,
    method: Annotated[str | None, typer.Option(help=METHOD)] = None,
    build: Annotated[str | None, typer.Option(help=BUILD)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the expert or the bank; by default the task's.")] = None,
    eval_task: Annotated[
        Words,
        typer.Option(help="A task on whose validation split the loss is measured while training. May be repeated."),
    ] = None,
    eval_steps: Annotated[
        int | None, typer.Option(help="Steps from one such measurement to the next. \\[50]", min=1)
    ] = None,
    config: Config = None,
    overwrite: Overwrite = False,
    resume: Resume = True,
    run: RunDir = None,
    report_to: ReportTo = None,
    data: Data = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Train experts into a library, all in one pass over the base. Killed, the same command goes on run_folder it was.

    `yosegi show train` lists every setting. The run writes run.yaml: --config with it trains the same again.
    """
    words = {"task": task, "base": base, "library": library, "method": method, "build": build, "name": name, "run": run}
    words |= {"eval_task": eval_task, "eval_steps": eval_steps, "data": data, "overwrite": overwrite or None}
    words |= {"data_file": data_file, "columns": columns}
    options: dict[str, Any] = {"task": []} | read_config(
        config, {**words, "report_to": report_to or None, "resume": resume and None, **settings}
    )
    begin(options.pop("data", None), as_json)

    from yosegi.trackers import report_to as reporting

    with reporting(options.pop("report_to", [])):
        from yosegi.training.train import train as into_library

        started = time.time()
        experts = into_library(**options)
    if not first_process():
        return
    folder, run_folder = Path(options.get("library", "library")), options.get("run")
    rows = [{"name": e.name, "task": e.card["task"], "rank": e.card["rank"], **e.card["metrics"]} for e in experts]
    if not as_json:
        path = Path(run_folder or Path("runs") / f"train-{folder.name}")
        for row, expert in zip(rows, experts, strict=True):
            old = (folder / row["name"] / "expert.json").stat().st_mtime < started
            made = f"already trained, {expert.card['created']}; --overwrite trains it anew" if old else _line(row, path)
            print(f"{row['name']}: {made}")
            if (weights := path / "weights" / row["name"]).exists():
                print(f"  its weights, uncut: yosegi eval --arm 'base{{base_delta={weights}}}'")
        print(f"{len(rows)} expert{'s' * (len(rows) != 1)} in {folder}, {rows[0].get('wall_s', 0):.0f} s")
    tasks = " ".join(f"--task {shlex.quote(task)}" for task in dict.fromkeys(task for e in experts for task in e.tasks))
    base = f" --base {options['base']}" if options.get("base") else ""
    say(rows, as_json, f"Next: yosegi eval{base} --library {folder} --arm experts --arm arrow {tasks}")


def _line(row: dict[str, Any], run: Path) -> str:
    """What one expert has become."""
    steps, parts = row.get("steps"), [f"rank {row['rank']}"]
    parts += [f"{row['energy_kept']:.1%} of the change"] if "energy_kept" in row else []
    parts += [f"{len(row['task'])} tasks"] if len(row["task"]) > 1 else []
    if "documents" in row:
        parts.append(f"{row['documents']:,} documents ({row['characters']:,} characters) in {row['rows']:,} rows")
    return ", ".join([*parts, f"{steps} step{'s' * (steps != 1)}{_losses(run, row['name'])}"])


def _losses(run: Path, expert: str) -> str:
    """From run_folder to run_folder the loss went; nothing run_folder this run has not trained it."""
    from yosegi.files import read_jsonl

    path = run / "metrics.jsonl"
    rows = [row for row in read_jsonl(path) if row.get("expert") == expert and "loss" in row] if path.exists() else []
    rows = rows[max((n for n, row in enumerate(rows) if row.get("step") == 1), default=0) :]  # the last training
    last = rows[-max(1, len(rows) // 10) :]
    return f", loss {rows[0]['loss']:.3g} to {sum(row['loss'] for row in last) / len(last):.3g}" if rows else ""
