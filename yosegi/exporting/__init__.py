"""Arms as other programs load them. What an arm computes has to be the same for every token; it is folded into one delta first.

    peft         an adapter: PEFT and vLLM                adapter.py
    hf           the merged model: transformers, vLLM     merged.py
    gguf         the merged model: llama.cpp, Ollama      gguf_files.py, vocabulary.py, modelfile.py
    gguf-lora    an adapter: llama.cpp                    gguf_files.py

Every folder has a README.md for readers and yosegi.json for machines: what it was made of, and the sha256 of each file.
"""

import datetime
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from yosegi import __version__, files
from yosegi.bases import Base, load
from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.engine.fold import fold, static_weights
from yosegi.engine.spec import parse_arm
from yosegi.engine.whole import swapped
from yosegi.errors import Invalid, UnknownName
from yosegi.exporting.adapter import uniform, vllm_fault
from yosegi.exporting.gguf_files import write_adapter, write_gguf
from yosegi.exporting.manifest import MANIFEST, seal
from yosegi.exporting.merged import check_space, compare, logits, own_dtype, write_hf
from yosegi.exporting.modelfile import modelfile
from yosegi.exporting.readme import license_of, readme, scores_of
from yosegi.library.card import CARD, check_base
from yosegi.library.interchange import write_peft
from yosegi.library.peft_files import CONFIG
from yosegi.library.store import Library

FORMS: dict[str, tuple[str, ...]] = {
    "peft": ("auto",),
    "hf": ("auto", "fp32", "bf16", "fp16"),
    "gguf": ("auto", "fp32", "bf16", "fp16", "q8_0"),
    "gguf-lora": ("auto", "fp32", "fp16"),
}
"""The forms, and the types of number of each. auto: fp32 for adapters, the base's own for hf, fp16 for gguf."""


def export(
    arm: str | Arm,
    out: str | Path,
    form: str = "peft",
    *,
    base: str | Base | None = None,
    library: str | Path = "library",
    dtype: str = "auto",
    rank: int | None = None,
    max_shard_size: str = "5GB",
    overwrite: bool = False,
    run: str | Path | None = None,
) -> dict[str, Any]:
    """Writes an arm into a new folder, whole or not at all, and returns its yosegi.json.

    Args:
        arm: an expert, a merge, fixed weights, or a kept arm that is the same for every token; "base" for the base alone.
        out: the folder.
        form: peft, hf, gguf or gguf-lora.
        base: the base, or its name; by default the one that the experts name.
        library: the folder of the experts.
        dtype: of the numbers: auto, fp32, bf16, fp16 or, for gguf, q8_0.
        rank: of the delta, by the best cut of each layer; by default as it comes.
        max_shard_size: of one file of an hf model.
        overwrite: replace an earlier export.
        run: one in which the arm was evaluated: its scores, and those of the base, go into README.md.

    Raises:
        NoData: the run has no score of the arm.
        Invalid: the arm depends on the token, the form cannot hold it, or there is no room on the disk.
    """
    out = Path(out)
    UnknownName.check("form of an export", [form], FORMS)
    UnknownName.check(f"dtype of {form}", [dtype], FORMS[form])
    if os.path.lexists(out) and not overwrite:
        raise Invalid(f"{out} is there already; --overwrite replaces it.")
    if os.path.lexists(out) and not any((out / part).is_file() for part in (MANIFEST, CONFIG)):
        raise Invalid(f"{out} is there and is no export; --overwrite replaces nothing else.")
    arm = parse_arm(arm, Library(library) if Path(library).is_dir() else None) if isinstance(arm, str) else arm
    expert = _folded(arm, out.name, rank)
    if expert is None and form in ("peft", "gguf-lora"):
        raise Invalid(f"{arm.name} has no experts, so it is no adapter: --to hf and --to gguf write models.")
    card = next((one.card for one in arm.experts), {})
    scores = scores_of(Path(run), arm.name, card.get("base_hash")) if run is not None else []
    named = base.name if isinstance(base, Base) else base or card.get("base") or "nano"
    about: dict[str, Any] = {
        "format": form, "name": out.name, "arm": arm.name, "base": named, "base_hash": card.get("base_hash"),
        "experts": _made_of(arm), "task_type": card.get("task_type"), "license": license_of(named), "scores": scores,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "yosegi_version": __version__,
    }  # fmt: skip
    with files.new_folder(out) as new:
        if form == "peft" and expert is not None:
            adapter = uniform(expert)
            write_peft(adapter, new, named, card.get("task_type") or "CAUSAL_LM")
            files.write_json(
                new / CARD, dict(adapter.card)
            )  # PEFT does not mind it, and an import finds the base again
            about |= {"rank": adapter.rank, "linears": len(adapter.factors), "vllm": vllm_fault(adapter) or "yes"}
        else:
            model = base if isinstance(base, Base) else load(named, "fp32", device="cpu")
            for one in arm.experts:
                check_base(one, model.name, model.hash)
            about["base_hash"] = model.hash
            if form == "gguf-lora" and expert is not None:
                about |= write_adapter(model, uniform(expert), new, dtype, about)
            else:
                about |= _write_model(model, arm, expert, new, form, dtype, max_shard_size, about)
        files.write(new / "README.md", readme(about))
        seal(new, about)
    return about


