"""CAT: the experts are finished, and the routing weight of each is learnt from a small mix of what they learnt from.

    y = W x + Σ_e α_e s_e B_e A_e x        α alone is trained (routers/static.py), by the answer loss

Prabhakar et al. 2024, "LoRA Soups: Merging LoRAs for Practical Skill Composition Tasks", arXiv:2410.13025. Their schedule cannot
move α from its random start: the learning rates of all steps add up to 0.08. So `moved` says how far α went. Every other
router that learns by the answer loss beside finished experts learns here as well: routers/softmax.py is the paper's baseline.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.router import Router
from yosegi.engine.arm import Arm
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.joint import joint
from yosegi.training.loop import attached
from yosegi.training.settings import Settings


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
    **options: Any,
) -> Arm:
    """Returns the experts under their trained router; they and the base are as they were.

    Args:
        base: what they stand beside.
        experts: finished; ranks and layers may differ.
        router: `Static` for CAT, or another that learns by answers.
        data: the small mix, by task. The tasks need not be those of the experts.
        run: gets the metrics under `name`, and the checkpoint while the training lasts.
        settings: how; `learning_rate` is the router's, and LoRA's own settings say nothing here.
        name: in the metrics.
        mix: outputs or factors.
        options: `granularity`, `state`, `resume` and others of `joint`.

    Raises:
        Diverged: the loss or the gradient stopped being finite.
    """
    settings = settings.model_copy(update={"dropout": 0.0})  # of the experts' input; they do not learn
    return joint(base, experts, router, data, run, settings, name=name, mix=mix, router_only=True, **options)


def begin(base: Base, experts: Sequence[Expert], router: Router, mix: str = "outputs") -> dict[str, Tensor]:
    """Where the router stands before it learns, as `Banks.router_state` has it: the control that has not been trained."""
    with attached(base, experts, router, mix) as banks:
        return {key: value.detach().cpu().clone() for key, value in banks.router_state().items()}


def moved(start: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> float:
    """How far a weight went, on average (root mean square over all that was learnt)."""
    now = {
        key: state[key] if key in state else state["|" + key.rpartition("|")[2]] for key in start
    }  # or one for all layers
    squares = [(now[key].cpu().float() - start[key].cpu().float()).square() for key in start]
    return (sum(float(square.sum()) for square in squares) / sum(square.numel() for square in squares)) ** 0.5
