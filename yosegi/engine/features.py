"""What a prompt is about, as one vector: frozen features for routers that decide once a sequence.

Shapes: N texts, B of them at a time, T tokens, F features.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from yosegi.bases import Base, locate
from yosegi.core.model import Banks
from yosegi.errors import Corrupt, Invalid, NoData


@torch.no_grad()
def features(
    base: Base, texts: Sequence[str], banks: Banks | None = None, encoder: str = "", batch_size: int = 32
) -> Tensor:
    """[N, F] of unit length: the mean of the last hidden states over the real tokens of each text.

    Args:
        base: the encoder, unless another is named. Experts that stand in it are silent meanwhile.
        texts: prompts, in any order; their answers must not be among them.
        banks: the experts that stand in the base.
        encoder: a folder or Hub id of a sentence encoder, such as "sentence-transformers/all-MiniLM-L6-v2".
        batch_size: texts at a time.
    """
    if not texts:
        raise Invalid("There are no prompts to look at.")
    device = next(base.model.parameters()).device
    model: Any = base.model
    tokenizer = base.tokenizer
    if encoder:
        model, tokenizer = _encoder(encoder, str(device))
    config = model.config
    read = model.get_encoder() if config.is_encoder_decoder else model.base_model
    room = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 2048
    nothing = [tokenizer.pad_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id]
    ids = [torch.tensor(row[-room:] or nothing) for row in tokenizer(list(texts)).input_ids]
    longest_first = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    found: list[Tensor] = [torch.empty(0)] * len(ids)
    was_training = model.training
    model.eval()
    with banks.disabled() if banks is not None else nullcontext():
        for start in range(0, len(ids), batch_size):
            chosen = longest_first[start : start + batch_size]
            ids_BT = pad_sequence([ids[i] for i in chosen], True).to(
                device
            )  # on the right, whatever the tokenizer likes
            length_B = torch.tensor([len(ids[i]) for i in chosen], device=device)
            real_BT = torch.arange(ids_BT.shape[1], device=device) < length_B[:, None]
            state_BTF = read(input_ids=ids_BT, attention_mask=real_BT.long()).last_hidden_state
            mean_BF = (state_BTF.float() * real_BT[..., None]).sum(1) / length_B[:, None]
            for i, vector in zip(chosen, normalize(mean_BF, dim=-1), strict=True):
                found[i] = vector
    model.train(was_training)
    return torch.stack(found)


@lru_cache(maxsize=1)
def _encoder(name: str, device: str) -> tuple[Any, Any]:
    """A sentence encoder and its tokenizer, kept for the next call."""
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoTokenizer

    folder = locate(name)
    try:
        model = AutoModel.from_pretrained(folder, use_safetensors=True)
        return model.to(device).eval(), AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        said = str(error).strip().split("\n")[0][:300]
        if Path(folder).is_dir():
            raise Corrupt(f"The encoder in {folder} cannot be loaded: {said}") from error
        raise NoData(f"The encoder {name!r} is no folder and could not be fetched from the Hub: {said}") from error