def _write_model(
    base: Base, arm: Arm, expert: Expert | None, new: Path, form: str, dtype: str, shard: str, about: dict[str, Any]
) -> dict[str, Any]:
    """Writes the merged model, reads it back, and returns what is known of it."""
    if base.dtype == "4bit":
        raise Invalid(f"{base.name} is held in four bits: a merged model is made from its whole weights.")
    if dtype == "auto":
        dtype = "fp16" if form == "gguf" else own_dtype(base.name)
    check_space(base, dtype, new)
    with arm.attached(base):
        expected = logits(base.model, base)
    with swapped(base, arm.base_delta) if arm.base_delta else nullcontext():
        if form == "hf":
            write_hf(base, expert, new, dtype, shard)
            return {"dtype": dtype, **compare(base, new, None, expected)}
        file = write_gguf(base, expert, new, dtype, about)
    files.write(new / "Modelfile", modelfile(base, file.name))
    return {"dtype": dtype, "file": file.name, **compare(base, new, file.name, expected)}


def _folded(arm: Arm, name: str, rank: int | None) -> Expert | None:
    """Returns the one expert that an arm amounts to; None for the base alone, or with other whole weights."""
    if not arm.experts:
        return None
    if arm.weights == [1.0] and rank is None and not arm.ablate:  # one expert as it is, to the last bit
        return replace(arm.experts[0], name=name)
    try:
        return fold(arm, name, rank)
    except Invalid as error:
        raise Invalid(
            f"{str(error).rstrip('.')}. So no single model can hold {arm.name}: `yosegi serve` answers with it, and a copy of "
            "its library holds it, experts and kept arms together (`yosegi push`)."
        ) from error


def _made_of(arm: Arm) -> list[dict[str, Any]]:
    """Returns the experts of an arm with what their cards know; a weight is null where every layer has its own."""
    weights: Sequence[Any] = [None] * len(arm.experts)
    given = arm.merge_args.get("weights") if arm.merge else arm.weights or static_weights(arm)
    if isinstance(given, dict) and len({tuple(row) for row in given.values()}) == 1:
        given = next(iter(given.values()))
    if given is not None and not isinstance(given, dict):
        weights = [0.0 if one.name in arm.ablate else w for one, w in zip(arm.experts, given, strict=True)]
    return [
        {"name": one.name, "weight": weight, "task": list(one.tasks)}
        | {key: one.card.get(key) for key in ("data_hash", "rank", "sha256")}
        for one, weight in zip(arm.experts, weights, strict=True)
    ]
