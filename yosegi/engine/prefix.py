"""What prompts have in common is read once: a prompt for all its candidates, a task's worked examples for all its prompts.

    prefix    P P P P P                     read by itself; its keys and values serve every row
    row       t t t t | a a | b b b | c     the trunk: the rest of one prompt; then its branches: the candidates, side by side
    attention                               a token of a branch sees the prefix, the trunk and its own branch up to itself
    position  5 6 7 8 | 9 . | 9 . . | 9     every branch goes on where the trunk ends

The last token of a branch predicts nothing and is not read, so candidates of one token cost one row without branches.
`can_branch` tries whether a model can be read like that. Recurrent models and some kinds of attention cannot; their rows are read
one by one, with the same result.

Shapes: B rows, L tokens of a row, P of the prefix, V vocabulary, H heads, D width of a head.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from yosegi.engine.rows import Row, shared
from yosegi.objectives import IGNORED

WORTH = 16
"""The fewest shared tokens that are read as a prefix of their own."""
SAVED = 0.2
"""The smallest share of tokens saved for which rows are read together."""

KeyValues = list[tuple[Tensor, Tensor]]
"""Keys and values [1, H, P, D] of every layer."""


class Tree(NamedTuple):
    """Rows that begin alike.

    Args:
        rows: their numbers.
        trunk: the tokens they share.
        branches: the other tokens of each, at least one.
        target: the place of the first token that is asked for.
    """

    rows: tuple[int, ...]
    trunk: list[int]
    branches: list[list[int]]
    target: int

    @property
    def forked(self) -> bool:
        """Whether branches have to be kept apart: one branch, or branches of one token, make a plain row."""
        return len(self.branches) > 1 and max(map(len, self.branches)) > 1

    @property
    def size(self) -> int:
        """The number of tokens that are read, those of a prefix among them."""
        return len(self.trunk) + sum(len(branch) - 1 for branch in self.branches)


def tree(rows: Sequence[Row], places: Sequence[int]) -> Tree:
    """Returns the tree of some rows, whatever they share."""
    first, *others = ids = [rows[place]["input_ids"] for place in places]
    length = min([len(one) - 1 for one in ids] + [shared(first, one) for one in others])
    targets = [t for place in places for t, label in enumerate(rows[place]["labels"]) if label != IGNORED]
    return Tree(tuple(places), first[:length], [one[length:] for one in ids], min(targets, default=len(first)))


def plant(rows: Sequence[Row], groups: Iterable[Sequence[int]], most: int) -> Iterator[Tree]:
    """Yields a tree for each group of rows; for each of its rows where that saves too little or forks above `most` tokens."""
    for places in groups:
        together = tree(rows, places)
        alone = sum(len(rows[place]["input_ids"]) - 1 for place in places)
        if (not together.forked or together.size <= most) and together.size <= (1 - SAVED) * alone:
            yield together
        else:
            yield from (tree(rows, [place]) for place in places)


def clusters(trees: Sequence[Tree], most: int) -> list[tuple[int, list[Tree]]]:
    """Returns trees whose trunks begin alike, with the length of what they share; those that share too little, with 0.

    Those of more than `most` tokens are read alone.
    """
    grown: list[tuple[int, list[Tree]]] = []
    for one in sorted((one for one in trees if one.size <= most), key=lambda one: one.trunk):
        end = min(len(one.trunk), one.target) - 1  # the first target is predicted after the prefix
        length, cluster = grown[-1] if grown else (0, [])
        alike = min(end, length, shared(cluster[0].trunk, one.trunk)) if cluster else 0
        if alike >= WORTH and (len(cluster) == 1 or 2 * alike >= length):
            grown[-1] = alike, [*cluster, one]
        else:
            grown.append((end, [one]))
    alone = [one for _, cluster in grown if len(cluster) == 1 for one in cluster] + [
        one for one in trees if one.size > most
    ]
    return [(0, alone), *((length, cluster) for length, cluster in grown if len(cluster) > 1)]


class Batch(NamedTuple):
    """Trees as tensors, and where their targets are predicted.

    Args:
        inputs: what the model is called with.
        real_BL: 1 where a token is real.
        place_X: places of the flattened batch at which something is predicted.
        asked_N: for each target, which of these places predicts it.
        token_N: each target.
        row_N: the row each target belongs to.
    """

    inputs: dict[str, Any]
    real_BL: Tensor
    place_X: Tensor
    asked_N: Tensor
    token_N: Tensor
    row_N: list[int]


def batch(
    model: Any, trees: Sequence[Tree], rows: Sequence[Row], pad: int, length: int, cache: KeyValues | None
) -> Batch:
    """Returns the tensors of trees without their first `length` tokens, whose keys and values are in `cache`."""
    device = next(model.parameters()).device
    L = max(one.size for one in trees) - length
    ids_BL, position_BL = torch.full((len(trees), L), pad), torch.zeros(len(trees), L, dtype=torch.long)
    owner_BL = torch.full((len(trees), L), -1)  # 0 for the trunk, j for the branch j, -1 for padding
    places: dict[int, int] = {}
    asked, token, row_N = list[int](), list[int](), list[int]()
    for b, one in enumerate(trees):
        parts = [one.trunk[length:], *(branch[:-1] for branch in one.branches)]
        begins = [length, *[len(one.trunk)] * len(one.branches)]
        start = 0
        for owner, (part, begin) in enumerate(zip(parts, begins, strict=True)):
            stop = start + len(part)
            ids_BL[b, start:stop], owner_BL[b, start:stop] = torch.tensor(part, dtype=torch.long), owner
            position_BL[b, start:stop] = torch.arange(begin, begin + len(part))
            if owner:
                row = one.rows[owner - 1]
                for t in range(max(one.target, 1), len(rows[row]["labels"])):
                    if (label := rows[row]["labels"][t]) != IGNORED:
                        at = t - 1 - length if t <= len(one.trunk) else start + t - 1 - len(one.trunk)
                        asked.append(places.setdefault(b * L + at, len(places)))
                        token.append(label)
                        row_N.append(row)
            start = stop
    owner_BL = owner_BL.to(device)
    real_BL = (owner_BL >= 0).long()
    inputs: dict[str, Any] = {"input_ids": ids_BL.to(device), "use_cache": cache is not None}
    if "position_ids" in rows[trees[0].rows[0]]:  # packed rows: where documents begin is not in another mask
        for b, one in enumerate(trees):
            position_BL[b, : one.size] = torch.tensor(rows[one.rows[0]]["position_ids"][:-1])
        inputs["position_ids"] = position_BL.to(device)
    elif any(one.forked for one in trees):
        inputs |= {"attention_mask": _forked(model, owner_BL, length), "position_ids": position_BL.to(device)}
    else:
        inputs["attention_mask"] = torch.cat([real_BL.new_ones(len(trees), length), real_BL], 1)
    if cache is not None:
        inputs["past_key_values"] = spread(cache, len(trees))
    place_X, asked_N, token_N = (
        torch.tensor(values, dtype=torch.long, device=device) for values in (list(places), asked, token)
    )
    return Batch(inputs, real_BL, place_X, asked_N, token_N, row_N)


def _forked(model: Any, owner_BL: Tensor, length: int) -> Tensor:
    """[B, 1, L, P + L]: which tokens each token sees."""
    B, L = owner_BL.shape
    to_BLL, from_BLL = owner_BL[:, None, :], owner_BL[:, :, None]
    sees_BLL = ((to_BLL == 0) | (to_BLL == from_BLL)).tril()
    sees_BLX = torch.cat([sees_BLL.new_ones(B, L, length), sees_BLL], 2)[:, None]
    if model.config._attn_implementation == "sdpa":
        return sees_BLX
    dtype = model.get_input_embeddings().weight.dtype
    return torch.zeros(sees_BLX.shape, dtype=dtype, device=owner_BL.device).masked_fill(
        ~sees_BLX, torch.finfo(dtype).min
    )


@torch.no_grad()
def read(model: Any, prefix: Sequence[int]) -> KeyValues:
    """Returns the keys and values of a prefix.

    Raises:
        ValueError: the model keeps something else than keys and values.
    """
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    ids_BT = torch.tensor([list(prefix)], device=next(model.parameters()).device)
    layers = model.base_model(input_ids=ids_BT, use_cache=True).past_key_values.layers
    if not all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
        raise ValueError("a cache of another kind")
    return [(layer.keys, layer.values) for layer in layers]


def spread(cache: KeyValues, rows: int) -> Any:
    """Returns the cache of a prefix for so many rows that begin with it."""
    from transformers import DynamicCache

    return DynamicCache([(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in cache])


def window(model: Any) -> int:
    """Returns how far back every layer sees, at least."""
    config = model.config.get_text_config()
    sizes = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min((size for size in sizes if size), default=10**9)


_ANSWERS: "WeakKeyDictionary[nn.Module, dict[str, bool]]" = WeakKeyDictionary()


def can_branch(model: Any) -> bool:
    """Returns whether a model can continue a cached prefix in branches that do not see each other. It tries a tiny row.

    Attached experts must be disabled meanwhile.
    """
    answers = _ANSWERS.setdefault(model, {})
    kind = str(model.config._attn_implementation)
    if kind not in answers:
        try:
            answers[kind] = _branches_are_apart(model)
        except (
            Exception
        ):  # a foreign model may fail in any way on a mask, positions or a cache that it does not support
            answers[kind] = False
    return answers[kind]


@torch.no_grad()
def _branches_are_apart(model: Any) -> bool:
    """Compares the last of three branches with the plain row; it must not change with the branch before it."""
    rows: list[Row] = [
        {"input_ids": ids, "labels": [IGNORED] * 5 + ids[5:]}
        for ids in ([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 8, 9, 2], [1, 2, 3, 4, 5, 3, 1, 4])
    ]
    V = model.get_input_embeddings().weight.shape[0]
    rows = [{"input_ids": [i % V for i in row["input_ids"]], "labels": row["labels"]} for row in rows]
    moved = [rows[0], rows[0], rows[2]]
    logits = []
    for joined, length in ((rows, 3), (moved, 3), (rows[2:], 0)):
        planted = [tree(joined, range(len(joined)))] * 2
        cache = read(model, planted[0].trunk[:length]) if length else None
        made = batch(model, planted, joined, 0, length, cache)
        logits.append(model(**made.inputs).logits[1, -2:].float())
    forked, other, plain = logits
    spread = (plain.max() - plain.min()).clamp(min=1e-9)
    near = 1e-4 if model.dtype == torch.float32 else 5e-2
    return bool((forked - other).abs().max() <= 1e-5 * spread) and bool((forked - plain).abs().max() <= near * spread)
