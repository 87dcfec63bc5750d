"""Train whole weights, and keep what they became as an expert: the base is put back, bit for bit, whatever happens.

    ΔW = W_trained - W        the expert is its best cut to `rank` (Expert.from_delta); 0 keeps all of it

With the optimizer galore this is GaLore (Zhao et al. 2024, arXiv:2403.03507), with apollo APOLLO (Zhu et al. 2024,
arXiv:2412.05270), with adamw plain full fine-tuning. Only the weights of the chosen linears move, since a delta beside a linear
is what an expert can be: no biases, norms or embeddings.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.layer import ExpertLinear
from yosegi.core.model import linears
from yosegi.engine.rows import data_hash
from yosegi.engine.whole import save_weights
from yosegi.errors import Invalid
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.data import LearnerData, steps_of
from yosegi.training.job import ExpertOptions, Job
from yosegi.training.loop import train_loop
from yosegi.training.precision import wants_bf16
from yosegi.training.settings import DenseSettings
from yosegi.training.update import Part


def train(
    base: Base,
    examples: Sequence[Example],
    name: str,
    run: Run,
    settings: DenseSettings | None = None,
    *,
    task: str | Sequence[str] = (),
    weights_to: Path | None = None,
    **options: Unpack[ExpertOptions],
) -> Expert:
    """Returns the expert that the trained weights are against the base; the base is as it was.

    Args:
        base: its weights move while the training lasts.
        examples: the training data, in order.
        name: of the expert.
        run: gets the metrics, and the checkpoint while the training lasts.
        settings: `rank` is the expert's; GaLore's own stands in `optimizer_args`.
        task: the names of the tasks.
        weights_to: a folder that gets the trained weights themselves, uncut: the `base_delta` of an arm (engine/whole.py).
        options: see `ExpertOptions`.

    Raises:
        Diverged: the loss or the gradient stopped being finite; the last good checkpoint stays.
        Invalid: a checkpoint of another training is in the way, or a weight cannot be trained whole.
        KeyboardInterrupt: after the step was finished and saved.
    """
    settings = settings or DenseSettings()
    if base.dtype == "bf16" and not wants_bf16(base, settings.precision):
        raise Invalid(f"{base.name} is held in bf16: to train its weights in fp32, load it so (--dtype fp32).")
    job = Job(base, run, settings, **options)
    job.share(name)
    data = job.read({name: examples})[name]
    steps, batch = steps_of(len(data.rows), settings, job.sharing)
    learner, tasks = LearnerData(name, data.rows, (), steps, batch), [task] if isinstance(task, str) else list(task)
    with opened(base.model, linears(base.model, settings.targets)) as weights:
        parts = [Part(weights.parameters(), settings.learning_rate, steps)]
        outcome = train_loop(job, None, [learner], parts, f"train {name}")
        cut = Expert.from_delta(name, weights, settings.rank or weights.full_rank())
        if weights_to is not None and job.writes:
            save_weights(weights_to, base, weights.parameters())
    error: float = cut.card["relative_error"]
    metrics = {"steps": steps, **data.counts, "tokens": outcome.tokens, "energy_kept": round(1 - error**2, 6)}
    fields = job.card(outcome, name, tasks, data_hash(data.rows), metrics, **cut.card, init=None, init_seed=None)
    expert = Expert(name, cut.factors, fields)
    if job.writes:
        job.keep(expert)
    job.finish()
    return expert


class Weights(Mapping[str, Tensor]):
    """The weights that are trained: layer -> ΔW [O, I] in fp32, computed when asked for. While they are trained they are held in
    fp32, since bf16 would round small steps away; the forward pass casts them (autocast)."""

    def __init__(self, layers: Mapping[str, nn.Module]):
        self.layers = layers
        self.before = {layer: module.weight.detach().to("cpu", copy=True) for layer, module in layers.items()}  # type: ignore[operator, union-attr]
        for parameter in self.parameters().values():
            parameter.data = parameter.data.float() if parameter.dtype == torch.bfloat16 else parameter.data

    def __getitem__(self, layer: str) -> Tensor:
        module = self.layers[layer]
        now: Tensor = module.weight.detach()  # type: ignore[assignment, operator]
        delta = now.float() - self.before[layer].to(now.device).float()
        return delta if isinstance(module, nn.Linear) else delta.mT  # GPT-2's Conv1D has it transposed

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Returns the trained weights, by their name in the model."""
        return {f"{layer}.weight": module.weight for layer, module in self.layers.items()}  # type: ignore[misc]

    def full_rank(self) -> int:
        """Returns the rank that loses nothing."""
        return max(min(W.shape) for W in self.before.values())

    @torch.no_grad()
    def restore(self) -> None:
        """Puts the weights back as they were, bit for bit."""
        for layer, parameter in zip(self.layers, self.parameters().values(), strict=True):
            parameter.grad = None
            if parameter.dtype == self.before[layer].dtype:
                parameter.copy_(self.before[layer])
            else:
                parameter.data = self.before[layer].to(parameter.device)


@contextmanager
def opened(model: nn.Module, layers: Sequence[str]) -> Generator[Weights]:
    """The weights of these linears are trained and nothing else is; afterwards the model is as it was.

    Raises:
        Invalid: there is none; experts stand in the model; a weight is quantised, or is not the linear's alone.
    """
    if any(isinstance(module, ExpertLinear) for module in model.modules()):
        raise Invalid("This model has experts in it; detach them before its weights are trained.")
    modules = dict(model.named_modules())
    _check(model, {layer: modules[layer] for layer in layers})
    weights = Weights({layer: modules[layer] for layer in layers})
    trainable = {name: p.requires_grad for name, p in model.named_parameters()}
    model.requires_grad_(False)
    try:
        for parameter in weights.parameters().values():
            parameter.requires_grad_(True)
        yield weights
    finally:
        weights.restore()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trainable[name])
        model.eval()


def _check(model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    if not layers:
        raise Invalid("These targets leave no linear to train.")
    users: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        for parameter in module.parameters(recurse=False):
            users.setdefault(id(parameter), []).append(name)
    for layer, module in layers.items():
        W: Any = module.weight
        if not isinstance(W, nn.Parameter) or not W.is_floating_point():
            raise Invalid(f"The weight of {layer} is quantised: it cannot be trained whole.")
        if len(users[id(W)]) > 1:
            other = next(name for name in users[id(W)] if name != layer)
            raise Invalid(
                f"The weight of {layer} is also that of {other}: a delta beside one of them cannot express it."
            )
