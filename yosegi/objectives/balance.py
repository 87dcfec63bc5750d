"""Balance: the answers' loss, and beside it how unevenly the experts are heard, each kind of sequence by itself. LoRAMoE.

Dou et al. 2024, "LoRAMoE: Alleviate World Knowledge Forgetting in Large Language Models via MoE-Style Plugin",
arXiv:2312.09979, the localised balancing constraint.

    Q_nm  mean weight of expert n over the tokens of sequence m (the paper sums them, and so counts length as imbalance)
    Z_nm = Q_nm (1 + δ) where expert and sequence are of one type, Q_nm (1 - δ) where they are not
    CE + β Σ_layers σ²(Z) / μ(Z)²       cv2, the authors' code; σ²/μ is the paper's (`dispersion`); over all n and m of a step

Both end where all Z are equal: there ω_match / ω_mismatch = (1 - δ) / (1 + δ), so it is the experts of the *other* type that
are heard more, unlike what the paper says of it. With fresh experts that only names the groups the other way round; beside
experts that have a type already take match="attract". σ² divides by n m, as for a population.

σ and μ are of a whole step and not of the part of it that one pass reads. But they are functions of three sums over sequences
(`totals`), so a step that was cut is looked at first and then learnt with the sums of the whole: the same loss and gradient.

Shapes: L layers with a router, B sequences, T tokens, H heads, N experts.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from yosegi.core.layer import ExpertLinear
from yosegi.errors import Invalid, UnknownName
from yosegi.objectives import IGNORED, cross_entropy

CHOICES = {
    "lbc": ("cv2", "dispersion"),
    "counted": ("real", "all", "answer"),
    "match": ("paper", "attract"),
    "reduce": ("sum", "mean"),
}


@dataclass(frozen=True)
class Constraint:
    """How the constraint reads.

    Args:
        beta: its weight beside the answers' loss.
        delta: how far apart the types are to be; 0 for plain balance.
        expert_types: of each expert; none for plain balance. Groups may be of any number and size.
        lbc: cv2 or dispersion.
        counted: real tokens; all, padding and prompt alike, as the authors' code does; or the tokens of the answer.
        match: paper (1 + δ where the types match) or attract (1 - δ there: they come to be heard more).
        reduce: sum over the layers, as in the paper, so that β is worth more in a deeper model; or their mean.
    """

    beta: float = 0.1
    delta: float = 0.1
    expert_types: Sequence[int] = ()
    lbc: str = "cv2"
    counted: str = "real"
    match: str = "paper"
    reduce: str = "sum"

    def __post_init__(self):
        for what, known in CHOICES.items():
            if (given := getattr(self, what)) not in known:
                raise UnknownName.among(f"{what} of balance", given, known)
        if not (self.beta >= 0 and 0 <= self.delta <= 1):
            raise Invalid(f"balance needs beta >= 0 and delta from 0 to 1, not {self.beta} and {self.delta}.")


PLAIN = Constraint()


class Listened(NamedTuple):
    """What one layer's router did with a batch."""

    layer: str
    Q_BN: Tensor
    """0 for an expert that the layer does not have."""
    entropy_B: Tensor
    """In nats, mean over the tokens."""
    there_B: Tensor
    """1 for sequences that have a token to count."""
    has_N: Tensor


Note = Callable[[Tensor, Sequence[Listened], Tensor, Mapping[str, Any]], None]
"""Gets the answers' loss, what was heard, the `totals`, and the batch."""


def balance(
    model: nn.Module, batch: Mapping[str, Any], tokens: Tensor | int, constraint: Constraint = PLAIN,
    whole_L3: Tensor | None = None, note: Note | None = None,
) -> Tensor:  # fmt: skip
    """The loss of `sft` plus β times the constraint; without a router in the model it is that of `sft`.

    Args:
        model: with experts in it (core/model.py).
        batch: besides ids, mask and labels `type_B`: the type of each sequence, -1 for none (it counts with coefficient 1).
        tokens: as for `sft`. With [B] the constraint is shared out among the sequences.
        constraint: how.
        whole_L3: the `totals` of all batches of the step, added up, where this is one of several.
        note: is told what was heard.

    Raises:
        Invalid: the layers' weights came without their gradient, as under reentrant activation checkpointing.
    """
    with listening(model) as (layers, weights):
        loss = cross_entropy(model, batch, batch["labels"], tokens)
    heard = _heard(model, layers, weights, batch, constraint)
    sums_LB3 = _sums(heard, batch, constraint)
    if note is not None:
        note(loss.detach(), heard, sums_LB3.detach().sum(1), batch)
    if not constraint.beta or not heard:
        return loss
    if torch.is_grad_enabled():
        for layer in (layer for layer in layers if layer.name in weights):
            learns = any(p.requires_grad for p in layer.router.parameters())
            if learns and not weights[layer.name].requires_grad:
                raise Invalid(
                    f"{layer.name}: activation checkpointing has kept no gradient of the routing weights; balance needs the "
                    "non-reentrant kind (use_reentrant=False)."
                )
    whole_L3 = sums_LB3.sum(1) if whole_L3 is None else whole_L3
    with torch.enable_grad():
        leaf_L3 = whole_L3.detach().requires_grad_()
        uneven_L = unevenness(leaf_L3, constraint.lbc)
        slope_L3 = torch.autograd.grad(uneven_L.sum(), leaf_L3)[0]
    share_LB = (sums_LB3[..., 0] / whole_L3[:, :1].clamp(min=1)).detach()
    grow_LB = (slope_L3[:, None] * sums_LB3).sum(-1)  # its gradient is that of the whole; its value is not
    term_LB = grow_LB - grow_LB.detach() + uneven_L.detach()[:, None] * share_LB
    term_B = constraint.beta * (term_LB.sum(0) if constraint.reduce == "sum" else term_LB.mean(0))
    return loss + (term_B if loss.ndim else term_B.sum())


