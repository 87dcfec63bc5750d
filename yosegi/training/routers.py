"""Teach a router what it cannot read off finished experts, beside the experts and from examples of their tasks.

    inputs     a few examples go through the model, each read with its own expert, and the layers' inputs are averaged
    prompts    every prompt becomes one vector (sentences.py), and the router learns whose it is
    gates      each expert's own gates descend on the expert's own data, those of all experts at once
    answers    the answer loss on a mix of tasks, all experts heard as the router says (cat.py)

How a router learns is written in its class (`Router.learns`). The experts stay as they are.
Shapes: B sequences, T tokens, I in, E experts, N prompts, F features.
"""

import hashlib
import inspect
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from yosegi import registry
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.layer import ExpertLinear
from yosegi.core.model import Banks, attach
from yosegi.core.router import Router
from yosegi.engine.features import features
from yosegi.engine.rows import collate, data_hash, order, pad_id, tokenise
from yosegi.errors import Diverged, Invalid, NoData, UnknownName
from yosegi.objectives import IGNORED
from yosegi.progress import progress
from yosegi.routers.by_request import ByRequest
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.cat import cat
from yosegi.training.descent import Lesson, descend
from yosegi.training.settings import Settings
from yosegi.training.update import Part

Rows = list[dict[str, list[int]]]


class Plan(NamedTuple):
    """How much of what.

    Args:
        steps: of gradient; 0 where there is none.
        lr: its learning rate.
        batch: sequences at a time; for gates, of each expert in a step.
        limit: examples of each task, drawn by the seed; None for all.
    """

    steps: int
    lr: float
    batch: int
    limit: int | None


PLANS = {
    "inputs": Plan(0, 0.0, 16, 10),
    "prompts": Plan(500, 1e-3, 64, 500),
    "gates": Plan(100, 5e-3, 8, None),
    "answers": Plan(100, 1e-2, 16, 500),
}
"""By how a router learns; the papers' numbers where there are some (but PHATGOOSE's batch is 1024)."""


def fit(
    base: Base,
    experts: Sequence[Expert],
    router: str,
    router_args: Mapping[str, Any],
    data: Mapping[str, Sequence[Example]],
    run: Run,
    *,
    seed: int = 0,
    steps: int | None = None,
    lr: float | None = None,
    batch: int | None = None,
    limit: int | None = None,
    max_length: int = 1024,
    mix: str = "outputs",
    granularity: str = "module",
    name: str | None = None,
    resume: bool = True,
) -> dict[str, Tensor]:
    """What the router has learnt (`Banks.router_state`), on the CPU; the base is as it was.

    Args:
        base: what the experts stand beside.
        experts: in the order that what is learnt will keep.
        router: a method of `routers` that learns beside finished experts.
        router_args: its hyper-parameters.
        data: training examples by task. An expert's are those of the tasks that its card names.
        run: gets the metrics, and for gates the checkpoint while it lasts.
        seed: of the examples drawn, their order, and any start.
        steps: of gradient. None here, and for the three below, means what `PLANS` says.
        lr: the learning rate.
        batch: sequences at a time; for gates, of each expert in a step.
        limit: examples of each task.
        max_length: longest sequence, in tokens.
        mix: what it is going to be used with; those that learn by answers learn with it.
        granularity: which layers share what they learn by answers (cat.py).
        name: what the metrics and the checkpoint call it; by default the router's.
        resume: go on from the checkpoint of the same gates, if there is one.

    Raises:
        Invalid: the router has nothing to learn like this.
        NoData: some task has no examples.
        Diverged: the loss of some expert's gates stopped being finite.
    """
    make = learner(router, router_args)
    said = {k: v for k, v in {"steps": steps, "lr": lr, "batch": batch, "limit": limit}.items() if v is not None}
    if wrong := [f"{what}={value}" for what, value in said.items() if not value > 0]:
        raise Invalid(f"{wrong[0]}: it has to be more than nothing.")
    plan, method = PLANS[str(make.learns)]._replace(**said), make(**router_args)
    if make.learns == "answers":
        some = {
            t: [few[i] for i in order(len(few), min(len(few), plan.limit or len(few)), seed)] for t, few in data.items()
        }
        how = Settings(
            learning_rate=plan.lr, max_steps=plan.steps, per_device_train_batch_size=plan.batch, max_length=max_length, seed=seed
        )  # fmt: skip
        return cat(
            base, experts, method, some, run, how, name=name or router, mix=mix, granularity=granularity, resume=resume
        )  # fmt: skip
    chosen = _chosen(experts, router, getattr(method, "tasks", ()), data, plan.limit, seed)

    banks = attach(base.model, experts, method)
    base.model.eval()
    try:
        work = _Work(base, banks, method, experts, chosen, run, name or router, plan, seed, max_length, resume)
        {"inputs": _inputs, "prompts": _prompts, "gates": _gates}[str(make.learns)](work)
        return {key: value.detach().cpu().clone() for key, value in banks.router_state().items()}
    finally:
        banks.detach()
        base.model.eval()


