"""Balance: the loss of the answers plus a penalty on uneven routing, for each type of sequence by itself. LoRAMoE.

Dou et al. 2024, "LoRAMoE: Alleviate World Knowledge Forgetting in Large Language Models via MoE-Style Plugin",
arXiv:2312.09979, the localised balancing constraint.

    Q_nm  mean weight of expert n over the tokens of sequence m (the paper sums them, so that length counts as imbalance)
    Z_nm = Q_nm (1 + δ) where expert and sequence have one type, Q_nm (1 - δ) where they differ
    CE + β Σ_layers σ²(Z) / μ(Z)²       cv2, the authors' code; the paper has σ²/μ (`dispersion`); over all n and m of a step

Both are 0 where all Z are equal. There ω_match / ω_mismatch = (1 - δ) / (1 + δ): the experts of the *other* type get more weight,
unlike what the paper says. With fresh experts this only swaps the names of the groups; with experts that already have a type use
match="attract". σ² divides by n m, as for a population.

σ and μ belong to a whole step, not to one micro-batch. They are functions of three sums over sequences (`totals`), so a step
in several micro-batches first adds up the sums, then trains with those of the whole step: the same loss and gradient.

Shapes: L layers with a router, B sequences, T tokens, H heads, N experts.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from yosegi.core.layer import ExpertLinear
from yosegi.core.model import reads_encoder
from yosegi.errors import Invalid, UnknownName
from yosegi.objectives import IGNORED, cross_entropy
from yosegi.objectives import targets as targets

CHOICES = {
    "lbc": ("cv2", "dispersion"),
    "counted": ("real", "all", "answer"),
    "match": ("paper", "attract"),
    "reduce": ("sum", "mean"),
}


@dataclass(frozen=True)
class Constraint:
    """The options of the constraint.

    Args:
        beta: the weight of the penalty.
        delta: how far the types are pushed apart; 0 for plain balance.
        expert_types: the type of each expert; none for plain balance. There may be any number of groups of any size.
        lbc: the measure of unevenness, cv2 or dispersion.
        counted: which tokens count: real ones; all, padding included, as in the authors' code; or those of the answer.
        match: paper (1 + δ where the types match) or attract (1 - δ there, which raises the weight of matching experts).
        reduce: sum over the layers, as in the paper, so that β counts more in a deeper model; or their mean.
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


class Routed(NamedTuple):
    """The routing of one layer on a batch."""

    layer: str
    Q_BN: Tensor
    """The mean weights; 0 for an expert that the layer lacks."""
    entropy_B: Tensor
    """The entropy of the weights in nats, mean over the tokens."""
    counted_B: Tensor
    """1 for sequences that have a token that counts."""
    present_N: Tensor
    """Whether the layer has the expert."""


Note = Callable[[Tensor, Sequence[Routed], Tensor, Mapping[str, Any]], None]
"""Gets the loss of the answers, the routing of each layer, the `totals`, and the batch."""


def balance(
    model: nn.Module, batch: Mapping[str, Any], tokens: Tensor | int, constraint: Constraint = PLAIN,
    whole_L3: Tensor | None = None, note: Note | None = None,
) -> Tensor:  # fmt: skip
    """Returns the loss of `sft` plus β times the constraint; without a router in the model, the loss of `sft`.

    Args:
        model: a model with experts (core/model.py).
        batch: has, besides ids, mask and labels, `type_B`: the type of each sequence, -1 for none (its coefficient is 1).
        tokens: as for `sft`. With [B] the constraint is divided among the sequences.
        constraint: the options.
        whole_L3: the sum of the `totals` of all batches of the step, if this is one of several.
        note: is called with the routing.

    Raises:
        Invalid: the routing weights have no gradient, as under reentrant activation checkpointing.
    """
    with recorded_routing(model) as (layers, weights):
        loss = cross_entropy(model, batch, batch["labels"], tokens)
    routed = _routed(model, layers, weights, batch, constraint)
    sums_LB3 = _sums(routed, batch, constraint)
    if note is not None:
        note(loss.detach(), routed, sums_LB3.detach().sum(1), batch)
    if not constraint.beta or not routed:
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
    grow_LB = (slope_L3[:, None] * sums_LB3).sum(-1)  # it has the gradient of the whole, but not its value
    term_LB = grow_LB - grow_LB.detach() + uneven_L.detach()[:, None] * share_LB
    term_B = constraint.beta * (term_LB.sum(0) if constraint.reduce == "sum" else term_LB.mean(0))
    return loss + (term_B if loss.ndim else term_B.sum())


