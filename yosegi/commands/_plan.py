"""What `yosegi doctor --plan` says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from yosegi.commands._options import say, table
from yosegi.errors import Invalid

GB = 2**30
DEFAULTS: dict[str, dict[str, Any]] = {
    "loramoe": {"experts": 6, "rank": 4, "targets": "ffn"},
    "galore": {"rank": 128},
    "galore-per-layer": {"rank": 128},
    "apollo": {"rank": 16},
}
"""What `yosegi train` takes unless it is told; tests hold it against the settings."""
WORDS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimiser state",
    "activations": "activations",
    "logits": "logits and the loss",
    "copies": "copies of a checkpoint",
    "cache": "keys and values",
    "peak": "at the worst moment",
}


def plan(
    model: str, gpu: str | None, gpus: int, tflops: float | None, bandwidth: float | None, tokens: float | None,
    steps: int | None, precision: str, as_json: bool, **fields: Any,
) -> None:  # fmt: skip
    """Predict, and print."""
    from yosegi.estimate import machines
    from yosegi.estimate.memory import Job
    from yosegi.estimate.verdict import judge

    if precision not in ("auto", "fp32", "bf16"):
        raise Invalid(f"--precision is auto, fp32 or bf16, not {precision!r}.")
    own = DEFAULTS.get(fields["method"], {})
    fields = {key: own.get(key, getattr(Job, key)) if value is None else value for key, value in fields.items()}
    if fields["method"] == "loramoe" and fields["experts"] < 2:
        raise Invalid("LoRAMoE has two experts at least.")
    if gpus < 1:
        raise Invalid("--gpus is at least 1.")
    shape = shape_of(model)
    if gpu is None:
        import torch

        cuda = torch.cuda.is_available()
        amx = shape.hidden >= 512 and torch.cpu._is_amx_tile_supported()
        bf16 = precision == "bf16" or (precision == "auto" and (cuda or amx))
        job = Job(**fields, bf16=bf16, device="cuda" if cuda else "cpu")
        machine = machines.here(bf16, width=min(shape.hidden, 2048), rows=min(1024, job.tokens))
        machine = replace(machine, count=gpus if cuda else 1)
    else:
        bf16 = precision != "fp32"
        job, machine = Job(**fields, bf16=bf16, device="cuda"), machines.published(gpu, bf16, gpus)
    machine = machines.given(machine, tflops, bandwidth)
    found = judge(shape, job, machine, tokens, steps)
    if as_json:
        say(found, True)
        return
    several = f"{machine.count} x " if machine.count > 1 else ""
    learnt = found["job"]["learnt"]
    print(
        f"{shape.name}: {shape.params:,} numbers, {shape.layers} blocks; {job.method} moves {learnt:,} of them or beside them"
    )
    print(f"{several}{machine.name}, {machine.memory / GB:.0f} GB{' each' if several else ''}")
    rows = [[WORDS[name], f"{value / GB:,.2f}"] for name, value in found["memory"].items() if value]
    rows.append(["needed with libraries and gaps", f"{found['needed'] / GB:,.2f}"])
    table("", [f"GB{' on each' if several else ''}", ""], rows)
    said = {"yes": "It fits.", "tight": "It is tight: activations are known within 15 %.", "no": "It does not fit."}
    more = f" It would with {' or '.join(found['instead'])}." if found["instead"] else ""
    print(said[found["fits"]] + more)
    if (pace := found["pace"]) is None:
        print("How fast it is cannot be said of a GPU without a name: give --tflops and --bandwidth.")
        return
    how = "measured here a moment ago" if machine.measured else "published rates"
    print(
        f"About {pace['tokens_per_s']:,.0f} tokens a second, a step of {job.tokens * machine.count:,} tokens in "
        f"{pace['step_s']:.3g} s ({how}; {pace['low']:,.0f} to {pace['high']:,.0f} would be no surprise)"
    )
    if hours := found["hours"]:
        print(f"All of it in {_span(hours['estimate'])} ({_span(hours['low'])} to {_span(hours['high'])})")


def print_table(as_json: bool, batch: int, length: int, checkpointing: bool) -> None:
    """The memory of four methods at seven sizes."""
    from yosegi.estimate.table import table as lines

    found = lines(batch, length, checkpointing)
    if as_json:
        say([line._asdict() for line in found], True)
        return
    rows = [
        [line.size, line.method, str(line.rank), *(f"{value:,.2f}" for value in line[3:7]),
         *("" if value is None else f"{value:.2f}" for value in line[7:])]
        for line in found
    ]  # fmt: skip
    columns = ["", "", "rank", "weights", "gradients", "optimiser", "activations", "published: weights", "optimiser"]
    table(f"GB, all in bf16, embeddings learn too, {batch} x {length} tokens", columns, rows)


def shape_of(model: str) -> Any:
    """A published size (7b), a folder or Hub id, or plain sizes: hidden=512,inner=1376,layers=8,heads=8,vocab=32000."""
    from yosegi.estimate.shapes import PRESETS, Shape, of_config, preset

    if model.lower() in PRESETS:
        return preset(model)
    if "=" in model:
        known = {"hidden", "inner", "layers", "heads", "vocab", "kv_heads", "head_dim"}
        pairs = {name: value for name, _, value in (part.partition("=") for part in model.split(","))}
        needed = ["hidden", "inner", "layers", "heads", "vocab"]
        if (odd := set(pairs) - known) or [name for name in needed if name not in pairs]:
            wrong = f"no {min(odd)!r} is known" if odd else "all of " + ", ".join(needed) + " are needed"
            raise Invalid(f"A model in plain sizes is hidden=…,inner=…,layers=…,heads=…,vocab=…: {wrong}.")
        if not all(value.isdigit() and int(value) for value in pairs.values()):
            raise Invalid("The sizes of a model are whole numbers above 0.")
        sizes: dict[str, Any] = {name: int(value) for name, value in pairs.items()}
        if sizes["hidden"] % sizes["heads"] and "head_dim" not in sizes:
            raise Invalid(f"hidden={sizes['hidden']} is no multiple of heads={sizes['heads']}: say head_dim=… as well.")
        return Shape("a model", **sizes)
    from transformers import AutoConfig

    from yosegi import registry
    from yosegi.bases import locate
    from yosegi.errors import NoData, UnknownName

    if model not in registry.names("bases") and not Path(model).is_dir() and model.count("/") != 1:
        raise UnknownName.among("model, published size, nor a folder,", model, [*PRESETS, *registry.names("bases")])
    try:
        config = AutoConfig.from_pretrained(locate(model))
    except (OSError, ValueError) as error:
        raise NoData(f"No config of {model!r}: {str(error).strip().splitlines()[0][:200]}") from error
    return of_config(model, config)


def _span(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:,.1f} h" if hours < 72 else f"{hours / 24:,.1f} days"
