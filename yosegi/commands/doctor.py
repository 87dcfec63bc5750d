"""`yosegi doctor`: what works on this machine, and what a training would take, here or elsewhere."""

import importlib.util
import shutil
from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import DType, In4Bit, Json, begin, say, table

EXTRAS = {
    "serve": ("fastapi", "uvicorn"),
    "eval": ("lm_eval",),
    "scale": ("ray",),
    "ja": ("fugashi",),
    "track": ("trackio", "tensorboard"),
    "gguf": ("gguf",),
    "quant": ("bitsandbytes",),
}


METHODS = "full, lora, galore, galore-per-layer, apollo, loramoe, fleet, grpo."
MODEL = "nano, a folder, a Hub id, a published size (60m to 70b), or hidden=…,inner=…,layers=…,heads=…,vocab=…"


def doctor(
    plan: Annotated[bool, typer.Option("--plan", help="Predict the memory and time of a training instead.")] = False,
    show_table: Annotated[bool, typer.Option("--table", help="With --plan: five methods, 60 M to 70 B.")] = False,
    base: Annotated[str, typer.Option("--base", "--model_name_or_path", help=MODEL)] = "nano",
    method: Annotated[str, typer.Option(help=METHODS)] = "lora",
    experts: Annotated[int | None, typer.Option(help="Of a LoRAMoE layer (6), or of a fleet (1).", min=1)] = None,
    rank: Annotated[
        int | None,
        typer.Option(help="Of an expert (8; LoRAMoE 4), or of the projection (GaLore 128, APOLLO 16).", min=1),
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="all-linear, attention, ffn (LoRAMoE's own), or names with commas.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Sequences of a step, of each expert and GPU.", min=1)] = 16,
    max_length: Annotated[int, typer.Option(help="Tokens of a sequence.", min=2)] = 1024,
    answers: Annotated[float, typer.Option(help="Share of the tokens that are learnt, and need logits.")] = 1.0,
    dtype: DType = None,
    load_in_4bit: In4Bit = False,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16: what is computed in.")] = "auto",
    activation_checkpointing: Annotated[
        bool, typer.Option("--activation-checkpointing", help="As train has it.")
    ] = False,
    dropout: Annotated[float, typer.Option(help="On what an expert reads.", min=0, max=0.99)] = 0.05,
    gpu: Annotated[str | None, typer.Option(help="a6000, h100 …, or 48GB; by default this machine.")] = None,
    gpus: Annotated[int, typer.Option(help="How many of them, each with all of the model.")] = 1,
    tflops: Annotated[float | None, typer.Option(help="Of dense GEMMs, where you know better.")] = None,
    bandwidth: Annotated[float | None, typer.Option(help="GB/s of its memory, likewise.")] = None,
    tokens: Annotated[float | None, typer.Option(help="Of the whole training.", min=1)] = None,
    max_steps: Annotated[int | None, typer.Option(help="Of the whole training, instead of tokens.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """What works on this machine: hardware, versions, bases, data, extras. With --plan: what a training would take."""
    begin(None, as_json)
    if show_table or plan:
        from yosegi.commands import _plan
        from yosegi.errors import Invalid

        if tokens and max_steps:
            raise Invalid("--tokens and --max-steps both say how long the training is: give one of them.")
        if show_table:
            _plan.print_table(as_json, batch_size, max_length, activation_checkpointing)
            return
        _plan.plan(
            base, gpu, gpus, tflops, bandwidth, tokens, max_steps, precision, as_json,
            method=method, experts=experts, rank=rank, targets=targets, batch=batch_size, length=max_length, answers=answers,
            dtype="4bit" if load_in_4bit else dtype or "fp32", checkpointing=activation_checkpointing, dropout=dropout,
        )  # fmt: skip
        return
    import torch

    from yosegi import registry
    from yosegi.bases import locate
    from yosegi.errors import YosegiError
    from yosegi.run import environment
    from yosegi.sandbox import Job, run
    from yosegi.tasks.readers import data

    known, data = environment(), data.folder()
    bases = {}
    for name in registry.names("bases"):
        try:
            bases[name] = str(locate(name))
        except YosegiError as error:
            bases[name] = f"not here: {error}"
    try:
        run([Job("")])
        programs = "run behind a list of system calls (gsm_hard, mbpp, thealgorithms)"
    except YosegiError as error:
        programs = str(error)
    found = {
        "device": known["device"],
        "cpus": known["cpus"],
        "threads": known["threads"],
        "bf16": "GPU" if torch.cuda.is_available() else "AMX" if torch.cpu._is_amx_tile_supported() else "slow",
        "disk free": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GB",
        **{f"version of {name}": version or "missing" for name, version in known["versions"].items()},
        **{f"base {name}": place for name, place in bases.items()},
        "programs of models": programs,
        "data": str(data.resolve()) if data else "none: set YOSEGI_DATA or use --data; the Hub is asked otherwise",
    }
    for extra, modules in EXTRAS.items():
        missing = [m for m in modules if importlib.util.find_spec(m) is None]
        found[f"extra [{extra}]"] = f"pip install 'yosegi[{extra}]'" if missing else "installed"
    if as_json:
        say(found, True)
    else:
        table("", ["", ""], [[name, str(value)] for name, value in found.items()])
