"""The features of a prompt: one frozen vector, for routers that decide once per sequence.

Shapes: N texts, B of them at a time, T tokens, F features.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from yosegi.bases import Base, locate, read
from yosegi.core.model import Banks
from yosegi.engine.rows import context_length, encode_prompts, pad_id, start_of_text
from yosegi.errors import Invalid


@torch.no_grad()
def features(
    base: Base, texts: Sequence[str], banks: Banks | None = None, encoder: str = "", batch_size: int = 32
) -> Tensor:
    """Returns [N, F] of unit length: the mean of the last hidden states over the real tokens of each text.

    Args:
        base: the encoder, unless another is named; its experts are disabled meanwhile.
        texts: prompts, in any order; their answers must not be among them.
        banks: of the experts that are attached to the base.
        encoder: folder or Hub id of a sentence encoder, such as "sentence-transformers/all-MiniLM-L6-v2".
        batch_size: texts at a time.
    """
    if not texts:
        raise Invalid("There are no prompts to encode.")
    device = next(base.model.parameters()).device
    source = _encoder(encoder, str(device)) if encoder else base
    model: Any = source.model
    read = model.get_encoder() if source.seq2seq else model.base_model
    nothing = start_of_text(source) or [pad_id(source)]
    rows = encode_prompts(source, texts, context_length(source), ended=bool(encoder))
    ids = [torch.tensor(row or nothing) for row in rows]
    longest_first = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    vectors: list[Tensor] = [torch.empty(0)] * len(ids)
    was_training = model.training
    model.eval()
    with banks.disabled() if banks is not None else nullcontext():
        for start in range(0, len(ids), batch_size):
            chosen = longest_first[start : start + batch_size]
            ids_BT = pad_sequence([ids[i] for i in chosen], True).to(device)
            length_B = torch.tensor([len(ids[i]) for i in chosen], device=device)
            real_BT = torch.arange(ids_BT.shape[1], device=device) < length_B[:, None]
            state_BTF = read(input_ids=ids_BT, attention_mask=real_BT.long()).last_hidden_state
            mean_BF = (state_BTF.float() * real_BT[..., None]).sum(1) / length_B[:, None]
            for i, vector in zip(chosen, normalize(mean_BF, dim=-1), strict=True):
                vectors[i] = vector
    model.train(was_training)
    return torch.stack(vectors)


@lru_cache(maxsize=1)
def _encoder(name: str, device: str) -> Base:
    """A sentence encoder, kept for the next call."""
    model, tokenizer, _ = read(
        locate(name), "encoder", ["MODEL_MAPPING"], r"pooler\.|cls\.|lm_head\.", dtype=torch.float32
    )
    return Base(name, "", model.to(device).eval(), tokenizer)
