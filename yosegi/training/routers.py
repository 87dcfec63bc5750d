"""Teach a router what it cannot read off finished experts, beside the experts and from examples of their tasks.

    inputs     a few examples go through the model, each read with its own expert, and the layers' inputs are averaged
    prompts    every prompt becomes one vector (engine/features.py), and the router learns whose it is
    gates      each expert's own gates are trained on the expert's own data, those of all experts at once
    answers    the answer loss on a mix of tasks, all experts weighted as the router says (joint.py)

How a router learns is written in its class (`Router.learns`). The experts stay as they are.
Shapes: B sequences, T tokens, I in, E experts, N prompts, F features.
"""

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from yosegi import registry
from yosegi.bases import Base, short_hash
from yosegi.core.expert import Expert
from yosegi.core.layer import ExpertLinear
from yosegi.core.model import Banks
from yosegi.core.router import Router
from yosegi.engine.arm import Arm
from yosegi.engine.features import features
from yosegi.engine.rows import Row, data_hash, order, to_batch, tokenise
from yosegi.errors import Diverged, Invalid, NoData, UnknownName
from yosegi.objectives import IGNORED
from yosegi.progress import progress
from yosegi.routers.by_request import ByRequest
from yosegi.run import Run
from yosegi.spec import arguments
from yosegi.tasks import Example
from yosegi.training.data import LearnerData, digest_of
from yosegi.training.job import Job, attached
from yosegi.training.joint import joint, state_of
from yosegi.training.loop import train_loop
from yosegi.training.settings import RouterSettings, Schedule, Settings
from yosegi.training.update import Part

DEFAULTS: dict[str, dict[str, Any]] = {
    "inputs": {"batch_size": 16, "limit": 10},
    "prompts": {"steps": 500, "learning_rate": 1e-3, "batch_size": 64, "limit": 500},
    "gates": {"steps": 100, "learning_rate": 5e-3, "batch_size": 8, "limit": None},
    "answers": {"steps": 100, "learning_rate": 1e-2, "batch_size": 16, "limit": 500},
}
"""By how a router learns; the papers' numbers where there are some (but PHATGOOSE's batch is 1024)."""


def train_arm(
    base: Base,
    arm: Arm,
    data: Mapping[str, Sequence[Example]],
    run: Run,
    settings: RouterSettings | None = None,
    *,
    name: str | None = None,
    resume: bool = True,
) -> Arm:
    """Returns the arm with its router trained; its experts and the base are as they were.

    Args:
        base: what the experts are attached to.
        arm: experts, in the order that the router will keep, and a router that learns beside finished experts. Those that
            learn by answers learn with the arm's mix.
        data: training examples by task. An expert's are those of the tasks that its card names.
        run: gets the metrics, and the checkpoint while a training by gradient lasts.
        settings: how much of what; what they leave open is as `DEFAULTS` has it.
        name: of the trained arm, in the metrics and of the checkpoint; by default the arm's.
        resume: go on from the checkpoint of the same training, if there is one.

    Raises:
        Invalid: the router has nothing to learn like this.
        NoData: some task has no examples.
        Diverged: the loss stopped being finite.
    """
    make, name, experts = check_learns(arm), name or arm.name, arm.experts
    given = (settings or RouterSettings()).model_dump()
    how = RouterSettings(**{**given, **{k: v for k, v in DEFAULTS[str(make.learns)].items() if given[k] is None}})
    method = make(**arm.router_args)
    tasks = list(data) if make.learns == "answers" else _tasks_of(experts, arm.router, getattr(method, "tasks", ()))
    if missing := [task for task in tasks if not data.get(task)]:
        raise NoData(f"The router {arm.router} learns from examples of {missing[0]!r}, and there are none of it.")
    drawn = {
        task: [rows[i] for i in order(len(rows), min(len(rows), how.limit or len(rows)), how.seed)]
        for task, rows in ((task, data[task]) for task in tasks)
    }
    training: dict[str, Any] = {**how.model_dump(), "mix": arm.mix, "template": short_hash(base.chat_template)}
    if make.learns == "answers":
        made = joint(
            base, experts, method, drawn, run, _by_gradient(how, "linear"),
            name=name, mix=arm.mix, granularity=how.granularity, resume=resume, router_only=True,
        )  # fmt: skip
        return replace(made, router_args=dict(arm.router_args), training={**training, "moved": made.training["moved"]})
    tokenised = {task: tokenise(base, examples, how.max_length) for task, examples in drawn.items()}
    with attached(base, experts, method) as banks:
        base.model.eval()
        if make.learns == "prompts":
            _prompts(base, banks, drawn, run, name, how)
        else:
            rows = {expert.name: [row for task in expert.tasks for row in tokenised[task]] for expert in experts}
            if make.learns == "inputs":
                _inputs(base, banks, method, rows, name, how)
            else:
                _gates(
                    Job(base, run, _by_gradient(how, "constant_with_warmup"), resume=resume), banks, experts, rows, name
                )
        state = state_of(banks)
    learnt_from = [row for rows in tokenised.values() for row in rows]
    known = {"tasks": tuple(data), "data_hash": data_hash(learnt_from), "training": training}
    return replace(arm, name=name, router_state=state, **known)


