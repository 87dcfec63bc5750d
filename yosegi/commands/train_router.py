"""`yosegi train-router`: a router learns beside the experts of a library, and is kept there."""

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

EXAMPLE = "yosegi train-router --arm 'static{constraint=free}(maths,code)' --task gsm8k --task mbpp --name soup"
ARM = """A router that learns, with its arguments and experts: static{constraint=free}(a,b) (CAT), softmax, centroid, phatgoose,
predictor, … (`yosegi ls routers`); or a bank of Poly or MHR, whose table takes up new tasks while its experts stay."""
EXPERTS = "Experts of an arm that names none, as in a,b; by default all that were not made of others here."
Words = list[str] | None


@flags("training/settings.py", "RouterSettings", panel="Training")
def train_router(
    arm: Annotated[str | None, typer.Option(help=ARM)] = None,
    task: Annotated[Words, typer.Option(help="What it learns from; by default the tasks of the experts.")] = None,
    data_file: DataFile = None,
    columns: Columns = None,
    library: ALibrary = None,
    base: ABase = None,
    experts: Annotated[Words, typer.Option(help=EXPERTS)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the kept arm \\[ROUTER-router].")] = None,
    config: Config = None,
    overwrite: Overwrite = False,
    resume: Resume = True,
    run: RunDir = None,
    report_to: ReportTo = None,
    data: Data = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Let a router learn from examples of the experts' tasks, and keep it in the library: `eval --arm NAME` uses it.

    The run writes run.yaml: --config with it trains the same again.
    """
    words = {"arm": arm, "task": task, "library": library, "base": base, "experts": experts, "name": name, "data": data}
    words |= {
        "run": run,
        "overwrite": overwrite or None,
        "resume": resume and None,
        "report_to": report_to or None,
        "data_file": data_file,
        "columns": columns,
        **settings,
    }
    options = read_config(config, words)
    begin(options.pop("data", None), as_json)
    if not options.get("arm"):
        raise Invalid("Name the router that is to learn (--arm), as in static(a,b).")

    from yosegi.trackers import report_to as reporting

    with reporting(options.pop("report_to", [])):
        from yosegi.training.train_router import train_router as train

        made = train(**options)
    if not first_process():
        return
    size, folder = sum(value.numel() for value in made.router_state.values()), options.get("library", "library")
    row = {"name": made.name, "router": made.router, "experts": [expert.name for expert in made.experts]}
    row |= {"tasks": list(made.tasks), "trainable_params": size}
    row |= {key: value for key, value in made.training.items() if key == "moved"}
    text = f"{made.name}: trained for {len(made.experts)} experts on {len(made.tasks)} tasks, {size:,} trainable parameters"
    text += f"; on average they moved by {row['moved']:.3g}" if "moved" in row else ""
    say(row, as_json, f"{text}\nUse it: yosegi eval --library {folder} --arm {made.name} --task …")
