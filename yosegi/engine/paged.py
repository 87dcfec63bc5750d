"""Attention of one step of many requests over the paged cache, at the cost of what each of them looks at.

transformers multiplies all queries of the flat row with the keys of all requests and masks most of it, which is quadratic in
the number of requests. Here requests of similar length are padded to one batch. Answers to one prompt are one row of it: their
queries share the keys of the prompt, which are read once, and each has its own keys after them.

    row of a batch     queries q_1 … q_Q       keys  prompt … | own of q_1 | own of q_2 | …       only q_i sees its own keys

Shapes: X tokens of a step, B rows of a batch, Q queries and K keys of each, H heads, D width of a head.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "yosegi_paged"


class Group(NamedTuple):
    """Rows that are attended together. Padding repeats the last query of a row and adds masked keys."""

    token_BQ: Tensor | None  # where in the step the queries are; None if it is the whole step, one query a row
    shape: tuple[int, int]  # (B, K)
    mask_BQK: Tensor | None  # [B, 1, Q, K]; None where nothing is masked


class Step(NamedTuple):
    """What the attention of a step needs."""

    groups: list[Group]
    read_N: Tensor
    """Where in the cache the keys are, group after group."""


def step_of(batch: Sequence[Any], place_N: Tensor) -> Step:
    """Returns the groups of a step.

    Args:
        batch: transformers' states of the requests, in the order of their tokens.
        place_N: where in the cache the keys of each of them are, one after another.
    """
    query, device = [future.query_length for future in batch], place_N.device
    q_N = torch.tensor(query)
    k_N = torch.tensor([future.state.position_offset for future in batch])
    token_N, key_N = q_N.cumsum(0) - q_N, k_N.cumsum(0) - k_N
    alike: dict[tuple[int, int], list[int]] = {}
    siblings: dict[int, list[int]] = {}
    for n, (future, q, k) in enumerate(zip(batch, query, k_N.tolist(), strict=True)):
        request = future.state.request
        if q == 1 and request.n > 1 and k >= len(request.ids):
            siblings.setdefault(id(request), []).append(n)
        elif q:
            alike.setdefault((q.bit_length() if q > 1 else 0, k.bit_length()), []).append(n)
    for members in [members for members in siblings.values() if len(members) == 1]:
        alike.setdefault((0, int(k_N[members[0]]).bit_length()), []).append(members[0])
    families: dict[tuple[int, int], list[list[int]]] = {}
    for members in [members for members in siblings.values() if len(members) > 1]:
        families.setdefault((len(members).bit_length(), int(k_N[members[0]]).bit_length()), []).append(members)
    groups, read = [], []
    for members in map(sorted, alike.values()):  # answers whose siblings have ended came last
        n_B1 = torch.tensor(members)[:, None]
        last_B1, end_B1 = q_N[n_B1] - 1, k_N[n_B1] - 1
        query_BQ = torch.arange(int(last_B1.max()) + 1).minimum(last_B1)
        key_BK = torch.arange(int(end_B1.max()) + 1)
        mask_BQK = key_BK <= (end_B1 - last_B1 + query_BQ)[..., None]
        read.append((key_N[n_B1] + key_BK.minimum(end_B1)).flatten())
        everything = len(members) == len(batch) and query_BQ.shape[1] == 1
        groups.append(_group(None if everything else token_N[n_B1] + query_BQ, mask_BQK, device))
    for rows in families.values():
        prompt_B = [len(batch[members[0]].state.request.ids) - 1 for members in rows]
        keys, owners = [], []
        for members, P in zip(rows, prompt_B, strict=True):
            own = [torch.arange(P, int(k_N[n])) + key_N[n] for n in members]
            keys.append(torch.cat([torch.arange(P) + key_N[members[0]], *own]))
            owners.append(torch.cat([torch.full((P,), -1), *(torch.full((len(one),), i) for i, one in enumerate(own))]))
        read.append(pad_sequence(keys, True).flatten())
        owner_BK = pad_sequence(owners, True, padding_value=-2)[:, None]
        last_B1 = torch.tensor([len(members) - 1 for members in rows])[:, None]
        member_BQ = torch.arange(int(last_B1.max()) + 1).minimum(last_B1)
        mask_BQK = (owner_BK == -1) | (owner_BK == member_BQ[..., None])
        token_BM = token_N[pad_sequence([torch.tensor(members) for members in rows], True)]
        groups.append(_group(token_BM.gather(1, member_BQ), mask_BQK, device))
    return Step(groups, place_N[torch.cat(read).to(device)])


def _group(token_BQ: Tensor | None, mask_BQK: Tensor, device: torch.device) -> Group:
    hidden = None if bool(mask_BQK.all()) else mask_BQK[:, None].to(device)
    return Group(None if token_BQ is None else token_BQ.to(device), (len(mask_BQK), mask_BQK.shape[2]), hidden)


def attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None = None, **more: Any
) -> tuple[Tensor, None]:  # fmt: skip
    """Maps queries [1, H, X, D] to [1, X, H, D], group by group; transformers calls it in every layer."""
    cache = more["cache"]
    step: Step = cache.step
    allocator = cache.layer_to_allocator[module.layer_idx]
    key_XHD, value_XHD = (new[0].transpose(0, 1).to(cache.dtype) for new in (key, value))
    write_X = more["write_index"][allocator.index]
    key_NHD, value_NHD = allocator.update(key_XHD, value_XHD, module.layer_idx, step.read_N, write_X)
    sizes = [group.shape[0] * group.shape[1] for group in step.groups]
    out_XHD: Tensor | None = None
    for group, keys, values in zip(step.groups, key_NHD.split(sizes), value_NHD.split(sizes), strict=True):
        token_BQ = group.token_BQ
        query_BHQD = query[0].transpose(0, 1)[:, :, None] if token_BQ is None else query[0][:, token_BQ].transpose(0, 1)
        key_BHKD, value_BHKD = (
            side.view(*group.shape, *side.shape[1:]).transpose(1, 2).to(query.dtype) for side in (keys, values)
        )
        out_BQHD, _ = sdpa_attention_forward(
            module, query_BHQD, key_BHKD, value_BHKD, group.mask_BQK, scaling=scaling, is_causal=False
        )
        if token_BQ is None:
            return out_BQHD.transpose(0, 1), None
        if out_XHD is None:
            out_XHD = out_BQHD.new_empty(query.shape[2], *out_BQHD.shape[2:])
        out_XHD[token_BQ] = out_BQHD
    assert out_XHD is not None
    return out_XHD[None], None


AttentionInterface.register(NAME, attention)
