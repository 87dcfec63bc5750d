"""`yosegi doctor`: what works on this machine, what a training would take, here or elsewhere; and bases fetched beforehand."""

import importlib.util
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._config import check
from yosegi.commands._flags import flags
from yosegi.commands._options import Json, begin, say, table

EXTRAS = {
    "serve": ("fastapi", "uvicorn", "prometheus_client"),
    "eval": ("lm_eval",),
    "track": ("tensorboard",),
    "quant": ("bitsandbytes",),
}

FETCH = "Fetch a base into the cache beforehand, such as smollm2 or a Hub id, and end."
MODEL = "a base by name, folder, file or Hub id; a published size (60m to 70b); or hidden=…,inner=…,layers=…,heads=…,vocab=…"
EXAMPLE = "yosegi doctor --plan --base 7b --method galore --gpu a6000"


@flags("estimate/predict.py", "EstimateSettings", panel="With --plan")
def doctor(
    plan: Annotated[bool, typer.Option("--plan", help="Predict the memory and time of a training instead.")] = False,
    show_table: Annotated[bool, typer.Option("--table", help="With --plan: five methods, 60 M to 70 B.")] = False,
    base: Annotated[str, typer.Option("--base", help=MODEL)] = "nano",
    fetch: Annotated[str | None, typer.Option("--fetch", help=FETCH)] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Print what works on this machine: hardware, versions, bases, data, extras. With --plan: what a training would take."""
    begin(None, as_json)
    if fetch is not None:
        from yosegi import bases

        folder = bases.fetched(bases.locate(fetch, fetch=True))
        say({"base": fetch, "folder": str(folder)}, as_json, f"{fetch}: {folder}")
        return
    if show_table or plan:
        from yosegi.commands import _plan
        from yosegi.estimate.predict import EstimateSettings, predict

        settings = check(EstimateSettings, options)
        if show_table:
            _plan.print_table(as_json, settings.batch_size, settings.max_length, settings.activation_checkpointing)
            return
        prediction = predict(_plan.shape_of(base), settings)
        say(prediction, True) if as_json else _plan.print_plan(prediction)
        return
    report = environment_report()
    if as_json:
        say(report, True)
    else:
        table("", ["", ""], [[name, str(value)] for name, value in report.items()])


def environment_report() -> dict[str, Any]:
    """Returns what is here, by name: hardware, versions, bases, the sandbox, data and extras."""
    import torch

    from yosegi import registry
    from yosegi.bases import cpu_has_bf16, locate
    from yosegi.engine.generate import loop_of
    from yosegi.errors import YosegiError
    from yosegi.run import environment
    from yosegi.sandbox import Job, run
    from yosegi.tasks.readers import data

    known, data = environment(), data.folder()
    bases = {}
    for name in registry.names("bases"):
        try:
            place = locate(name, fetch=False)
            bases[name] = f"{place} ({loop_of(place)})"
        except (YosegiError, OSError, ValueError) as error:
            bases[name] = f"not here: {error}"
    try:
        run([Job("")])
        programs = "run behind a list of system calls (humaneval, mbpp, gsm_hard and others)"
    except YosegiError as error:
        programs = str(error)
    report = {
        "device": known["device"],
        "cpus": known["cpus"],
        "threads": known["threads"],
        "bf16": "GPU" if torch.cuda.is_available() else "CPU" if cpu_has_bf16() else "slow",
        "disk free": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GB",
        **{f"version of {name}": version or "missing" for name, version in known["versions"].items()},
        **{f"base {name}": place for name, place in bases.items()},
        "programs of models": programs,
        "data": str(data.resolve()) if data else "none: set YOSEGI_DATA or use --data; the Hub is asked otherwise",
    }
    for extra, modules in EXTRAS.items():
        missing = [m for m in modules if importlib.util.find_spec(m) is None]
        report[f"extra [{extra}]"] = f"pip install 'yosegi-lora[{extra}]'" if missing else "installed"
    return report
