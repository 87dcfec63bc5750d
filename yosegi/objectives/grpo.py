"""GRPO: of several answers to one question, the better ones become more likely, within a clipped distance of the old policy.

Shao et al. 2024, "DeepSeekMath", arXiv:2402.03300.     ρ = p / p_old,  A the advantage of the answer

    -min(ρ A, clip(ρ, 1 ± ε) A)  +  kl (p_ref / p - log(p_ref / p) - 1)          for each token of the answer
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from yosegi.objectives import IGNORED, log_probabilities
from yosegi.objectives import targets as targets


def grpo(
    model: nn.Module, batch: Mapping[str, Any], tokens: Tensor | int, kl: float = 0.04, clip: float = 0.2,
    temperature: float = 1.0,
) -> Tensor:  # fmt: skip
    """Returns the sum over the answers' tokens (`batch["labels"]`), divided by `tokens`.

    If `tokens` is the number of tokens in the step, this is the mean over all tokens (TRL's "bnpo"); if it is each sequence's
    length times the number of sequences, it is the mean over sequences of their means, as in the paper.

    Args:
        model: the policy.
        batch: has, besides ids, mask and labels, `advantage_B`, and may have `old_BT` and `reference_BT`: log p of the labels
            when the answers were sampled, and under the reference. Without the first p_old is p; without the second there is
            no kl.
        tokens: the divisor.
        kl: the weight of the divergence from the reference.
        clip: ε.
        temperature: the temperature at which the answers were sampled.
    """
    return clipped(log_probabilities(model, batch, batch["labels"], temperature), batch, tokens, kl, clip)


def clipped(
    logp_BT: Tensor, batch: Mapping[str, Any], tokens: Tensor | int, kl: float = 0.04, clip: float = 0.2
) -> Tensor:
    """Returns the same from log p that are already known."""
    real_BT, gain_B1 = batch["labels"] != IGNORED, batch["advantage_B"][:, None]
    ratio_BT = (logp_BT - batch.get("old_BT", logp_BT.detach())).exp()
    loss_BT = -(ratio_BT * gain_B1).minimum(ratio_BT.clamp(1 - clip, 1 + clip) * gain_B1)
    if kl and "reference_BT" in batch:
        loss_BT = loss_BT + kl * divergence(logp_BT, batch["reference_BT"])
    loss_B = (loss_BT * real_BT).sum(1)
    return loss_B / tokens if isinstance(tokens, Tensor) and tokens.ndim else loss_B.sum() / tokens


def divergence(logp_BT: Tensor, reference_BT: Tensor) -> Tensor:
    """Returns the k3 estimate of KL(p || p_ref) at each sampled token, never negative (Schulman 2020)."""
    apart_BT = reference_BT - logp_BT
    return apart_BT.exp() - apart_BT - 1
