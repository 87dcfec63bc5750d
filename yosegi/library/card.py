"""The card of an expert: where it comes from, for a machine (expert.json) and for a reader (README.md).

It also checks whether a name may be an expert's, and whether an expert belongs to a base.
"""

import datetime
import json
import re
import shlex
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yosegi import __version__, files, registry
from yosegi.errors import Corrupt, Invalid, WrongBase, shown
from yosegi.spec import quote, write_method

if TYPE_CHECKING:
    from yosegi.core.expert import Expert

CARD, README = "expert.json", "README.md"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# fmt: off
FIELDS = (
    "name", "base", "base_hash", "task", "data_hash", "init", "init_seed", "rank", "alpha", "targets",
    "training", "parents", "metrics", "created", "yosegi_version", "sha256",
)
# fmt: on
"""Every expert.json has these, null if unknown; it may have more."""


def card_of(
    expert: "Expert", config: Mapping[str, Any], sha256: str, base: str | None = None, base_hash: str | None = None
) -> dict[str, Any]:
    """Returns expert.json: the expert's own card, and what its factors show.

    Args:
        expert: its card may have any field; those that the factors or the file decide are overwritten.
        config: its adapter_config.json.
        sha256: the hash of its safetensors file.
        base: the name of its base, if its card has none.
        base_hash: the hash of its base, likewise.
    """
    card = dict.fromkeys(FIELDS) | dict(expert.card)
    card |= {
        "name": expert.name,
        "base": card["base"] or base,
        "base_hash": card["base_hash"] or base_hash,
        "task": list(expert.tasks),
        "rank": config["r"],
        "alpha": config["lora_alpha"],
        "targets": list(dict.fromkeys(layer.rpartition(".")[2] for layer in expert.factors)),
        "parents": list(card["parents"] or []),
        "metrics": card["metrics"] or {},
        "created": card["created"] or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "yosegi_version": __version__,
        "sha256": sha256,
    }
    for field, value in card.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Invalid(
                f"Expert {expert.name!r}: the card's {field!r} cannot be written as JSON ({error})."
            ) from error
    return card


def read_card(folder: Path) -> dict[str, Any]:
    """Returns the card in an expert's folder.

    Raises:
        Corrupt: it is missing, or not a JSON object.
    """
    if not (folder / CARD).is_file():
        raise Corrupt(f"{folder / CARD} is missing. Import the folder to have it written.")
    card = files.read_json(folder / CARD)
    check_fields(card, KINDS, str(folder / CARD))
    return card


def check_fields(card: Any, kinds: Mapping[str, tuple[Any, str]], place: str) -> None:
    """Refuses a card of which a field is of another kind; one that is absent or null is unknown, and right.

    Args:
        card: what the file holds.
        kinds: the test of each field, and what a message says that it should be.
        place: the file.

    Raises:
        Corrupt: says which field, and what it should be.
    """
    if not isinstance(card, dict):
        raise Corrupt(f"{place} is not a JSON object.")
    for field, (test, what) in kinds.items():
        if (value := card.get(field)) is not None and not test(value):
            raise Corrupt(f"{place} says {field}={shown(value)}, which is not {what}.")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return _text(value) or (isinstance(value, list) and all(map(_text, value)))


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


IS_TEXT, IS_TEXTS, IS_OBJECT = (
    (_text, "a text"),
    (_texts, "a list of names"),
    (lambda v: isinstance(v, dict), "an object"),
)
KINDS = {
    **dict.fromkeys(("name", "base", "base_hash", "init", "created", "yosegi_version", "sha256"), IS_TEXT),
    **dict.fromkeys(("chat_template", "dtype", "license", "task_type"), IS_TEXT),
    **dict.fromkeys(("task", "targets", "parents"), IS_TEXTS),
    **dict.fromkeys(("init_seed", "rank"), (_count, "a whole number")),
    **dict.fromkeys(("training", "metrics"), IS_OBJECT),
    "alpha": (files.is_finite, "a number"),
}
"""What the fields of expert.json are."""


RESERVED = ("base", "experts", "each", "arms")
"""Words that mean something else in the spec of an arm, or in the folder of a library."""


def check_name(name: object) -> str:
    """Returns a name that an expert or an arm may have: a folder of the library, and nothing that means something else in a spec.

    Raises:
        Invalid: says what is wrong with it.
    """
    if not isinstance(name, str) or not name:
        raise Invalid(f"{name!r} cannot be the name of an expert.")
    faults = {
        "it holds a path separator": bool(set(name) & set("/\\")),
        "it begins with a dot": name[0] == ".",
        "it begins or ends with a space": name != name.strip(),
        "it holds a character that cannot be printed": not name.isprintable(),
        "it is longer than 200 bytes": len(name.encode(errors="replace")) > 200,
        "it is not in Unicode's composed form (NFC)": not unicodedata.is_normalized("NFC", name),
        "in the spec of an arm it means something else": name in RESERVED or name.startswith("merge:"),
        "it is the name of a router or a merge": name in _methods(),
    }
    for fault, present in faults.items():
        if present:
            raise Invalid(f"An expert or an arm cannot be called {name[:80]!r}: {fault}.")
    return name


@cache
def _methods() -> frozenset[str]:
    return frozenset([*registry.names("routers"), *registry.names("merges")])


