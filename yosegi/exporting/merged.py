"""The merged model: W + s B A in every linear, computed in fp32 and rounded once; and how far it is from the arm.

Shapes: I in, O out, T tokens, V words.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yosegi import files
from yosegi.bases import Base, fetched, locate, read
from yosegi.core.expert import Expert
from yosegi.core.model import weight
from yosegi.errors import Invalid
from yosegi.progress import bars_of_others

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "q8_0": 34 / 32}
PROMPTS = ("The capital of France is", "12 + 30 =", "def add(a, b):\n    return", "日本の首都は")
"""What arm and merged model are compared on."""
UNREAD = ("not supported", "Unknown gguf model_type")
"""What transformers says of a family that it does not read from GGUF."""


@torch.no_grad()
def tensors(base: Base, expert: Expert | None) -> Iterator[tuple[str, Tensor]]:
    """Yields the parameters of the base by name, in fp32, with the deltas of an expert added; one tensor at a time.

    A parameter that has two names, as a head that is the embedding, comes once.
    """
    factors = dict(expert.factors) if expert else {}
    names = [name for name, _ in (*base.model.named_parameters(), *base.model.named_buffers())]
    state = base.model.state_dict()
    for name in filter(state.__contains__, names):
        if (f := factors.pop(name.removesuffix(".weight"), None)) is None:
            yield name, state[name].float() if state[name].is_floating_point() else state[name]
            continue
        linear = base.model.get_submodule(name.removesuffix(".weight"))
        merged_OI = weight(linear) + f.dense()
        yield name, merged_OI if isinstance(linear, torch.nn.Linear) else merged_OI.mT.contiguous()
    if factors:
        raise Invalid(f"{base.name} has no linear {min(factors)}, which {expert and expert.name!r} changes.")


def own_dtype(name: str) -> str:
    """Returns the precision in which a base lies on the disk."""
    from transformers import AutoConfig

    dtype = AutoConfig.from_pretrained(fetched(locate(name))).dtype
    return next((key for key, value in DTYPES.items() if value == dtype), "fp32")


def check_space(base: Base, dtype: str, folder: Path) -> None:
    """Refuses to begin where the disk has no room for the whole model."""
    needed = sum(p.numel() for p in base.model.parameters()) * BYTES[dtype] * 1.02 + 2**25
    if (free := shutil.disk_usage(folder).free) < needed:
        raise Invalid(f"{folder.parent} has {free / 2**30:.1f} GiB left, and the model needs {needed / 2**30:.1f}.")


def write_hf(base: Base, expert: Expert | None, folder: Path, dtype: str, max_shard_size: str) -> None:
    """Writes config, weights, generation config and tokenizer, as transformers does."""
    kind = DTYPES[dtype]
    state = {name: value.to(kind) if value.is_floating_point() else value for name, value in tensors(base, expert)}
    if infinite := [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise Invalid(f"{infinite[0]} does not fit into {dtype}: --dtype bf16 or fp32 holds it.")
    model: Any = base.model
    model.save_pretrained(folder, state_dict=state, max_shard_size=max_shard_size)
    base.tokenizer.save_pretrained(folder)
    config = files.read_json(folder / "config.json") | {"dtype": str(kind).removeprefix("torch.")}
    files.write_json(folder / "config.json", config)


@torch.no_grad()
def logits(model: Any, base: Base) -> list[Tensor]:
    """Returns the logits [T, V] of each of the PROMPTS, computed in fp32."""
    rows = []
    for prompt in PROMPTS:
        ids = torch.tensor([base.tokenizer(prompt).input_ids], device=next(model.parameters()).device)
        start = {"decoder_input_ids": ids[:, :4]} if base.seq2seq else {}
        rows.append(model(input_ids=ids, **start).logits[0].float().cpu())
    return rows


def compare(base: Base, folder: Path, gguf_file: str | None, expected: list[Tensor]) -> dict[str, Any]:
    """Reads a merged model back, and returns how far its logits are from those of the arm; nothing if they cannot be read."""
    from transformers import AutoModelForCausalLM

    model: Any = base.model
    written: Any = None
    if gguf_file is None:
        written, _, _ = read(str(folder), "merged model", dtype=torch.float32)
    else:  # of an architecture that transformers may not read
        config = type(model.config).from_dict(model.config.to_dict())
        try:
            with bars_of_others():
                written = AutoModelForCausalLM.from_pretrained(
                    folder, gguf_file=gguf_file, config=config, dtype=torch.float32
                )
        except (ValueError, NotImplementedError) as error:
            if not any(words in str(error) for words in UNREAD):  # a damaged file is no file of an unknown family
                raise
    if written is None:
        return {"logits": None}
    got = logits(written.eval(), base)
    same = sum(int((a.argmax(-1) == b.argmax(-1)).sum()) for a, b in zip(got, expected, strict=True))
    return {
        "logits": {
            "max_error": max(float((a - b).abs().max()) for a, b in zip(got, expected, strict=True)),
            "spread": max(float(a.std()) for a in expected),
            "same_next_token": same,
            "tokens": sum(len(a) for a in expected),
        }
    }
