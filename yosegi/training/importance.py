"""How much each entry of an expert matters to some questions: what the loss would lose if it were zero.

    I(φ) = | g φ - ½ F φ² |,   g = the mean gradient, F = the mean squared gradient of single examples (diagonal Fisher)

Huang et al. 2025, "LoRA-PAR", arXiv:2507.20999, after LeCun et al. 1989, "Optimal Brain Damage". The loss is that of the answer's
tokens. The gradients of single examples come from one pass: every example is read with a copy of the expert that is its own
(gathered dispatch), and the gradient of a copy is the gradient of its example.
Shapes: N examples, R rank, I in, O out.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import Banks
from yosegi.engine.rows import targets_of, to_batch, tokenise
from yosegi.errors import Invalid, UnknownName
from yosegi.masks.importance import Scores
from yosegi.objectives.sft import sft
from yosegi.progress import progress
from yosegi.routers.by_request import ByRequest
from yosegi.tasks import Example
from yosegi.training.job import attached

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
    """Returns the importance of every entry, fp32, by "layer|A" [R, I] and "layer|B" [O, R] (masks/importance.py).

    Args:
        base: the model that the expert is trained beside.
        expert: whose entries; with B = 0 the importance of all of them is 0.
        examples: of one system; a hundred in the paper's code.
        order: second: as above; first: |g φ|; product: |g| F, the formula of an article about the method, for comparison.
        max_length: longest sequence, in tokens.
        chunk: examples in one pass, which bounds the memory: each has a copy of the expert.
        origin: the expert is a start and no delta yet (PiSSA and its kin); False for one that has been trained.

    Raises:
        Invalid: there is nothing to measure by.
    """
    UnknownName.check("order of importance", [order], ORDERS)
    if chunk < 1:
        raise Invalid(f"chunk={chunk}: at least one example at a time.")
    rows = tokenise(base, examples, max_length)
    rows.sort(key=lambda row: -len(row["input_ids"]))
    size = min(chunk, len(rows))
    copies = [replace(expert, name=str(n)) for n in range(size)]
    with (
        attached(base, copies, ByRequest(), origin=origin) as banks,
        progress(f"importance {expert.name}", len(rows)) as bar,
    ):
        base.model.eval()
        factors = _factors(banks)
        g = {name: torch.zeros_like(factor[0], dtype=torch.float32) for name, factor in factors.items()}
        F = {name: torch.zeros_like(total) for name, total in g.items()}
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            batch = to_batch(base, chosen)
            banks.set_batch(experts=list(banks.names[: len(chosen)]), mask_BT=batch["attention_mask"])
            tokens_B = torch.tensor([max(1, targets_of(row, base.seq2seq)) for row in chosen])
            sft(base.model, batch, tokens_B.to(batch["labels"].device)).sum().backward()
            for name, factor in factors.items():
                if factor.grad is None:
                    raise Invalid(f"No gradient reaches layer {name.rpartition('|')[0]}.")
                grad = factor.grad[: len(chosen)].float() / len(rows)
                g[name] += grad.sum(0)
                F[name] += grad.square().sum(0) * len(rows)
                factor.grad = None
            bar.advance(len(chosen))
        return {name: _score(g[name], F[name], f[0].detach().float(), order).cpu() for name, f in factors.items()}


def null(base: Base, expert: Expert, examples: Sequence[Example], **options: int) -> tuple[Scores, Scores]:
    """Returns the importance for two halves of one system: how alike two regions are that differ by chance alone."""
    measure = partial(importance, base, expert, **options)  # type: ignore[arg-type]
    return measure(examples[::2]), measure(examples[1::2])


def _factors(banks: Banks) -> dict[str, Tensor]:
    """Returns the stacks that are trained, by "layer|A" and "layer|B"."""
    return {f"{layer}|{k}": f for layer, bank in banks.items() for k, f in (("A", bank.A_ERI), ("B", bank.B_EOR))}


def _score(g: Tensor, F: Tensor, phi: Tensor, order: str) -> Tensor:
    if order == "product":
        return g.abs() * F
    return (g * phi - (0.5 * F * phi.square() if order == "second" else 0)).abs()
