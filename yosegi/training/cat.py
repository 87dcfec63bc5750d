"""CAT: the experts are finished, and how much each is heard is learnt from a small mix of what they learnt from.

    y = W x + Σ_e α_e s_e B_e A_e x        α alone moves (routers/static.py), by the answer loss

Prabhakar et al. 2024, "LoRA Soups: Merging LoRAs for Practical Skill Composition Tasks", arXiv:2410.13025. Their schedule cannot
move α from its random start: the learning rates of all steps add up to 0.08. So `moved` says how far α went. Every other
router that learns by the answer loss beside finished experts learns here as well: routers/softmax.py is the paper's baseline.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.mix import named
from yosegi.core.model import attach
from yosegi.core.router import Router
from yosegi.errors import UnknownName
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.joint import joint
from yosegi.training.settings import Settings

GRANULARITIES = ("module", "layer", "block", "global")


def cat(
    base: Base,
    experts: Sequence[Expert],
    router: Router,
    data: Mapping[str, Sequence[Example]],
    run: Run,
    settings: Settings,
    *,
    name: str = "cat",
    mix: str = "outputs",
    granularity: str = "module",
    learnt: Mapping[str, Tensor] | None = None,
    resume: bool = True,
) -> dict[str, Tensor]:
    """What the router has learnt (`Banks.router_state`); the experts and the base are as they were.

    Args:
        base: what they stand beside.
        experts: finished; ranks and layers may differ.
        router: `Static` for CAT, or another that learns by answers.
        data: the small mix, by task. The tasks need not be those of the experts.
        run: gets the metrics under `name`, and the checkpoint while the training lasts.
        settings: how; `learning_rate` is the router's, and LoRA's own settings say nothing here.
        name: in the metrics.
        mix: outputs or factors.
        granularity: who shares a weight. module: nobody; layer: the linears of one block; block: those of one kind, attention
            or MLP, in all blocks; global: all.
        learnt: where the router begins (`begin`).
        resume: go on from a checkpoint of the same training, if there is one.

    Raises:
        Diverged: the loss or the gradient stopped being finite.
    """
    if granularity not in GRANULARITIES:
        raise UnknownName.among("granularity", granularity, GRANULARITIES)
    settings = settings.model_copy(update={"dropout": 0.0})  # of the experts' input; they do not learn
    return joint(
        base,
        experts,
        router,
        data,
        run,
        settings,
        name=name,
        mix=mix,
        learnt=learnt,
        router_only=True,
        together=None if granularity == "module" else lambda layer: group(layer, granularity),
        resume=resume,
    )[1]


def begin(base: Base, experts: Sequence[Expert], router: Router, mix: str = "outputs") -> dict[str, Tensor]:
    """Where the router stands before it learns, as `Banks.router_state` says it: the control that has not been trained."""
    banks = attach(base.model, experts, router, named(mix))
    try:
        return {key: value.detach().cpu().clone() for key, value in banks.router_state().items()}
    finally:
        banks.detach()


def moved(start: Mapping[str, Tensor], learnt: Mapping[str, Tensor]) -> float:
    """How far a weight went, on average (root mean square over all that was learnt)."""
    now = {
        key: learnt[key] if key in learnt else learnt["|" + key.rpartition("|")[2]] for key in start
    }  # or one for all layers
    squares = [(now[key].cpu().float() - start[key].cpu().float()).square() for key in start]
    return (sum(float(square.sum()) for square in squares) / sum(square.numel() for square in squares)) ** 0.5


def group(layer: str, granularity: str) -> str:
    """With whom a layer shares its weights: model.layers.3.mlp.up_proj is of the layer model.layers.3 and of the block mlp."""
    if granularity == "layer":
        found = re.match(r"(.*?\.\d+)\.", layer)
        return found[1] if found else layer
    if granularity == "block":
        return next((part for part in reversed(layer.split(".")[:-1]) if not part.isdigit()), layer)
    return layer if granularity == "module" else ""
