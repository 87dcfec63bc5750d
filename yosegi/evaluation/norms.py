"""How much each expert moves the inputs of each task: does a delta know its own inputs?

    ratio = ‖ΔW_own x‖ / ‖ΔW_other x‖

averaged over the real tokens of an example, then over the layers as a geometric mean. Ostapenko et al. 2024, arXiv:2405.11157,
build Arrow on this ratio being above 1; their code takes the norm of the layer's whole output, this is that of the delta alone.
Shapes: B sequences, T tokens, E experts, R rank, I in, O out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import attach
from yosegi.engine.rows import to_batch, tokenise
from yosegi.progress import progress
from yosegi.routers.by_request import ByRequest
from yosegi.tasks import Example


@torch.no_grad()
def norm_ratios(
    base: Base, experts: Sequence[Expert], examples: Sequence[Sequence[Example]], max_length: int = 1024
) -> dict[str, list[float]]:
    """Returns own over other, a number for each example of an expert's own task and each other expert. "raw" is the ratio above;
    "equal size" divides each ΔW by its Frobenius norm first, since a large delta moves everything. The base reads alone."""
    banks = attach(base.model, experts, ByRequest())
    through: dict[str, Tensor] = {}
    size: dict[str, Tensor] = {}
    for layer, bank in banks.items():
        A_ERI, B_EOR = bank.stacked()
        R_ERR = torch.linalg.qr(B_EOR.float(), mode="r").R  # ‖B A x‖ = ‖R A x‖
        through[layer] = bank.scale_E[:, None, None] * (R_ERR @ A_ERI.float())
        size[layer] = through[layer].flatten(1).norm(dim=1)
    moved: dict[str, Tensor] = {}
    mask_BT = torch.empty(0)

    def listen(layer: str) -> Callable[..., None]:
        def measure(_: Any, inputs: tuple[Tensor, ...]) -> None:
            norm_BTE = torch.einsum("bti,eri->bter", inputs[0].float(), through[layer]).norm(dim=-1)
            moved[layer] = (norm_BTE * mask_BT[..., None]).sum(1) / mask_BT.sum(1, keepdim=True)

        return measure

    hooks = [module.register_forward_pre_hook(listen(layer)) for layer, module in banks.layers.items()]
    values: dict[str, list[float]] = {"raw": [], "equal size": []}
    try:
        with banks.disabled(), progress("norms", len(examples)) as bar:
            for task, several in enumerate(examples):
                batch = to_batch(base, tokenise(base, several, max_length))
                mask_BT = batch["attention_mask"]
                base.model(**batch)
                for what, ratios in values.items():
                    norms = [v / size[layer] if what == "equal size" else v for layer, v in moved.items()]
                    log_BE = torch.stack([norm.clamp(min=1e-12).log() for norm in norms]).mean(0)
                    ratio_BE = (log_BE[:, task : task + 1] - log_BE).exp()
                    ratios += ratio_BE[:, [e for e in range(len(experts)) if e != task]].flatten().tolist()
                bar.advance()
    finally:
        for hook in hooks:
            hook.remove()
        banks.detach()
    return values