def check_base(expert: "Expert | Mapping[str, Any]", base: str | None, base_hash: str) -> None:
    """Refuses an expert of another base.

    Args:
        expert: the expert or its card.
        base: the name of the base in use, for the message.
        base_hash: the hash of the base in use.

    Raises:
        WrongBase: the hashes differ, or the card has none.
    """
    name, card = (expert.get("name"), expert) if isinstance(expert, Mapping) else (expert.name, expert.card)
    theirs = card.get("base_hash")
    if theirs == base_hash:
        return
    if not theirs:
        raise WrongBase(
            f"expert {name!r} does not say which base it was trained beside; this is {_called(base, base_hash)}."
        )
    digits = 4 if theirs[:4] != base_hash[:4] else None
    raise WrongBase(
        f"expert {name!r} was trained beside {_called(card.get('base'), theirs, digits)}; "
        f"this is {_called(base, base_hash, digits)}."
    )


def readme(card: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Returns the model card, in the form of the Hugging Face Hub; what is unknown is left out.

    Args:
        card: as `card_of` made it.
        config: its adapter_config.json.
    """
    base, seq2seq = card["base"], config["task_type"] == "SEQ_2_SEQ_LM"
    ours = base in registry.names("bases") or str(base).endswith(".gguf")
    on_hub = (
        not ours and bool(base) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", base) is not None and not Path(base).exists()
    )
    front = {
        "base_model": base if on_hub else None,
        "library_name": "peft",
        "pipeline_tag": "text2text-generation" if seq2seq else "text-generation",
        "license": card.get("license"),
        "tags": ([f"base_model:adapter:{base}"] if on_hub else []) + ["lora", "yosegi"],
    }
    known = {
        "base": f"{base or 'unknown'}" + (f" (weights {card['base_hash']})" if card["base_hash"] else ""),
        "precision of the base": card.get("dtype"),
        "chat template": card.get("chat_template"),
        "trained on": ", ".join(card["task"]),
        "data": card["data_hash"],
        "rank, alpha": f"{card['rank']}, {card['alpha']:g}",
        "linears": f"{len(config['target_modules'])}: " + ", ".join(card["targets"]),
        "initialiser": card["init"]
        and card["init"] + (f", seed {card['init_seed']}" if card["init_seed"] is not None else ""),
        "made from": ", ".join(card["parents"]),
        "training": card["training"],
        **_errors(card),
        "made": f"{card['created']}, yosegi {card['yosegi_version']}",
    }
    metrics = card["metrics"] if isinstance(card["metrics"], Mapping) else {"metrics": card["metrics"]}
    auto = f"AutoModelFor{'Seq2SeqLM' if seq2seq else 'CausalLM'}"
    code = [
        "from peft import PeftModel",
        f"from transformers import {auto}",
        *([f"from yosegi.bases import locate  # the folder of {base}"] if ours else []),
        "",
        f"base = {auto}.from_pretrained({f'locate({base!r})' if ours else repr(base or 'path/to/its/base')})",
        f"model = PeftModel.from_pretrained(base, {card['name']!r})  # this folder",
    ]
    head = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items() if value)
    blocks = [
        f"---\n{head}\n---",
        f"# {card['name']}",
        f"A LoRA expert: a delta of rank {card['rank']} against its base, which stays as it is.",
        _merge(card),
        _table("", known),
        _table("measured", metrics),
        _fenced("python", "\n".join(code)),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _errors(card: Mapping[str, Any]) -> dict[str, str]:
    """Returns what merging, or cutting to a rank, has cost; nothing for an expert that was trained."""
    known = {"relative_error": "distance from the weighted sum", "truncation_error": "lost in the cut to this rank"}
    if not card["parents"]:
        known = {"relative_error": "lost in the cut to this rank"}
    return {
        words: f"{card[field]:.4g} of its norm" for field, words in known.items() if files.is_finite(card.get(field))
    }


def _merge(card: Mapping[str, Any]) -> str:
    """Returns a merged expert as a sum of its parents, and the command that makes it again; "" for any other."""
    training, parents = card["training"], list(card["parents"])
    weights = training.get("weights") if isinstance(training, Mapping) and "merge" in training else None
    if not isinstance(weights, list) or not weights or len(weights) != len(parents):
        return ""  # not merged; or by groups of layers, which no such command makes
    if not all(isinstance(weight, int | float) for weight in weights):
        return ""
    more = {name: value for name, value in training.items() if name not in ("merge", "weights", "arm")}
    named = [f"{quote(parent)}*{w!r}" for parent, w in zip(parents, weights, strict=True)]
    words = ["yosegi", "merge", f"{write_method(training['merge'], more)}({','.join(named)})", "--name", card["name"]]
    terms = " + ".join(f"{w:.4g} · {parent}" for w, parent in zip(weights, parents, strict=True))
    return f"Merged by {training['merge']} from {terms}. Made again by\n\n{_fenced('sh', shlex.join(words))}"


def _fenced(language: str, code: str) -> str:
    return f"```{language}\n{code}\n```"


def _table(title: str, rows: Mapping[Any, Any]) -> str:
    """Returns a table of two columns without the rows that have no value; "" if none is left."""

    def cell(value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return re.sub(r"\s+", " ", text).replace("|", "\\|")

    lines = [f"| {cell(str(key))} | {cell(value)} |" for key, value in rows.items() if value or title]
    return "\n".join([f"| {title} | |".replace("  ", " "), "|---|---|", *lines]) if lines else ""


def _called(base: str | None, base_hash: str, digits: int | None = 4) -> str:
    """Returns the name of a base as messages have it: Qwen3-0.6B@a1b2."""
    return f"{(base or 'a base').rstrip('/').rpartition('/')[2]}@{base_hash[:digits]}"