def learner(router: str, router_args: Mapping[str, Any]) -> type[Router]:
    """The class of a router that `fit` can teach, with these arguments."""
    make = registry.find("routers", router)
    if make.learns not in PLANS:
        why = "it learns together with its experts" if make.learns else "it reads all it needs off the experts"
        raise Invalid(f"The router {router} has nothing to learn beside finished experts: {why}.")
    known = inspect.signature(make).parameters
    if unknown := sorted(set(router_args) - set(known)):
        raise UnknownName.among(f"argument of {router}", unknown[0], known)
    return make


@dataclass(frozen=True)
class _Work:
    """Everything that any way of learning asks for."""

    base: Base
    banks: Banks
    router: Any
    experts: Sequence[Expert]
    data: Mapping[str, list[Example]]
    run: Run
    name: str
    plan: Plan
    seed: int
    max_length: int
    resume: bool

    def rows(self) -> dict[str, Rows]:
        """The tokens of each expert's examples."""
        rows = {task: tokenise(self.base, some, self.max_length) for task, some in self.data.items()}
        return {expert.name: [row for task in expert.tasks for row in rows[task]] for expert in self.experts}


def _chosen(
    experts: Sequence[Expert],
    router: str,
    tasks: Sequence[str],
    data: Mapping[str, Sequence[Example]],
    limit: int | None,
    seed: int,
) -> dict[str, list[Example]]:
    """The examples of each task: of the experts' own, unless the router names others."""
    for expert in experts:
        if not expert.tasks:
            raise Invalid(
                f"Expert {expert.name!r} does not say what it was trained on, so {router} has nothing to learn it by."
            )
    chosen: dict[str, list[Example]] = {}
    for task in tasks or sorted({task for expert in experts for task in expert.tasks}):
        if not (some := data.get(task)):
            raise NoData(f"The router {router} learns from examples of {task!r}, and there are none of it.")
        chosen[task] = [some[i] for i in order(len(some), min(len(some), limit or len(some)), seed)]
    return chosen


@torch.no_grad()
def _inputs(work: _Work) -> None:
    """Every layer's inputs, read with the expert whose example it is."""
    base, banks, device = work.base, work.banks, next(work.base.model.parameters()).device
    asked = [(expert, row) for expert, rows in work.rows().items() for row in rows]
    asked.sort(key=lambda pair: -len(pair[1]["input_ids"]))
    sums = {layer: torch.zeros(len(banks.names), bank.A_ERI.shape[-1], device=device) for layer, bank in banks.items()}
    masks: dict[int, Tensor] = {}

    def listen(layer: str) -> Callable[..., None]:
        def hear(module: nn.Module, seen: tuple[Tensor, ...]) -> None:
            asked_B = cast(Tensor, banks.context.expert_B)
            sums[layer].index_add_(0, asked_B, work.router.read(seen[0], masks[seen[0].shape[1]]))

        return hear

    banks.route(ByRequest())
    hooks = [module.register_forward_pre_hook(listen(layer)) for layer, module in banks.layers.items()]
    model: Any = base.model
    if not base.seq2seq and not isinstance(model.get_output_embeddings(), ExpertLinear):
        model = model.base_model  # nobody looks at the logits
    try:
        with progress(f"fit {work.name}", len(asked)) as bar:
            for start in range(0, len(asked), work.plan.batch):
                some = asked[start : start + work.plan.batch]
                batch = _tensors(base, [row for _, row in some], masks)
                banks.set_batch(experts=[expert for expert, _ in some])
                model(**{key: value.to(device) for key, value in batch.items()})
                bar.advance(len(some))
    finally:
        for hook in hooks:
            hook.remove()
    banks.route(work.router)
    for layer, module in banks.layers.items():
        cast(Any, module.router).fit(sums[layer])  # a sum points where the mean does


