"""Who was heard where: the weights of a router over layers, experts, tasks and tokens, as a file for the report.

Shapes: B sequences, T tokens, N real tokens, H heads, E experts, L layers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine.rows import to_batch, tokenise
from yosegi.objectives import IGNORED
from yosegi.tasks import Example

ROWS = 48
"""Layers told one by one; of more, those of a block of the model are averaged, then neighbouring blocks."""
NUMBERS = 6000
"""Of one kind for one router. More tasks and experts leave room for fewer rows: forty routers have to stay one small file."""
TOKENS = 64
"""Of an example, its last; they have the end of the question and the answer in them."""
EXAMPLES = 4
"""Whose weights are told token by token; of the others only who was chosen."""


class Heard(NamedTuple):
    """What one layer did with the examples of one task."""

    mean_E: Tensor
    """Mean weight over real tokens and heads."""
    present_E: Tensor
    """Share of real tokens that hear an expert at all: w > 0 in some head."""
    entropy: Tensor
    """Mean over real tokens and heads, in nats, of the weights scaled to sum to one."""
    cv: Tensor
    """Standard deviation over mean of the load `mean_E`, among the experts that this layer has: 0 if all bear the same."""
    first_TE: Tensor | None
    """The weights of the first example; None if the layer does not read its tokens (those of a decoder beside an encoder)."""


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
        known: what the router may know of them, by task (`Banks.set_batch`).
        max_length: in tokens.

    Returns a dict for `routing.json`, four digits a number. A row is a layer, in the order they run, or the mean of several:
        layers    what each row is called; `averaged`, if it is there, is how many layers there are
        tasks     by task, the mean weight [row][expert]: each expert's share of the load
        active    by task, the share of real tokens for which an expert has any weight [row][expert]
        entropy   by task, over the experts a token hears [row]
        cv        by task, the load's coefficient of variation [row]; `balance` is that of all tasks together, each counted alike
        tokens    of each task its first example: the last tokens of its `text`, `left_out` before them, `chosen` with a line for
                  each row, the strongest expert of every token (-1 if none is) or of all tokens alike, and for a few examples
                  the `weights` [token][expert], averaged over the layers
    """
    heard = {
        task: _listen(base, banks, some, (known or {}).get(task, {}), max_length) for task, some in examples.items()
    }
    if not heard:
        return {"layers": [], "tasks": {}, "active": {}, "entropy": {}, "cv": {}, "balance": [], "tokens": []}
    layers = list(next(iter(heard.values())))
    rows = _rows(layers, max(1, min(ROWS, NUMBERS // (len(heard) * len(banks.names)))))

    def folded(parts: Sequence[Tensor]) -> Any:
        return _digits(torch.stack([torch.stack([parts[layer] for layer in inside]).mean(0) for _, inside in rows]))

    found: dict[str, Any] = {"layers": [name for name, _ in rows]}
    if len(rows) < len(layers):
        found["averaged"] = len(layers)
    found["tasks"] = {task: folded([layer.mean_E for layer in h.values()]) for task, h in heard.items()}
    found["active"] = {task: folded([layer.present_E for layer in h.values()]) for task, h in heard.items()}
    found["entropy"] = {task: folded([layer.entropy for layer in h.values()]) for task, h in heard.items()}
    found["cv"] = {task: folded([layer.cv for layer in h.values()]) for task, h in heard.items()}
    load_LE = [torch.stack([_shares(h[layer].mean_E) for h in heard.values()]).mean(0) for layer in layers]
    found["balance"] = folded(
        [_cv(load_E, banks[name].present_E.cpu()) for name, load_E in zip(layers, load_LE, strict=True)]
    )

    told = min(EXAMPLES, max(1, NUMBERS // (TOKENS * len(banks.names))))
    found["tokens"] = []
    for task, some in examples.items():
        ids = tokenise(base, some[:1], max_length)[0]["input_ids"]
        first = [layer.first_TE for layer in heard[task].values()]
        token: dict[str, Any] = {"task": task, "text": [base.tokenizer.decode([i]) for i in ids[-TOKENS:]]}
        token |= {"left_out": max(0, len(ids) - TOKENS)} if len(ids) > TOKENS else {}
        token["chosen"] = [_chosen([w for layer in inside if (w := first[layer]) is not None]) for _, inside in rows]
        reading = [w_TE for w_TE in first if w_TE is not None]
        if len(found["tokens"]) < told and reading:
            token["weights"] = _digits(torch.stack(reading).mean(0))
        found["tokens"].append(token)
    return found


def _listen(
    base: Base, banks: Banks, examples: Sequence[Example], known: Mapping[str, Any], max_length: int
) -> dict[str, Heard]:
    """One batch through the model, and what each layer recorded, in the order they ran."""
    batch = to_batch(base, tokenise(base, examples, max_length))
    if base.seq2seq and batch["labels"].shape[1] == batch["input_ids"].shape[1]:
        batch["labels"] = pad(batch["labels"], (0, 1), value=IGNORED)  # so that a length tells whose tokens they are
    banks.set_batch(mask_BT=batch["attention_mask"], **known)
    banks.context.weights = {}
    try:
        base.model(**batch)
        recorded = banks.context.weights
    finally:
        banks.context.weights = None
    prompt_BT, answer_BT = batch["attention_mask"].bool(), batch["labels"] != IGNORED
    found: dict[str, Heard] = {}
    for name, w_HE in recorded.items():
        tokens = w_HE.shape[1] if w_HE.ndim == 4 else 1
        reads = tokens in (1, prompt_BT.shape[1])
        found[name] = _heard(w_HE, prompt_BT if reads else answer_BT, banks[name].present_E, reads)
    return found


def _heard(w_HE: Tensor, real_BT: Tensor, has_E: Tensor, reads: bool = True) -> Heard:
    """Any w [..., H, E], over real tokens. A router may name an expert that this layer does not have: nobody hears it here."""
    w_BTHE = (w_HE.float() * has_E).expand(*real_BT.shape, *w_HE.shape[-2:])
    w_NHE = w_BTHE[real_BT]
    mean_E = w_NHE.mean((0, 1)).cpu()
    return Heard(
        mean_E=mean_E,
        present_E=(w_NHE > 0).any(1).float().mean(0).cpu(),
        entropy=torch.special.entr(_shares(w_NHE)).sum(-1).mean().cpu(),
        cv=_cv(mean_E, has_E.cpu()),
        first_TE=w_BTHE[0, real_BT[0]][-TOKENS:].mean(1).cpu() if reads else None,
    )


def _shares(w_E: Tensor) -> Tensor:
    """Scaled to sum to one; silence stays silence."""
    return w_E / w_E.sum(-1, keepdim=True).clamp(min=1e-9)


def _cv(load_E: Tensor, has_E: Tensor) -> Tensor:
    load_E = load_E[has_E]
    return load_E.std(correction=0) / load_E.mean().clamp(min=1e-9)


def _rows(layers: Sequence[str], most: int) -> list[tuple[str, list[int]]]:
    """At most so many rows: the name of each, and the layers in it."""
    if len(layers) <= most:
        return [(name, [place]) for place, name in enumerate(layers)]
    blocks: dict[str, list[int]] = {}
    for place, name in enumerate(layers):
        parts = name.split(".")
        number = next((i for i, part in enumerate(parts) if part.isdigit()), len(parts))
        blocks.setdefault(".".join(parts[: number + 1]), []).append(place)
    names, step = list(blocks), -(-len(blocks) // most)
    several = [names[i : i + step] for i in range(0, len(names), step)]
    return [
        (some[0] + (" +" if len(some) > 1 else ""), [place for name in some for place in blocks[name]])
        for some in several
    ]


def _chosen(parts: Sequence[Tensor]) -> str:
    """The strongest expert of each token, as "3 0 0 2"; one number if it is the same for all; nothing if nobody reads them."""
    if not parts:
        return ""
    w_TE = torch.stack(list(parts)).mean(0)
    best = w_TE.topk(min(2, w_TE.shape[-1]))
    stands_out = best.values[:, 0] > (best.values[:, 1:].sum(-1) + 1e-6)
    chosen = torch.where(stands_out, best.indices[:, 0], -1).tolist()
    return " ".join(map(str, chosen if len(set(chosen)) > 1 else chosen[:1]))


def _digits(x: Tensor) -> Any:
    """Four after the point, as plain lists."""
    return x.double().round(decimals=4).tolist()
