"""A tokenizer as GGUF holds it: the tokens with their types, the merges, and which rules split a text beforehand.

Two kinds of BPE have a name there: over bytes (GPT-2, Llama 3, Qwen; "gpt2"), and over characters with "▁" for a space (Llama 2,
Gemma; "llama"), where llama.cpp orders merges by scores: that of a token is minus the place of its first merge, as SentencePiece
has it. The rules are known to llama.cpp by name only, so a tokenizer with others is refused.
"""

import json
import re
from typing import Any

from yosegi.bases import Base
from yosegi.errors import Invalid

_LETTERS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = {_LETTERS % "": "qwen2", _LETTERS % "{1,3}": "llama-bpe"}
"""Regular expressions that cut a text into words before BPE, and llama.cpp's names for them."""


def vocabulary(writer: Any, base: Base, rows: int) -> None:
    """Writes the tokenizer and the chat template of a base. `rows` are those of its embedding."""
    import gguf

    tokenizer: Any = base.tokenizer
    if (backend := getattr(tokenizer, "backend_tokenizer", None)) is None:
        raise Invalid(f"The tokenizer of {base.name} has no tokenizer.json, which GGUF is made of.")
    parts = json.loads(backend.to_str())
    pre = _rules(base.name, parts)
    kinds, words = gguf.TokenType, {number: word for word, number in tokenizer.get_vocab().items() if number < rows}
    added = {number: token for number, token in tokenizer.added_tokens_decoder.items() if number < rows}
    merges = [tuple(one.split(" ", 1)) if isinstance(one, str) else tuple(one) for one in parts["model"]["merges"]]
    rank: dict[str, int] = {}
    for place, pair in enumerate(merges):
        rank.setdefault("".join(pair), place)

    def kind_of(number: int) -> Any:
        if number not in words:
            return kinds.UNUSED
        if number in added:
            return kinds.CONTROL if added[number].special else kinds.USER_DEFINED
        if pre == "default" and re.fullmatch("<0x[0-9A-F]{2}>", words[number]):
            return kinds.BYTE
        return kinds.NORMAL

    types = [kind_of(number) for number in range(rows)]
    if pre == "default" and tokenizer.unk_token_id is not None:
        types[tokenizer.unk_token_id] = kinds.UNKNOWN
    writer.add_tokenizer_model("llama" if pre == "default" else "gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([words.get(number, f"[PAD{number}]") for number in range(rows)])
    writer.add_token_types(types)
    if pre == "default":
        writer.add_token_scores([-float(rank.get(words.get(number, ""), len(merges))) for number in range(rows)])
        writer.add_add_space_prefix(tokenizer.tokenize("a")[0].startswith("▁"))
    if not any(" " in part for pair in merges for part in pair):
        writer.add_token_merges([" ".join(pair) for pair in merges])
    _special(writer, base)


def _special(writer: Any, base: Base) -> None:
    """Which tokens begin, end and pad a text, and the template of a conversation."""
    tokenizer: Any = base.tokenizer
    for name in ("bos", "eos", "pad", "unk"):
        if (number := getattr(tokenizer, f"{name}_token_id")) is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    ends = getattr(getattr(base.model, "generation_config", None), "eos_token_id", None)
    if isinstance(ends, list) and (turns := [number for number in ends if number != tokenizer.eos_token_id]):
        writer.add_eot_token_id(turns[0])
    ids = tokenizer("a").input_ids
    writer.add_add_bos_token(ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(ids[-1] == tokenizer.eos_token_id)
    if base.chat_template:
        writer.add_chat_template(base.chat_template)


def _rules(name: str, parts: dict[str, Any]) -> str:
    """Returns llama.cpp's name for how a tokenizer cuts a text before BPE; "default" for one over characters."""
    model, before = parts["model"], parts["pre_tokenizer"] or {"type": "Sequence", "pretokenizers": []}
    steps = before["pretokenizers"] if before["type"] == "Sequence" else [before]
    form = [step["type"] for step in steps]
    if model["type"] == "BPE" and "ByteLevel" in form:
        normalizer = parts["normalizer"] or {"type": "NFC"}
        bytes_ = steps[form.index("ByteLevel")]
        if normalizer["type"] == "NFC" and not bytes_["add_prefix_space"]:
            if form == ["ByteLevel"] and bytes_["use_regex"]:
                return "gpt-2"
            if form == ["Digits", "ByteLevel"] and steps[0]["individual_digits"] and bytes_["use_regex"]:
                return "smollm"
            if form == ["Split", "ByteLevel"] and (split := SPLITS.get(steps[0]["pattern"].get("Regex", ""))):
                return split
        raise Invalid(
            f"The tokenizer of {name} cuts texts by rules that llama.cpp has no name for ({', '.join(form)})."
        )
    if model["type"] == "BPE" and "▁" in json.dumps([parts["normalizer"], before], ensure_ascii=False):
        return "default"
    raise Invalid(
        f"The tokenizer of {name} is neither BPE over bytes nor SentencePiece's BPE, which are what GGUF knows."
    )