@torch.no_grad()
def totals(model: nn.Module, batch: Mapping[str, Any], constraint: Constraint = PLAIN) -> Tensor:
    """Returns [L, 3]: for each layer the sums that give σ and μ. Those of all batches of a step add up to those of the step."""
    with recorded_routing(model) as (layers, weights):
        cross_entropy(model, batch, batch["labels"], 1)
    return _sums(_routed(model, layers, weights, batch, constraint), batch, constraint).sum(1)


def unevenness(whole_L3: Tensor, lbc: str = "cv2") -> Tensor:
    """Returns [L]: σ²/μ² or σ²/μ of each layer, from its `totals`."""
    n_L, first_L, second_L = whole_L3.unbind(-1)
    mean_L = first_L / n_L.clamp(min=1)
    variance_L = (second_L / n_L.clamp(min=1) - mean_L.square()).clamp(min=0)
    return variance_L / (mean_L.square() if lbc == "cv2" else mean_L).clamp(min=1e-10)


@contextmanager
def recorded_routing(model: nn.Module) -> Generator[tuple[list[ExpertLinear], dict[str, Tensor]]]:
    """Yields the layers of a model that route, and a dict that fills with their weights by layer name."""
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


def _routed(
    model: Any, layers: Sequence[ExpertLinear], weights: Mapping[str, Tensor], batch: Mapping[str, Any], how: Constraint
) -> list[Routed]:
    """For each layer that ran the means over the tokens that count, in fp32."""
    seq2seq = (model if hasattr(model, "config") else model.module).config.is_encoder_decoder
    routed = []
    for layer in (layer for layer in layers if layer.name in weights):
        present_N, w_HN = layer.bank.present_E, weights[layer.name]
        counted_BT = _counted(layer.name, batch, how.counted, seq2seq)
        w_BTHN = (w_HN.float() * present_N).expand(*counted_BT.shape, *w_HN.shape[-2:])
        share_BT = counted_BT / counted_BT.sum(1, keepdim=True).clamp(min=1)
        Q_BN = (w_BTHN.mean(2) * share_BT[..., None]).sum(1)
        with torch.no_grad():
            entropy_B = (torch.special.entr(w_BTHN).sum(-1).mean(2) * share_BT).sum(1)
        routed.append(Routed(layer.name, Q_BN, entropy_B, counted_BT.any(1).float(), present_N))
    return routed


def _counted(layer: str, batch: Mapping[str, Any], counted: str, seq2seq: bool) -> Tensor:
    """Returns [B, T]: 1 where a token counts. With an encoder the decoder reads the answer, except for cross-attention's k, v."""
    across = reads_encoder(layer)
    prompt_BT, answer_BT = batch["attention_mask"].bool(), batch["labels"] != IGNORED
    real_BT = answer_BT if seq2seq and "decoder" in layer.split(".") and not across else prompt_BT
    if counted == "all":
        return torch.ones_like(real_BT, dtype=torch.float)
    return (answer_BT if counted == "answer" and not seq2seq else real_BT).float()


def _sums(routed: Sequence[Routed], batch: Mapping[str, Any], constraint: Constraint) -> Tensor:
    """Returns [L, B, 3]: for each layer and sequence the number of Z, their sum, and the sum of their squares."""
    rows = []
    for one in routed:
        counted_BN = one.counted_B[:, None] * one.present_N
        Z_BN = (1 + constraint.delta * _sign(one, batch, constraint)) * one.Q_BN * counted_BN
        rows.append(torch.stack([counted_BN.sum(1), Z_BN.sum(1), Z_BN.square().sum(1)], -1))
    return torch.stack(rows) if rows else torch.zeros(0, len(batch["labels"]), 3)


def _sign(one: Routed, batch: Mapping[str, Any], constraint: Constraint) -> Tensor:
    """Returns 1 where the types match, -1 where they differ, 0 where there is none; `attract` changes the sign."""
    B, N = one.Q_BN.shape
    if not constraint.expert_types or "type_B" not in batch:
        return one.Q_BN.new_zeros(B, N)
    if len(constraint.expert_types) != N:
        raise Invalid(f"expert_types has {len(constraint.expert_types)} types; {one.layer} has {N} experts.")
    type_N = torch.tensor(constraint.expert_types, device=one.Q_BN.device)
    type_B1 = batch["type_B"][:, None]
    sign_BN = ((type_B1 == type_N).float() * 2 - 1) * (type_B1 >= 0)
    return sign_BN if constraint.match == "paper" else -sign_BN
