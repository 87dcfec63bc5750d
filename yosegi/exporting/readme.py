"""The README of an export: what it was made of, how exact it is, and how it is loaded."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from yosegi import files, registry
from yosegi.errors import NoData

KINDS = {
    "peft": "A LoRA adapter. Its base stays as it is.",
    "hf": "A whole model: the base with the delta of the arm added to its weights.",
    "gguf": "A whole model for llama.cpp and Ollama: the base with the delta of the arm added to its weights.",
    "gguf-lora": "A LoRA adapter for llama.cpp. It goes with a GGUF file of its base.",
}


def license_of(base: str) -> str | None:
    """Returns the licence of a base, from its module here or the front matter of its card; None if it is not known."""
    if base in registry.names("bases") and (known := getattr(registry.load("bases", base), "LICENSE", None)):
        return known
    card = Path(base) / "README.md"
    if not Path(base).exists() and base.count("/") == 1:
        from huggingface_hub import hf_hub_download

        with suppress(Exception):  # no network, or no card: then it is not known
            card = Path(hf_hub_download(base, "README.md"))
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    line = re.search(r"^license: *[\"']?([\w.+-]+)", front[1], re.MULTILINE) if front else None
    return line[1] if line else None


def scores_of(run: Path, arm: str, base_hash: str | None = None) -> list[dict[str, Any]]:
    """Returns the scores of an arm in a run, each beside the base's: the last of each task, metric and seed.

    An arm of that name beside another base is another arm.

    Raises:
        NoData: the run has none.
    """
    rows = files.read_jsonl(run / "results.jsonl") if (run / "results.jsonl").is_file() else []
    by_key = {
        (row["model"], row["task"], row["metric"], str(row.get("seed"))): row
        for row in rows
        if "against" not in row and (base_hash is None or row.get("base_hash") in (None, base_hash))
    }
    fields = ("task", "metric", "seed", "value", "ci_low", "ci_high", "n")
    scores = [
        {field: row.get(field) for field in fields} | {"base": by_key.get(("base", *key[1:]), {}).get("value")}
        for key, row in by_key.items()
        if key[0] == arm
    ]
    if not scores:
        raise NoData(f"{run} has no score of {arm!r} on this base: yosegi eval --arm {arm!r} --run {run} measures it.")
    return scores


def readme(about: Mapping[str, Any]) -> str:
    """Returns the text of README.md."""
    base, form = about["base"], about["format"]
    on_hub = (
        base not in registry.names("bases") and re.fullmatch(r"\w[\w.-]*/[\w.-]+", base) and not Path(base).exists()
    )
    front = {
        "base_model": base if on_hub else None,
        "base_model_relation": ("adapter" if form in ("peft", "gguf-lora") else "finetune") if on_hub else None,
        "library_name": {"peft": "peft", "hf": "transformers"}.get(form, "gguf"),
        "license": about["license"],
        "tags": ["yosegi"],
    }
    head = "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items() if value)
    rows = [
        f"| {one['name']} | {'by layer' if one['weight'] is None else format(one['weight'], 'g')} "
        f"| {', '.join(one['task'])} | {one['data_hash'] or ''} |"
        for one in about["experts"]
    ]
    made = ["| expert | weight | trained on | data |", "|---|---|---|---|", *rows] if rows else []
    parts = [
        f"---\n{head}\n---",
        f"# {about['name']}",
        KINDS[form],
        f"Arm `{about['arm']}` of {base} (weights {about['base_hash'] or 'unknown'}), by yosegi {about['yosegi_version']}. "
        f"Licence of the base: {about['license'] or 'not known; look at its card'}.",
        "\n".join(made),
        "\n".join(_measured(about.get("scores") or [])),
        exactness(about),
        _code(about),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _measured(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a table of the scores, with their 95 % intervals."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    lines = [
        f"| {one['task']} | {one['metric']} | {number(one['value'])} | {number(one['ci_low'])} to {number(one['ci_high'])} "
        f"| {number(one['base'])} | {one['n'] or ''} | {'' if one['seed'] is None else one['seed']} |"
        for one in scores
    ]
    head = ["| task | metric | score | 95 % interval | the base | questions | seed |", "|---|---|---|---|---|---|---|"]
    return [*head, *lines] if lines else []


def exactness(about: Mapping[str, Any]) -> str:
    """Returns in words how far the export is from the arm, or who loads it."""
    if error := about.get("logits"):
        return (
            f"Its logits ({about['dtype']} weights, computed in fp32) differ from the arm's by at most {error['max_error']:.2g}, "
            f"where the standard deviation of logits is {error['spread']:.2g}; the likeliest next token is the same for "
            f"{error['same_next_token']} of {error['tokens']}."
        )
    if "logits" in about:
        return "Its logits were not compared: transformers does not read this family from GGUF."
    size = f"Rank {about['rank']}, {about['linears']} linears."
    return size + (f" vLLM will not load it: {about['vllm']}." if about.get("vllm", "yes") != "yes" else "")


def _code(about: Mapping[str, Any]) -> str:
    """Returns how it is loaded."""
    base, here = about["base"], about["name"]
    ours = base in registry.names("bases") or base.endswith(".gguf")
    place = f"locate({base!r})" if ours else repr(base)
    auto = "AutoModelForSeq2SeqLM" if about.get("task_type") == "SEQ_2_SEQ_LM" else "AutoModelForCausalLM"
    python = [
        *(["from peft import PeftModel"] if about["format"] == "peft" else []),
        f"from transformers import {auto}",
        *(["from yosegi.bases import locate"] if ours and about["format"] == "peft" else []),
        "",
        *(
            [f"model = PeftModel.from_pretrained({auto}.from_pretrained({place}), {here!r})  # this folder"]
            if about["format"] == "peft"
            else [f"model = {auto}.from_pretrained({here!r})  # this folder"]
        ),
    ]
    shell = {
        "peft": f"vllm serve BASE --enable-lora --max-lora-rank {about.get('rank')} --lora-modules {here}=./{here}",
        "gguf": f"ollama create {here} -f Modelfile\nllama-cli -m {about.get('file')}",
        "gguf-lora": f"llama-cli -m BASE.gguf --lora {about.get('file')}",
    }
    blocks = ["```python\n" + "\n".join(python) + "\n```"] if about["format"] in ("peft", "hf") else []
    if about["format"] in shell and about.get("vllm", "yes") == "yes":
        blocks.append(f"```sh\n{shell[about['format']]}\n```")
    return "\n\n".join(blocks)
