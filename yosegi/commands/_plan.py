"""What `yosegi doctor --plan` prints."""

from pathlib import Path
from typing import Any

from yosegi.commands._options import say, table

GB = 2**30
WORDS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimiser state",
    "activations": "activations",
    "logits": "logits and the loss",
    "copies": "copies of a checkpoint",
    "cache": "keys and values",
    "gaps": "lost by the allocator",
    "peak": "at the worst moment",
}
VERDICTS = {"yes": "It fits.", "tight": "It is tight: activations are known within 15 %.", "no": "It does not fit."}


def shape_of(model: str) -> Any:
    """Returns the shape of a published size, of plain sizes, or of a base by its name, folder or Hub id."""
    from yosegi.estimate.shapes import PRESETS, of_config, shape_named

    if (shape := shape_named(model)) is not None:
        return shape
    from transformers import AutoConfig

    from yosegi import registry
    from yosegi.bases import locate
    from yosegi.errors import NoData, UnknownName

    known = model in registry.names("bases") or Path(model).is_dir() or model.endswith(".gguf")
    if not known and model.count("/") != 1:
        raise UnknownName.among("model, published size, nor a folder,", model, [*PRESETS, *registry.names("bases")])
    try:
        config = AutoConfig.from_pretrained(locate(model))
    except (OSError, ValueError) as error:
        raise NoData(f"No config of {model!r}: {str(error).strip().splitlines()[0][:200]}") from error
    return of_config(model, config)


def print_plan(plan: dict[str, Any]) -> None:
    """Prints the memory, the verdict and the pace of a training."""
    model, job, machine = plan["model"], plan["job"], plan["machine"]
    several = f"{machine['count']} x " if machine["count"] > 1 else ""
    print(
        f"{model['name']}: {model['params']:,} parameters, {model['layers']} blocks; {job['method']} trains {job['learnt']:,}"
    )
    print(f"{several}{machine['name']}, {machine['memory'] / GB:.0f} GB{' each' if several else ''}")
    rows = [[WORDS[name], f"{value / GB:,.2f}"] for name, value in plan["memory"].items() if value]
    rows.append(["needed with libraries and gaps", f"{plan['needed'] / GB:,.2f}"])
    table("", [f"GB{' on each' if several else ''}", ""], rows)
    print(VERDICTS[plan["fits"]] + (f" It would with {' or '.join(plan['instead'])}." if plan["instead"] else ""))
    if (pace := plan["pace"]) is None:
        print("The speed of a GPU without a name is unknown: give --tflops and --bandwidth.")
        return
    source = "measured here a moment ago" if machine["measured"] else "published rates"
    print(
        f"About {pace['tokens_per_s']:,.0f} tokens a second, a step of {job['tokens_of_a_step'] * machine['count']:,} tokens in "
        f"{pace['step_s']:.3g} s ({source}; {pace['low']:,.0f} to {pace['high']:,.0f} would be no surprise)"
    )
    if hours := plan["hours"]:
        print(f"All of it in {_span(hours['estimate'])} ({_span(hours['low'])} to {_span(hours['high'])})")


def print_table(as_json: bool, batch: int, length: int, checkpointing: bool) -> None:
    """Prints the memory of five methods at seven sizes."""
    from yosegi.estimate.table import table as lines

    entries = lines(batch, length, checkpointing)
    if as_json:
        say([line._asdict() for line in entries], True)
        return
    rows = [
        [line.size, line.method, str(line.rank), *(f"{value:,.2f}" for value in line[3:7]),
         *("" if value is None else f"{value:.2f}" for value in line[7:])]
        for line in entries
    ]  # fmt: skip
    columns = ["", "", "rank", "weights", "gradients", "optimiser", "activations", "published: weights", "optimiser"]
    table(f"GB, all in bf16, embeddings learn too, {batch} x {length} tokens", columns, rows)


def _span(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:,.1f} h" if hours < 72 else f"{hours / 24:,.1f} days"
