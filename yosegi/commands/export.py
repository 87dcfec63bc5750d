"""`yosegi export`: an arm as PEFT, vLLM, transformers, llama.cpp or Ollama load it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import ABase, ALibrary, Json, Overwrite, begin, say

EXAMPLE = "yosegi export 'maths*.7+code*.3' both --to gguf --dtype q8_0 --library library"
ARM = "What is written: an expert, a merge, a*.7+b*.3, or a kept arm that is the same for every token."
TO = "peft (an adapter: PEFT, vLLM), hf (the merged model), gguf (the merged model: llama.cpp, Ollama), or gguf-lora."
DTYPE = "Of the numbers: fp32, bf16, fp16, and for gguf q8_0. auto: as the base is; for gguf fp16, for adapters fp32."


def export(
    arm: Annotated[str, typer.Argument(help=ARM)],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    to: Annotated[str, typer.Option(help=TO)] = "peft",
    base: ABase = None,
    library: ALibrary = None,
    dtype: Annotated[str, typer.Option(help=DTYPE)] = "auto",
    rank: Annotated[int | None, typer.Option(help="Cut the delta to this rank.", min=1)] = None,
    max_shard_size: Annotated[str, typer.Option(help="The largest file of an hf model.")] = "5GB",
    run: Annotated[
        Path | None, typer.Option(help="A run that evaluated the arm: its scores go into README.md.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write an arm for other programs: an adapter, or the merged model, whose logits are compared with the arm's."""
    begin(as_json=as_json)
    from yosegi.exporting import export as write
    from yosegi.exporting.readme import exactness

    options = {"dtype": dtype, "rank": rank, "max_shard_size": max_shard_size, "overwrite": overwrite, "run": run}
    about = write(arm, out, to, base=base, library=library or Path("library"), **options)
    size = sum(one["size"] for one in about["files"].values()) / 2**20
    say(about, as_json, f"{about['arm']}: {out}, {size:.1f} MiB. {exactness(about)}")
    if about.get("vllm", "yes") != "yes" and as_json:
        print(f"Warning: vLLM will not load it: {about['vllm']}.", file=sys.stderr)
