"""How much each entry of an expert matters to some questions: what the loss would lose if it were zero.

    I(φ) = | g φ - ½ F φ² |,   g = the mean gradient, F = the mean squared gradient of single examples (diagonal Fisher)

Huang et al. 2025, "LoRA-PAR", arXiv:2507.20999, after LeCun et al. 1989, "Optimal Brain Damage". The loss is that of the answer's
tokens. The gradients of single examples come from one pass: every example hears a copy of the expert that is its own
(gathered dispatch), and the gradient of a copy is the gradient of its example.
Shapes: N examples, R rank, I in, O out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import attach
from yosegi.engine.rows import to_batch, tokenise
from yosegi.errors import Invalid, UnknownName
from yosegi.objectives import IGNORED
from yosegi.objectives.sft import sft
from yosegi.progress import progress
from yosegi.routers.by_request import ByRequest
from yosegi.tasks import Example

ORDERS = ("second", "first", "product")


def importance(
    base: Base,
    expert: Expert,
    examples: Sequence[Example],
    *,
    order: str = "second",
    max_length: int = 1024,
    chunk: int = 32,
    origin: bool = True,
) -> dict[str, Tensor]:
    """The importance of every entry of an expert, fp32, by "layer|A" [R, I] and "layer|B" [O, R] (masks/importance.py).

    Args:
        base: what it stands beside.
        expert: whose entries; with B = 0 all of them come out as 0.
        examples: of one system; a hundred in the paper's code.
        order: second: as above; first: |g φ|; product: |g| F, the formula of an article about the method, for comparison.
        max_length: longest sequence, in tokens.
        chunk: examples in one pass, which bounds the memory: each has a copy of the expert.
        origin: the expert is a start that is not heard yet (PiSSA and its kin); False for one that has been trained.

    Raises:
        Invalid: there is nothing to measure by.
    """
    if order not in ORDERS:
        raise UnknownName.among("order of importance", order, ORDERS)
    if chunk < 1:
        raise Invalid(f"chunk={chunk}: at least one example at a time.")
    rows = tokenise(base, examples, max_length)
    rows.sort(key=lambda row: -len(row["input_ids"]))
    size = min(chunk, len(rows))
    banks = attach(base.model, [replace(expert, name=str(n)) for n in range(size)], ByRequest())
    if origin:
        for bank in banks.values():
            bank.set_origin()
    base.model.eval()
    sums: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}
    try:
        with progress(f"importance {expert.name}", len(rows)) as bar:
            for start in range(0, len(rows), size):
                batch = to_batch(base, rows[start : start + size])
                N = len(batch["input_ids"])
                banks.set_batch(experts=[str(n) for n in range(N)], mask_BT=batch["attention_mask"])
                tokens_B = (batch["labels"][:, 0 if base.seq2seq else 1 :] != IGNORED).sum(-1).clamp(min=1)
                sft(base.model, batch, tokens_B).sum().backward()
                with torch.no_grad():
                    for layer, bank in banks.items():
                        for key, factor in (("A", bank.A_ERI), ("B", bank.B_EOR)):
                            if factor.grad is None:
                                raise Invalid(f"No gradient reaches layer {layer}.")
                            grad, name = factor.grad[:N].float(), f"{layer}|{key}"
                            _add(sums, name, grad.sum(0))
                            _add(squares, name, grad.square().sum(0))
                            factor.grad = None
                bar.advance(N)
        with torch.no_grad():
            phi = {
                f"{layer}|{key}": factor[0].float()
                for layer, bank in banks.items()
                for key, factor in (("A", bank.A_ERI), ("B", bank.B_EOR))
            }
            return {
                name: _score(sums[name] / len(rows), squares[name] / len(rows), phi[name], order).cpu() for name in phi
            }
    finally:
        banks.detach()


def null(
    base: Base, expert: Expert, examples: Sequence[Example], **how: object
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """The importance for two halves of one and the same system: how alike two regions are that differ by chance alone."""
    return (
        importance(base, expert, examples[::2], **how),  # type: ignore[arg-type]
        importance(base, expert, examples[1::2], **how),  # type: ignore[arg-type]
    )


def _add(total: dict[str, Tensor], name: str, value: Tensor) -> None:
    total[name] = total[name] + value if name in total else value


def _score(g: Tensor, F: Tensor, phi: Tensor, order: str) -> Tensor:
    if order == "product":
        return g.abs() * F
    if order == "first":
        return (g * phi).abs()
    return (g * phi - 0.5 * F * phi.square()).abs()
