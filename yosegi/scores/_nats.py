"""How many nats a model needs for a text, token by token: what perplexity and the likelihood ratio both count.

A text is cut into windows of the model's context, and a long one is judged by a few windows spread evenly over it. Each window
begins with the token that separates texts (begin-of-text, else end-of-text), so that every token of the text is predicted.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy

from yosegi.bases import Base
from yosegi.errors import Invalid

TOKENS = 8192
"""In one forward pass: the logits of more would take a gigabyte with a vocabulary of 32,000."""


def windows(base: Base, text: str, most: int, length: int = 0) -> list[list[int]]:
    """The token ids of at most `most` windows of a text, without the separator; [] of an empty text."""
    if base.seq2seq:
        raise Invalid(f"{base.name} is an encoder-decoder: it does not say how likely a text is.")
    if most < 1:
        raise Invalid(f"windows={most}: at least one window of a page is read.")
    ids = base.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    size = min(_context(base), length or 10**9) - 1
    starts = list(range(0, len(ids), size))
    if len(starts) > most:
        starts = [starts[i * (len(starts) - 1) // max(most - 1, 1)] for i in range(most)]
    return [ids[start : start + size] for start in starts]


@torch.no_grad()
def nats(base: Base, pieces: Sequence[Sequence[int]]) -> list[float]:
    """-log p of all tokens of each piece, added up."""
    device = next(base.model.parameters()).device
    start = base.tokenizer.bos_token_id
    start = base.tokenizer.eos_token_id if start is None else start
    if start is None:
        raise Invalid(f"The tokenizer of {base.name} has no token that separates texts.")
    order, found = sorted(range(len(pieces)), key=lambda i: -len(pieces[i])), [0.0] * len(pieces)
    while order:
        wide = len(pieces[order[0]])
        chosen, order = order[: max(1, TOKENS // (wide + 1))], order[max(1, TOKENS // (wide + 1)) :]
        ids_BT = torch.full((len(chosen), wide + 1), start)
        mask_BT = torch.zeros(len(chosen), wide + 1, dtype=torch.long)
        for b, i in enumerate(chosen):
            ids_BT[b, 1 : len(pieces[i]) + 1] = torch.tensor(pieces[i])
            mask_BT[b, : len(pieces[i]) + 1] = 1
        ids_BT, mask_BT = ids_BT.to(device), mask_BT.to(device)
        logits_BTV = base.model(input_ids=ids_BT, attention_mask=mask_BT).logits[:, :-1].float()
        loss_BT = cross_entropy(logits_BTV.transpose(1, 2), ids_BT[:, 1:], reduction="none") * mask_BT[:, 1:]
        for i, value in zip(chosen, loss_BT.double().sum(-1).tolist(), strict=True):
            found[i] = value
    return found


def _context(base: Base) -> int:
    """The tokens a model can take; 2048 if it does not say."""
    told = getattr(base.model.config, "max_position_embeddings", None) or getattr(
        base.model.config, "n_positions", None
    )
    return min(int(told or 2048), 2048)
