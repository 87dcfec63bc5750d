"""Who was heard where: the weights of a router over layers, experts, tasks and tokens, as a file for the report.

Shapes: B sequences, T tokens, E experts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.batches import collate, tokenise
from yosegi.core.model import Banks
from yosegi.tasks import Example


@torch.no_grad()
def trace(
    base: Base,
    banks: Banks,
    examples: Mapping[str, Sequence[Example]],
    known: Mapping[str, Mapping[str, Any]] | None = None,
    max_length: int = 256,
) -> dict[str, Any]:
    """What the router of `banks` does on some examples of each task, prompt and gold answer together.

    Args:
        base: the model, with the experts in it.
        banks: theirs.
        examples: by task.
        known: what the router may know of them, by task (`Banks.hear`).
        max_length: in tokens.

    Returns a dict for `routing.json`: layers, per task the mean weight [layer][expert] and the mean entropy [layer] over
    real tokens (nats), and token by token the weights of one example a task, averaged over the layers.
    """
    device = next(base.model.parameters()).device
    found: dict[str, Any] = {"layers": list(banks.layers), "tasks": {}, "entropy": {}, "tokens": []}
    for task, some in examples.items():
        rows = tokenise(some, base.tokenizer, max_length, "sft", base.seq2seq)
        batch = {key: value.to(device) for key, value in collate(base.tokenizer.pad_token_id)(rows).items()}
        banks.hear(mask_BT=batch["attention_mask"], **(known or {}).get(task, {}))
        banks.context.weights = {}
        base.model(**batch)
        weights = {name: _per_token(w, batch["attention_mask"]) for name, w in banks.context.weights.items()}
        banks.context.weights = None
        real_BT = batch["attention_mask"].bool()
        layers = [weights[name] for name in banks.layers if weights[name] is not None]
        found["tasks"][task] = [w_BTE[real_BT].mean(0).tolist() for w_BTE in layers]
        found["entropy"][task] = [torch.special.entr(w_BTE[real_BT]).sum(-1).mean().item() for w_BTE in layers]
        n = len(rows[0]["input_ids"])
        found["tokens"].append(
            {
                "task": task,
                "text": [base.tokenizer.decode([token]) for token in rows[0]["input_ids"]],
                "weights": torch.stack([w_BTE[0, :n] for w_BTE in layers]).mean(0).tolist(),
            }
        )
    return found


def _per_token(w_HE: Tensor, mask_BT: Tensor) -> Tensor:
    """Any w [..., H, E] as [B, T, E], averaged over heads."""
    return w_HE.float().mean(-2).expand(*mask_BT.shape, -1)
