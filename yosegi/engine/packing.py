"""Packing: documents end to end in rows of one length, so that no computation goes to padding; none sees another.

    row       input_ids     a a a a | b b b | c c        the next document begins where one ends; the last is cut at the row's end
              position_ids  0 1 2 3   0 1 2   0 1        and continues in the next row
              labels        - a a a   - b b   - c        a document's first token in a row is not predicted

Attention is kept inside a document as transformers does it: it reads from `position_ids` where one begins, when no mask is
given. Not every model supports that (`keeps_apart` tries it). Krell et al. 2021, "Efficient Sequence Packing without
Cross-contamination", arXiv:2107.02027.

Shapes: N rows, T tokens of a row, V vocabulary.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from yosegi.errors import Invalid
from yosegi.objectives import IGNORED

SLIP = 1e-5
"""Documents are apart if changing one moves the logits of another by less than this share of its own change."""


def pack(documents: Iterable[Mapping[str, Sequence[int]]], length: int) -> list[dict[str, list[int]]]:
    """Returns rows of `length` tokens (the last may be shorter) with `input_ids`, `labels` and `position_ids`; no token is lost.

    Args:
        documents: `input_ids` and `labels` of each (rows.tokenise), in order.
        length: of a row.
    """
    if length < 2:
        raise Invalid(f"A row of {length} token{'s' * (length != 1)} has nothing to predict; pack at least 2.")
    rows: list[dict[str, list[int]]] = []
    room = 0
    for document in documents:
        ids, labels, start = document["input_ids"], document["labels"], 0
        while start < len(ids):
            if not room:
                rows.append({"input_ids": [], "labels": [], "position_ids": []})
                room = length
            end = min(start + room, len(ids))
            rows[-1]["input_ids"] += ids[start:end]
            rows[-1]["labels"] += [IGNORED, *labels[start + 1 : end]]
            rows[-1]["position_ids"] += range(end - start)
            room, start = room - (end - start), end
    return rows


@torch.no_grad()
def keeps_apart(model: nn.Module) -> bool:
    """Returns whether `position_ids` alone keep the documents of a row apart in this model. It tries two short rows.

    Recurrent models cannot, nor can flash attention with several rows.
    """
    inner: Any = model
    vocabulary, device = inner.get_input_embeddings().weight.shape[0], next(model.parameters()).device
    position_BT = torch.tensor([[0, 1, 2, 0, 1, 2]] * 2, device=device)
    one_BT = torch.tensor([[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]], device=device) % vocabulary
    other_BT = torch.cat([(one_BT[:, :3] + 7) % vocabulary, one_BT[:, 3:]], 1)
    training = model.training
    model.eval()
    try:
        one_BTV, other_BTV = (
            model(input_ids=ids_BT, position_ids=position_BT, use_cache=False).logits.float()
            for ids_BT in (one_BT, other_BT)
        )
    except (TypeError, ValueError):  # it takes no positions
        return False
    finally:
        model.train(training)
    moved_BT = (one_BTV - other_BTV).abs().amax(-1)
    return bool(moved_BT[:, 3:].max() <= SLIP * moved_BT[:, :3].max())
