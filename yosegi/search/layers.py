"""Groups of layers that have weights of their own: so many runs of neighbouring blocks, and attention apart if asked."""

import re
from collections.abc import Iterable

from yosegi.errors import Invalid

BLOCK = re.compile(r"^.*?\.\d+(?=\.)")
"""`model.layers.3` of `model.layers.3.self_attn.q_proj`: a name up to its first number."""


def group(layers: Iterable[str], groups: int = 1, by_type: bool = False) -> tuple[tuple[str, ...], dict[str, int]]:
    """Returns what the groups are called, and the group of each layer.

    Args:
        layers: names of linears, in the order of the model.
        groups: how many runs of blocks, as equally long as can be.
        by_type: whether each is split into attention and the rest.

    Raises:
        Invalid: there are fewer blocks than groups.
    """
    block_of = {layer: (match[0] if (match := BLOCK.match(layer)) else "") for layer in layers}
    blocks = list(dict.fromkeys(block_of.values()))
    if not 1 <= groups <= len(blocks):
        raise Invalid(
            f"{groups} groups of layers: these experts touch {len(blocks)} blocks, so there can be 1 to that many."
        )
    run_of = {block: n * groups // len(blocks) for n, block in enumerate(blocks)}
    runs = [[n for n, block in enumerate(blocks) if run_of[block] == g] for g in range(groups)]
    names = [f"blocks {run[0]}-{run[-1]}" if len(run) > 1 else f"block {run[0]}" for run in runs]
    names = ["all layers"] if groups == 1 else names
    label_of = {layer: names[run_of[block]] + f", {kind(layer)}" * by_type for layer, block in block_of.items()}
    labels = tuple(dict.fromkeys(label_of[layer] for layer in sorted(block_of, key=lambda x: run_of[block_of[x]])))
    return labels, {layer: labels.index(label) for layer, label in label_of.items()}


def kind(layer: str) -> str:
    """Returns "attention" or "mlp", by the names that transformers give: self_attn, attn, SelfAttention, EncDecAttention."""
    return "attention" if "att" in BLOCK.sub("", layer).lower() else "mlp"