def _tensors(base: Base, rows: Rows, masks: dict[int, Tensor]) -> dict[str, Tensor]:
    """A batch of prompts and answers without the end-of-text token, which is the same for all; `masks` by their length."""
    masks.clear()
    together = collate(pad_id(base))
    if not base.seq2seq:
        batch = together([{key: value[:-1] or value for key, value in row.items()} for row in rows])
        masks[batch["input_ids"].shape[1]] = batch["attention_mask"]
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    batch = together(rows)  # the decoder reads one token later than it writes, so it never sees the end either
    if batch["input_ids"].shape == batch["labels"].shape:  # then a layer's length would not say on which side it is
        batch |= {key: pad(batch[key], (0, 1)) for key in ("input_ids", "attention_mask")}
    masks[batch["input_ids"].shape[1]] = batch["attention_mask"]
    masks[batch["labels"].shape[1]] = batch["labels"] != IGNORED
    return batch


def _prompts(work: _Work) -> None:
    """The features of every prompt, and the router's own `fit`."""
    router: Any = next(iter(work.banks.layers.values())).router  # they all share what is learnt
    prompts = [(example.prompt, task) for task, some in work.data.items() for example in some]
    train = {"seed": work.seed, "steps": work.plan.steps, "lr": work.plan.lr, "batch": work.plan.batch}
    descends = "steps" in inspect.signature(router.fit).parameters
    work.run.rewind(0, expert=work.name)
    started = time.monotonic()
    with progress(f"fit {work.name}", len(prompts) + work.plan.steps * descends) as bar:

        def log(step: int, loss: float) -> None:
            if loss != loss or loss == float("inf"):
                raise Diverged(f"The router {work.name}: the loss is {loss} at step {step}. Lower its learning rate.")
            wall_s = round(time.monotonic() - started, 2)
            work.run.log(step=step, stage="train-router", expert=work.name, loss=loss, lr=work.plan.lr, wall_s=wall_s)
            bar.advance(note=f"loss {loss:.3f}")

        found = []
        for start in range(0, len(prompts), 256):
            texts = [prompt for prompt, _ in prompts[start : start + 256]]
            found.append(features(work.base, texts, work.banks, getattr(router, "encoder", "")))
            bar.advance(len(texts))
        router.fit(torch.cat(found), [task for _, task in prompts], **({**train, "log": log} if descends else {}))


def _gates(work: _Work) -> None:
    """One descent for the gates of all experts: each on its own data, as if it were alone."""
    base, banks, plan = work.base, work.banks, work.plan
    for factor in banks.parameters().values():
        factor.requires_grad_(False)
    routers = {layer: cast(Any, module.router) for layer, module in banks.layers.items()}
    gates = {layer: router.begin() for layer, router in routers.items()}
    rows = work.rows()
    lessons = [Lesson(f"{work.name} {e}", rows[e], [e] * len(rows[e]), plan.steps, plan.batch) for e in banks.names]
    settings = Settings(
        learning_rate=plan.lr,
        max_steps=plan.steps,
        lr_scheduler_type="constant_with_warmup",
        per_device_train_batch_size=plan.batch,
        max_length=work.max_length,
        seed=work.seed,
    )
    whose = [[expert.name, expert.card.get("sha256"), data_hash(rows[expert.name])] for expert in work.experts]
    digest = hashlib.sha256(repr(whose).encode()).hexdigest()[:12]
    what = {"name": work.name, "base_hash": base.hash, "experts": digest, **settings.model_dump()}
    folder = work.run.path / "checkpoint" / f"fit {work.name}"
    outcome = descend(
        base,
        banks,
        lessons,
        [Part(gates, plan.lr, plan.steps)],
        work.run,
        settings,
        needs="experts",
        what=what,
        folder=folder,
        title=f"fit {work.name}",
        resume=work.resume,
    )
    for name, step in outcome.diverged.items():
        raise Diverged(f"The gates of {name!r} diverged at step {step}. Fit them anew with a lower learning rate.")
    for router in routers.values():
        router.end()
    shutil.rmtree(folder, ignore_errors=True)
