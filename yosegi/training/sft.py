"""Train one expert: a base, a task, a library to put it in. Killed at any step, the same call goes on where it was."""

import dataclasses
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from yosegi import registry
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import attach
from yosegi.engine.rows import collate, data_hash, order, pad_id, tokens_by_step
from yosegi.inits import fresh
from yosegi.progress import progress
from yosegi.routers.uniform import Uniform
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.card import card
from yosegi.training.interrupt import interruptible
from yosegi.training.precision import wants_bf16
from yosegi.training.reading import Reading, read, warn
from yosegi.training.settings import Settings
from yosegi.training.validation import Validation, Watch


def train(
    base: Base,
    examples: Sequence[Example],
    name: str,
    run: Run,
    settings: Settings | None = None,
    *,
    task: str | Sequence[str] = (),
    resume: bool = True,
    validation: Validation | None = None,
) -> Expert:
    """The trained expert, with its card filled; the base is as it was.

    Args:
        base: what it stands beside.
        examples: what it learns from, in order.
        name: of the expert.
        run: gets the metrics, and the checkpoint while the training lasts.
        settings: how.
        task: what it learns, by name.
        resume: go on from a checkpoint of the same training, if there is one.
        validation: texts on which it is measured while it learns.

    Raises:
        Diverged: the loss or the gradient stopped being finite; the last good checkpoint stays.
        Invalid: a checkpoint of another training is in the way.
        KeyboardInterrupt: after the step was finished and saved.
    """
    settings = settings or Settings()
    reading = read(base, examples, settings)
    warn([reading], settings)
    watch = Watch(base, validation, settings, run)
    what = {"name": name, "base_hash": base.hash, "data_hash": data_hash(reading.rows), **settings.model_dump()}
    start = fresh(
        base.model,
        name,
        rank=settings.rank,
        alpha=settings.alpha,
        targets=settings.targets,
        init=settings.init,
        seed=settings.init_seed,
        task=task,
        **settings.init_args,
    )
    banks = attach(base.model, [start], Uniform(), dropout=settings.dropout)
    for bank in banks.values():
        bank.set_origin()
    try:
        parameters = banks.parameters()
        optimizer = registry.find("optimizers", settings.optimizer)(
            parameters.values(),
            settings.learning_rate,
            weight_decay=settings.weight_decay,
            betas=(settings.adam_beta1, settings.adam_beta2),
        )
        measured = fit(base, parameters, optimizer, reading, name, run, settings, what, resume, watch)
        expert = banks.experts()[0]
    finally:
        banks.detach()
        base.model.eval()
    said = card(base, settings, start.tasks, what["data_hash"], measured)
    return dataclasses.replace(expert, card=said)


def fit(
    base: Base,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    reading: Reading,
    name: str,
    run: Run,
    settings: Settings,
    what: dict[str, Any],
    resume: bool,
    watch: Watch,
    trainer_class: Any = None,
) -> dict[str, Any]:
    """Run the trainer (ExpertTrainer, or a class of that kind) over `parameters`; what it cost."""
    from datasets import Dataset, disable_progress_bars
    from trl.trainer.sft_config import SFTConfig

    from yosegi.training import checkpoint
    from yosegi.training.trainer import ExpertTrainer

    disable_progress_bars()
    rows = reading.rows
    folder = run.path / "checkpoint" / name
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        checkpoint.check(folder, what)
    bf16 = wants_bf16(base, settings.precision)
    arguments = SFTConfig(
        output_dir=str(run.path / "checkpoint"),
        per_device_train_batch_size=settings.per_device_train_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.lr_scheduler_type,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        activation_checkpointing=settings.activation_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        bf16=bf16,
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=1,
        save_steps=settings.save_steps,
        save_strategy="steps",
        report_to="none",
        disable_tqdm=True,
        use_cpu=base.model.device.type == "cpu",  # type: ignore[union-attr]
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=False,
        remove_unused_columns=False,  # TRL does not know position_ids
    )
    batch = settings.per_device_train_batch_size * settings.gradient_accumulation_steps * arguments.world_size
    steps = settings.max_steps or math.ceil(settings.num_train_epochs * len(rows) / batch)
    arguments.max_steps, arguments.warmup_steps = steps, round(settings.warmup_share * steps)
    started, places = time.monotonic(), order(len(rows), steps * batch, settings.seed)
    tokens = tokens_by_step(rows, places, batch)
    with interruptible() as interrupted, progress(f"train {name}", steps) as bar:
        trainer = (trainer_class or ExpertTrainer)(
            model=base.model,
            args=arguments,
            train_dataset=Dataset.from_list(rows).select(places),
            data_collator=collate(pad_id(base)),
            processing_class=base.tokenizer,
            parameters=parameters,
            objective=registry.find("objectives", settings.objective),
            optimizer=optimizer,
            mask=registry.find("masks", settings.mask)(parameters, **settings.mask_args),
            checkpoint_folder=folder,
            what=what,
            run=run,
            bar=bar,
            interrupted=interrupted,
            tokens=tokens,
            look=lambda step: watch.look(step, steps, expert=name, tokens=tokens[step]),
        )
        done = 0
        if folder.exists():
            done = trainer.state.load_from_json(str(folder / "trainer_state.json")).global_step
        if trainer.is_world_process_zero():
            run.rewind(done or -1, expert=name)  # what was seen before the first step is seen again
            if not done:
                trainer.look(0)
        bar.retarget(steps - done)
        if done < steps:
            trainer.train(resume_from_checkpoint=str(folder) if folder.exists() else None)
        else:
            checkpoint.load_parameters(folder, parameters)
        if interrupted:
            raise KeyboardInterrupt
    return {
        "steps": steps,
        **reading.counts,
        "tokens": tokens[-1],
        "tokens_per_s": trainer.speed,
        "trainable_params": sum(p.numel() for p in parameters.values()),
        "wall_s": round(time.monotonic() - started - watch.seconds, 2),
        **watch.cost,
    }


def forget(run: Run, name: str) -> None:
    """The expert is safe in its library: its checkpoint is not needed any more."""
    shutil.rmtree(run.path / "checkpoint" / name, ignore_errors=True)