@torch.no_grad()
def totals(model: nn.Module, batch: Mapping[str, Any], constraint: Constraint = PLAIN) -> Tensor:
    """[L, 3]: of each layer what σ and μ are made from. Those of all batches of a step add up to those of the step."""
    with listening(model) as (layers, weights):
        cross_entropy(model, batch, batch["labels"], 1)
    heard = _heard(model, layers, weights, batch, constraint)
    return _sums(heard, batch, constraint).sum(1)


def unevenness(whole_L3: Tensor, lbc: str = "cv2") -> Tensor:
    """[L]: σ²/μ² or σ²/μ of each layer, from its `totals`."""
    n_L, first_L, second_L = whole_L3.unbind(-1)
    mean_L = first_L / n_L.clamp(min=1)
    variance_L = (second_L / n_L.clamp(min=1) - mean_L.square()).clamp(min=0)
    return variance_L / (mean_L.square() if lbc == "cv2" else mean_L).clamp(min=1e-10)


@contextmanager
def listening(model: nn.Module) -> Generator[tuple[list[ExpertLinear], dict[str, Tensor]]]:
    """The layers of a model that decide who is heard, and what they decide while the block lasts, by name."""
    layers = [m for m in model.modules() if isinstance(m, ExpertLinear) and not m.router.follows]
    weights: dict[str, Tensor] = {}
    before = [layer.context.weights for layer in layers]
    for layer in layers:
        layer.context.weights = weights
    try:
        yield layers, weights
    finally:
        for layer, recorded in zip(layers, before, strict=True):
            layer.context.weights = recorded


def targets(prompt: list[int], answer: list[int]) -> list[int]:
    """The labels of one example."""
    return [IGNORED] * len(prompt) + answer


def _heard(
    model: Any, layers: Sequence[ExpertLinear], weights: Mapping[str, Tensor], batch: Mapping[str, Any], how: Constraint
) -> list[Listened]:
    """Of each layer that ran, means over the tokens that count, in fp32."""
    seq2seq = (model if hasattr(model, "config") else model.module).config.is_encoder_decoder
    found = []
    for layer in (layer for layer in layers if layer.name in weights):
        has_N, w_HN = layer.bank.present_E, weights[layer.name]
        counted_BT = _counted(layer.name, batch, how.counted, seq2seq)
        w_BTHN = (w_HN.float() * has_N).expand(*counted_BT.shape, *w_HN.shape[-2:])
        share_BT = counted_BT / counted_BT.sum(1, keepdim=True).clamp(min=1)
        Q_BN = (w_BTHN.mean(2) * share_BT[..., None]).sum(1)
        with torch.no_grad():
            entropy_B = (torch.special.entr(w_BTHN).sum(-1).mean(2) * share_BT).sum(1)
        found.append(Listened(layer.name, Q_BN, entropy_B, counted_BT.any(1).float(), has_N))
    return found


def _counted(layer: str, batch: Mapping[str, Any], counted: str, seq2seq: bool) -> Tensor:
    """[B, T] in fp32. Behind an encoder a decoder reads the answer, but for the keys and values of its cross-attention."""
    parts = layer.split(".")
    across = bool({"EncDecAttention", "encoder_attn"} & set(parts)) and parts[-1][0] in "kv"
    prompt_BT, answer_BT = batch["attention_mask"].bool(), batch["labels"] != IGNORED
    real_BT = answer_BT if seq2seq and "decoder" in parts and not across else prompt_BT
    if counted == "all":
        return torch.ones_like(real_BT, dtype=torch.float)
    return (answer_BT if counted == "answer" and not seq2seq else real_BT).float()


def _sums(heard: Sequence[Listened], batch: Mapping[str, Any], constraint: Constraint) -> Tensor:
    """[L, B, 3]: of each layer and sequence how many Z there are, their sum, and the sum of their squares."""
    rows = []
    for one in heard:
        there_BN = one.there_B[:, None] * one.has_N
        Z_BN = (1 + constraint.delta * _sign(one, batch, constraint)) * one.Q_BN * there_BN
        rows.append(torch.stack([there_BN.sum(1), Z_BN.sum(1), Z_BN.square().sum(1)], -1))
    return torch.stack(rows) if rows else torch.zeros(0, len(batch["labels"]), 3)


def _sign(one: Listened, batch: Mapping[str, Any], constraint: Constraint) -> Tensor:
    """1 where the types match, -1 where they do not, 0 where there is none; `attract` turns it round."""
    B, N = one.Q_BN.shape
    if not constraint.expert_types or "type_B" not in batch:
        return one.Q_BN.new_zeros(B, N)
    if len(constraint.expert_types) != N:
        raise Invalid(f"expert_types says the type of {len(constraint.expert_types)} experts; {one.layer} has {N}.")
    type_N = torch.tensor(constraint.expert_types, device=one.Q_BN.device)
    type_B1 = batch["type_B"][:, None]
    sign_BN = ((type_B1 == type_N).float() * 2 - 1) * (type_B1 >= 0)
    return sign_BN if constraint.match == "paper" else -sign_BN
