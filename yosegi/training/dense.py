"""Train whole weights, and keep what they became as an expert: the base is put back, bit for bit, whatever happens.

    ΔW = W_trained - W        the expert is its best cut to `rank` (Expert.from_delta); 0 keeps all of it

With the optimizer galore this is GaLore (Zhao et al. 2024, arXiv:2403.03507), with apollo APOLLO (Zhu et al. 2024,
arXiv:2412.05270), with adamw plain full fine-tuning. Only the weights of the chosen linears move, since a delta beside a linear
is what an expert can be: no biases, norms or embeddings.
"""

import inspect
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from yosegi import registry
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.layer import ExpertLinear
from yosegi.core.model import linears
from yosegi.engine.rows import data_hash
from yosegi.errors import Invalid, UnknownName
from yosegi.optimizers.galore import GaLore
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.card import card
from yosegi.training.reading import read, warn
from yosegi.training.settings import DenseSettings
from yosegi.training.sft import fit
from yosegi.training.trainer import ExpertTrainer
from yosegi.training.validation import Validation, Watch


def train(
    base: Base,
    examples: Sequence[Example],
    name: str,
    run: Run,
    settings: DenseSettings | None = None,
    *,
    task: str | Sequence[str] = (),
    resume: bool = True,
    validation: Validation | None = None,
) -> Expert:
    """The expert that the trained weights are against the base; the base is as it was.

    Args:
        base: its weights move while the training lasts.
        examples: what is learnt, in order.
        name: of the expert.
        run: gets the metrics, and the checkpoint while the training lasts.
        settings: how. `rank` is the expert's; GaLore's own stands in `optimizer_args`.
        task: what is learnt, by name.
        resume: go on from a checkpoint of the same training, if there is one.
        validation: texts on which it is measured while it learns.

    Raises:
        Diverged: the loss or the gradient stopped being finite; the last good checkpoint stays.
        Invalid: a checkpoint of another training is in the way, or a weight cannot be trained whole.
        KeyboardInterrupt: after the step was finished and saved.
    """
    settings = settings or DenseSettings()
    reading = read(base, examples, settings)
    warn([reading], settings)
    watch = Watch(base, validation, settings, run)
    what = {"name": name, "base_hash": base.hash, "data_hash": data_hash(reading.rows), **settings.model_dump()}
    with opened(base.model, linears(base.model, settings.targets)) as weights:
        optimizer = _optimizer(weights, settings)
        try:
            measured = fit(
                base, weights.parameters(), optimizer, reading, name, run, settings, what, resume, watch, DenseTrainer
            )
        finally:
            if isinstance(optimizer, GaLore):
                optimizer.release()
        tasks = [task] if isinstance(task, str) else list(task)
        state = (value for memory in optimizer.state.values() for value in memory.values())
        held = sum(value.numel() * value.element_size() for value in state if isinstance(value, Tensor))
        cut = Expert.from_delta(name, weights, settings.rank or weights.full_rank())
        error: float = cut.card["relative_error"]
        measured |= {"optimizer_mb": round(held / 2**20, 2), "energy_kept": round(1 - error**2, 6)}
        said = card(base, settings, tasks, what["data_hash"], measured)
        return Expert(name, cut.factors, {**said, **cut.card, "init": None, "init_seed": None})


class Weights(Mapping[str, Tensor]):
    """The weights that move: by layer what they have become, ΔW [O, I] in fp32, computed when asked for."""

    def __init__(self, layers: Mapping[str, nn.Module]):
        self.layers = layers
        self.before = {layer: module.weight.detach().to("cpu", copy=True) for layer, module in layers.items()}  # type: ignore[operator, union-attr]

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
        """What trains, by its name in the model."""
        return {f"{layer}.weight": module.weight for layer, module in self.layers.items()}  # type: ignore[misc]

    def full_rank(self) -> int:
        """The rank that loses nothing."""
        return max(min(W.shape) for W in self.before.values())

    @torch.no_grad()
    def restore(self) -> None:
        """As they were, bit for bit."""
        for layer, parameter in zip(self.layers, self.parameters().values(), strict=True):
            parameter.copy_(self.before[layer])
            parameter.grad = None


@contextmanager
def opened(model: nn.Module, layers: Sequence[str]) -> Generator[Weights]:
    """The weights of these linears train and nothing else does; afterwards the model is as it was.

    Raises:
        Invalid: there is none; experts stand in the model; a weight is quantised, or is not the linear's alone.
    """
    if any(isinstance(module, ExpertLinear) for module in model.modules()):
        raise Invalid("This model has experts in it; take them out before its weights are trained.")
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
            raise Invalid(f"The weight of {layer} is also that of {other}: a delta beside one of them cannot say so.")


def _optimizer(weights: Weights, settings: DenseSettings) -> torch.optim.Optimizer:
    make = registry.find("optimizers", settings.optimizer)
    known = list(inspect.signature(make).parameters)[3:]
    for argument in settings.optimizer_args:
        if argument not in known:
            raise UnknownName.among(f"argument of {settings.optimizer}", argument, known)
    betas = settings.adam_beta1, settings.adam_beta2
    return make(
        weights.parameters().values(),
        settings.learning_rate,
        weight_decay=settings.weight_decay,
        **({} if betas == (0.9, 0.999) else {"betas": betas}),  # not every inner optimiser has them
        **settings.optimizer_args,
    )


class DenseTrainer(ExpertTrainer):
    """The trainer of experts, over whole weights."""

    def __init__(self, *, run: Run, optimizer: torch.optim.Optimizer, **arguments: Any):
        self.galore = optimizer if isinstance(optimizer, GaLore) else None
        super().__init__(run=_Rows(run, self.galore), optimizer=optimizer, **arguments)
        if self.galore and self.galore.per_layer and self.accelerator.num_processes > 1:
            raise Invalid("per_layer updates before processes have told each other their gradients: use one process.")
        if not self.args.max_grad_norm and not (self.galore and self.galore.per_layer):
            self.args.max_grad_norm = float("inf")  # cuts nothing, but the norm is known, and whether it is finite

    def training_step(self, *arguments: Any, **more: Any) -> Tensor:
        """Layers that update themselves wait for the last micro-batch."""
        last = self.accelerator.sync_gradients or self.galore is None
        with nullcontext() if last else self.galore.accumulate():  # type: ignore[union-attr]
            return super().training_step(*arguments, **more)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if self.galore and self.galore.per_layer and not all(p.isfinite().all() for p in self.parameters.values()):
            raise self._diverged("gradient is not finite")  # nobody has seen it before the update
        super()._save_checkpoint(model, trial)


class _Rows(Run):
    """The run, told with every step what GaLore's look at the gradients has cost and found."""

    def __init__(self, run: Run, galore: GaLore | None):
        super().__init__(run.path)
        self.run, self.galore, self.before_s, self.before = run, galore, 0.0, 0

    def log(self, *rows: dict[str, Any], **row: Any) -> None:
        """Rows of metrics.jsonl; those of a step say more."""
        self.run.log(*(self._more(one) if "grad_norm" in one else one for one in (*rows, *([row] if row else []))))

    def _more(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.galore is None:
            return row
        row = row | {"refresh_s": round(self.galore.refresh_s - self.before_s, 4)}
        if self.galore.refreshed > self.before:
            row["captured"] = round(fmean(self.galore.captured.values()), 6)
        self.before_s, self.before = self.galore.refresh_s, self.galore.refreshed
        if self.galore.per_layer:
            row["grad_norm"] = None  # the gradients were gone before anybody could add them up
        return row
