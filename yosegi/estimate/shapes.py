"""The shape of a decoder: all that its memory and its time depend on. From its config, or one that a paper published."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from yosegi.errors import Invalid, UnknownName

ATTENTION, FFN = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shape:
    """A decoder of equal blocks: attention with grouped heads, a gated feed-forward, RMS norms, a head over the vocabulary.

    Args:
        name: for the reader.
        hidden: width of the residual stream.
        inner: width of the feed-forward.
        layers: blocks.
        heads: of attention.
        vocab: rows of the embedding, and of the head.
        kv_heads: heads of keys and values; by default all.
        head_dim: width of a head; by default hidden / heads.
        gated: whether the feed-forward has a gate (SwiGLU), three linears instead of two.
        tied: whether head and embedding are one.
        more: numbers that this picture does not show, such as biases; counted with the norms.
    """

    name: str
    hidden: int
    inner: int
    layers: int
    heads: int
    vocab: int
    kv_heads: int | None = None
    head_dim: int | None = None
    gated: bool = True
    tied: bool = False
    more: int = 0

    @property
    def dim(self) -> int:
        """Returns the width of a head."""
        return self.head_dim or self.hidden // self.heads

    @property
    def q(self) -> int:
        """Returns the width of the queries."""
        return self.heads * self.dim

    @property
    def kv(self) -> int:
        """Returns the width of the keys, and of the values."""
        return (self.kv_heads or self.heads) * self.dim

    def linears(self, targets: str | Sequence[str] = "all-linear") -> dict[str, tuple[int, int]]:
        """Returns the linears of one block, name -> (outputs, inputs), of `targets`: all-linear, attention, ffn or names."""
        d, f = self.hidden, self.inner
        every = {"q_proj": (self.q, d), "k_proj": (self.kv, d), "v_proj": (self.kv, d), "o_proj": (d, self.q)}
        every |= {"gate_proj": (f, d)} if self.gated else {}
        every |= {"up_proj": (f, d), "down_proj": (d, f)}
        groups: dict[str, Sequence[str]] = {"all-linear": tuple(every), "attention": ATTENTION, "ffn": FFN}
        if isinstance(targets, str):
            targets = groups.get(targets) or targets.split(",")
        for name in targets:
            if name not in every and name != "gate_proj":
                raise UnknownName.among("linear of a block, or group of them,", name, [*every, *groups])
        return {name: size for name, size in every.items() if name in targets}

    @property
    def linear_params(self) -> int:
        """Returns the numbers in the linears of all blocks: what four bits pack, and what a token is multiplied with."""
        return self.layers * sum(O * I for O, I in self.linears().values())

    @property
    def other_params(self) -> int:
        """Returns the numbers in the embedding, the head, the norms and what else there is."""
        tables = self.vocab * self.hidden * (1 if self.tied else 2)
        return tables + (2 * self.layers + 1) * self.hidden + self.more

    @property
    def params(self) -> int:
        """Returns the number of all parameters."""
        return self.linear_params + self.other_params

    @property
    def tensors(self) -> int:
        """Returns how many tensors they are in (without those of `more`)."""
        return self.layers * (len(self.linears()) + 2) + 1 + (1 if self.tied else 2)


def _llama(name: str, hidden: int, inner: int, layers: int, heads: int, kv_heads: int | None = None) -> Shape:
    return Shape(name, hidden, inner, layers, heads, 32000, kv_heads)


PRESETS = {
    "60m": _llama("60m", 512, 1376, 8, 8),
    "130m": _llama("130m", 768, 2048, 12, 12),
    "350m": _llama("350m", 1024, 2736, 24, 16),
    "1b": _llama("1b", 2048, 5461, 24, 32),
    "7b": _llama("7b", 4096, 11008, 32, 32),
    "13b": _llama("13b", 5120, 13824, 40, 40),
    "70b": _llama("70b", 8192, 28672, 80, 64, 8),
}
"""60m to 7b as the configs of Zhao et al. 2024, "GaLore", arXiv:2403.03507, have them; 13b and 70b as Touvron et al. 2023,
"Llama 2", arXiv:2307.09288."""


def preset(name: str) -> Shape:
    """Returns a published shape by its name."""
    UnknownName.check("published shape", [name.lower()], PRESETS)
    return PRESETS[name.lower()]


def shape_named(model: str) -> Shape | None:
    """Returns a published size (7b) or plain sizes (hidden=512,inner=1376,layers=8,heads=8,vocab=32000); None for other names."""
    if model.lower() in PRESETS:
        return preset(model)
    if "=" not in model:
        return None
    pairs = {name: value for name, _, value in (part.partition("=") for part in model.split(","))}
    needed = ["hidden", "inner", "layers", "heads", "vocab"]
    if (odd := set(pairs) - {*needed, "kv_heads", "head_dim"}) or [name for name in needed if name not in pairs]:
        wrong = f"no {min(odd)!r} is known" if odd else "all of " + ", ".join(needed) + " are needed"
        raise Invalid(f"A model in plain sizes is hidden=…,inner=…,layers=…,heads=…,vocab=…: {wrong}.")
    if not all(value.isdigit() and int(value) for value in pairs.values()):
        raise Invalid("The sizes of a model are whole numbers above 0.")
    sizes: dict[str, Any] = {name: int(value) for name, value in pairs.items()}
    if sizes["hidden"] % sizes["heads"] and "head_dim" not in sizes:
        raise Invalid(f"hidden={sizes['hidden']} is no multiple of heads={sizes['heads']}: say head_dim=… as well.")
    return Shape("a model", **sizes)


def of_config(name: str, config: Any) -> Shape:
    """Returns the shape of a transformers config: of a multimodal one, of its text model. The model is built without memory to
    count what the picture does not show.

    Raises:
        Invalid: an encoder-decoder, or a mixture of experts of its own.
    """
    if config.is_encoder_decoder:
        raise Invalid(f"{name} is an encoder-decoder; the plan knows decoders only.")
    whole, config = config, config.get_text_config()
    if getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None):
        raise Invalid(f"{name} is a mixture of experts already; the plan knows dense decoders only.")
    import torch
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, AutoModelForImageTextToText

    make = AutoModelForCausalLM if type(whole) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModelForImageTextToText
    with torch.device("meta"):
        model = make.from_config(whole)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * config.hidden_size
    shape = Shape(
        name, config.hidden_size, int(inner), config.num_hidden_layers, config.num_attention_heads, config.vocab_size,
        getattr(config, "num_key_value_heads", None), getattr(config, "head_dim", None),
        gated=any("gate" in part for part, _ in model.named_modules()), tied=bool(whole.tie_word_embeddings),
    )  # fmt: skip
    return replace(shape, more=sum(p.numel() for p in model.parameters()) - shape.params)