def check_learns(arm: Arm) -> type[Router]:
    """Returns the class of an arm's router, which `train_arm` can train.

    Raises:
        Invalid: it has nothing to learn beside finished experts.
    """
    if arm.merge or not arm.experts or arm.weights is not None:
        raise Invalid(f"{arm.name} has no router that could learn: name one, as in softmax(a,b).")
    make = registry.find("routers", arm.router)
    if make.learns not in DEFAULTS:
        why = "it learns together with its experts" if make.learns else "it reads all it needs off the experts"
        raise Invalid(f"The router {arm.router} has nothing to learn beside finished experts: {why}.")
    UnknownName.check(f"argument of {arm.router}", arm.router_args, arguments("routers", arm.router))
    if arm.ablate or arm.heads != 1:
        raise Invalid(f"The router {arm.router} is trained beside whole experts: without ablate and heads.")
    return make


def _by_gradient(how: RouterSettings, schedule: Schedule) -> Settings:
    """Returns the settings of a loop over rows."""
    sizes: dict[str, Any] = {"max_steps": how.steps, "per_device_train_batch_size": how.batch_size}
    return Settings(
        **sizes, learning_rate=how.learning_rate or 0.0, lr_scheduler_type=schedule, max_length=how.max_length,
        save_steps=how.save_steps, seed=how.seed, dropout=0,
    )  # fmt: skip


def _tasks_of(experts: Sequence[Expert], router: str, tasks: Sequence[str]) -> list[str]:
    """Returns the experts' own tasks, unless the router names others."""
    for expert in experts:
        if not expert.tasks:
            raise Invalid(
                f"Expert {expert.name!r} does not say what it was trained on, so {router} has nothing to learn it by."
            )
    return list(tasks) or sorted({task for expert in experts for task in expert.tasks})


@torch.no_grad()
def _inputs(
    base: Base, banks: Banks, router: Any, rows: Mapping[str, list[Row]], name: str, how: RouterSettings
) -> None:
    """Fits a router to every layer's inputs, read with the expert whose example it is."""
    device, size = next(base.model.parameters()).device, how.batch_size or 1
    pairs = [(expert, row) for expert, of_expert in rows.items() for row in of_expert]
    pairs.sort(key=lambda pair: -len(pair[1]["input_ids"]))
    sums = {layer: torch.zeros(len(banks.names), bank.A_ERI.shape[-1], device=device) for layer, bank in banks.items()}
    masks: dict[int, Tensor] = {}

    def add_to(layer: str) -> Callable[..., None]:
        def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            expert_B = cast(Tensor, banks.context.expert_B)
            sums[layer].index_add_(0, expert_B, router.read(inputs[0], masks[inputs[0].shape[1]]))

        return add

    banks.route(ByRequest())
    hooks = [module.register_forward_pre_hook(add_to(layer)) for layer, module in banks.layers.items()]
    model: Any = base.model
    if not base.seq2seq and not isinstance(model.get_output_embeddings(), ExpertLinear):
        model = model.base_model  # nobody looks at the logits
    try:
        with progress(f"train {name}", len(pairs)) as bar:
            for start in range(0, len(pairs), size):
                chosen = pairs[start : start + size]
                batch = _tensors(base, [row for _, row in chosen], masks)
                banks.set_batch(experts=[expert for expert, _ in chosen])
                model(**batch)
                bar.advance(len(chosen))
    finally:
        for hook in hooks:
            hook.remove()
    banks.route(router)
    for layer, module in banks.layers.items():
        cast(Any, module.router).fit(sums[layer])  # a sum points where the mean does


def _tensors(base: Base, rows: Sequence[Row], masks: dict[int, Tensor]) -> dict[str, Tensor]:
    """Returns a batch without the end-of-text tokens, which are the same for all; `masks` gets its masks by their length."""
    masks.clear()
    if not base.seq2seq:
        batch = to_batch(base, [{key: value[:-1] or value for key, value in row.items()} for row in rows])
        masks[batch["input_ids"].shape[1]] = batch["attention_mask"]
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    batch = to_batch(base, rows)  # the decoder reads one token later than it writes, so it never sees the end either
    if batch["input_ids"].shape == batch["labels"].shape:  # then a layer's length would not say on which side it is
        batch |= {key: pad(batch[key], (0, 1)) for key in ("input_ids", "attention_mask")}
    masks[batch["input_ids"].shape[1]] = batch["attention_mask"]
    masks[batch["labels"].shape[1]] = batch["labels"] != IGNORED
    return batch


def _prompts(
    base: Base, banks: Banks, data: Mapping[str, Sequence[Example]], run: Run, name: str, how: RouterSettings
) -> None:
    """Fits a router, the same in every layer, to the features of every prompt."""
    router: Any = next(iter(banks.layers.values())).router
    prompts = [(example.prompt, task) for task, examples in data.items() for example in examples]
    by_gradient = "steps" in inspect.signature(router.fit).parameters
    run.rewind(0, expert=name)
    started, read = time.monotonic(), list[Tensor]()
    with progress(f"train {name}", len(prompts) + (how.steps or 0) * by_gradient) as bar:

        def log(step: int, loss: float) -> None:
            if loss != loss or loss == float("inf"):
                raise Diverged(f"The router {name}: the loss is {loss} at step {step}. Lower its learning rate.")
            wall_s = round(time.monotonic() - started, 2)
            run.log(step=step, stage="train-router", expert=name, loss=loss, lr=how.learning_rate, wall_s=wall_s)
            bar.advance(note=f"loss {loss:.3f}")

        for start in range(0, len(prompts), 256):
            texts = [prompt for prompt, _ in prompts[start : start + 256]]
            read.append(features(base, texts, banks, getattr(router, "encoder", "")))
            bar.advance(len(texts))
        train = {"seed": how.seed, "steps": how.steps, "lr": how.learning_rate, "batch": how.batch_size, "log": log}
        router.fit(torch.cat(read), [task for _, task in prompts], **(train if by_gradient else {}))


def _gates(job: Job, banks: Banks, experts: Sequence[Expert], rows: Mapping[str, list[Row]], name: str) -> None:
    """Trains the gates of all experts in one loop: each on its own data, as if it were alone."""
    settings, steps = job.settings, job.settings.max_steps or 1
    job.share(f"router {name}")
    for factor in banks.parameters().values():
        factor.requires_grad_(False)
    routers = {layer: cast(Any, module.router) for layer, module in banks.layers.items()}
    gates = {layer: router.begin() for layer, router in routers.items()}
    learners = [
        LearnerData(f"{name} {e}", rows[e], [e] * len(rows[e]), steps, settings.per_device_train_batch_size)
        for e in banks.names
    ]
    parts = [Part(gates, settings.learning_rate, steps)]
    outcome = train_loop(job, banks, learners, parts, f"train {name}", begun=digest_of(experts))
    for learner_name, how in outcome.diverged.items():
        raise Diverged(f"The gates of {learner_name!r}: {how}. Train them anew with a lower learning rate.")
    for router in routers.values():
        router.end()
    job.finish()
