"""How fast does one expert train, step for step, beside the stack that people use for it?

Peer      TRL's SFTTrainer on PEFT's LoRA. It starts from our own fresh expert, exported, and gets the same token rows in the
          same order, the same rank, targets, batch, schedule, clipping and AdamW, and like ours no checkpointing and no bf16.
Equality  the loss of every step, to 1e-4 of itself.
Expected  as fast or faster: yosegi computes logits only where there is an answer; TRL's loop is underneath both.

"nano" is the embedded base on a short skill. "few shots" is a Llama of 4 x 256 with 8,192 words that reads eight solved
examples before each question. A step is the median after the first three; "all" is from the examples to the trained expert.
"""

import copy
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from peft import PeftModel
from side_by_side import Row, agree, options, tell
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from yosegi import bases
from yosegi.bases import Base
from yosegi.inits import fresh
from yosegi.library.interchange import write_peft
from yosegi.progress import Bar
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.tasks.skills import Skills
from yosegi.batches import order, tokenise
from yosegi.train.settings import Settings
from yosegi.train.sft import train


class Stamped(Run):
    """A run that keeps every step's loss, and when it came."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.losses: list[float] = []
        self.times: list[float] = []

    def log(self, **row: Any) -> None:
        """Called once a step by the trainer."""
        super().log(**row)
        self.losses.append(row["loss"])
        self.times.append(time.process_time())


class Stamps(TrainerCallback):
    """The same of TRL's."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.times: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Called once a step, and once more at the end without a loss."""
        if "loss" in logs:
            self.losses.append(logs["loss"])
            self.times.append(time.process_time())


def peer(base: Base, examples: list[Example], settings: Settings, folder: Path) -> Stamps:
    """TRL and PEFT, told what `settings` says."""
    stamps, batch, steps = Stamps(), settings.per_device_train_batch_size, settings.max_steps
    rows = tokenise(examples, base.tokenizer, settings.max_length)
    start = fresh(base.model, "start", rank=settings.rank, alpha=settings.alpha, seed=settings.init_seed)
    write_peft(start, folder / "start")
    arguments = SFTConfig(
        output_dir=str(folder / "trl"),
        max_steps=steps,
        per_device_train_batch_size=batch,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.lr_scheduler_type,
        warmup_steps=round(settings.warmup_share * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        train_sampling_strategy="sequential",
        activation_checkpointing=False,
        bf16=False,
        use_cpu=True,
        dataloader_pin_memory=False,
        max_length=None,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=PeftModel.from_pretrained(base.model, folder / "start", is_trainable=True),
        args=arguments,
        train_dataset=Dataset.from_list(rows).select(order(len(rows), steps * batch, settings.seed)),
        processing_class=base.tokenizer,
        callbacks=[stamps],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return stamps


def few_shots(base: Base, examples: list[Example]) -> tuple[Base, list[Example]]:
    """A wider vocabulary and longer prompts, for which a base's tokenizer serves as well."""
    config = LlamaConfig(
        vocab_size=8192,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
    )
    shots = [
        Example(e.id, "".join(f"{s.prompt}{s.target} " for s in examples[8 * n : 8 * n + 8]) + e.prompt, e.target)
        for n, e in enumerate(examples[: len(examples) // 8])
    ]
    return Base("few shots", "", LlamaForCausalLM(config).eval(), base.tokenizer), shots


def row(what: str, base: Base, examples: list[Example], settings: Settings, rounds: int) -> Row:
    """Each side trains from the start, in turns."""
    steps, wholes = {"theirs": [], "ours": []}, {"theirs": [], "ours": []}

    def note(side: str, started: float, stamps: Stamps | Stamped) -> Stamps | Stamped:
        wholes[side].append(time.process_time() - started)
        steps[side] += [b - a for a, b in zip(stamps.times[2:], stamps.times[3:], strict=False)]
        return stamps

    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            other, run, started = copy.deepcopy(base), Stamped(Path(folder) / "run"), time.process_time()
            train(base, examples, "expert", run, settings)
            ours = note("ours", started, run)
            started = time.process_time()
            theirs = note("theirs", started, peer(other, examples, settings, Path(folder)))
    unequal = max(abs(a - b) / abs(b) for a, b in zip(ours.losses, theirs.losses, strict=True))
    step = {side: statistics.median(times) for side, times in steps.items()}
    whole = {side: statistics.median(times[1:]) for side, times in wholes.items()}
    return {
        "training": what,
        "batch": settings.per_device_train_batch_size,
        "steps": settings.max_steps,
        "TRL+PEFT steps/s": 1 / step["theirs"],
        "yosegi steps/s": 1 / step["ours"],
        "ratio": step["theirs"] / step["ours"],
        "ratio of all": whole["theirs"] / whole["ours"],
        "loss": f"{ours.losses[0]:.3f} to {ours.losses[-1]:.3f}",
        "equal to": agree("The loss curves", unequal, 1e-4),
    }


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """A short task on the embedded base, and a wider model with longer prompts."""
    chosen = options(__doc__, arguments)
    disable_progress_bars()
    Bar.quiet = True
    base, examples = bases.load("nano", device="cpu"), Skills("reverse").examples("train")
    few, steps, rounds = (4, 5, 1) if chosen.quick else (32, 30, 3)
    how = Settings(dropout=0, learning_rate=5e-3, max_steps=steps, per_device_train_batch_size=few, precision="fp32")
    rows = [row("nano, skills/reverse", base, examples[:1000], how, rounds)]
    if not chosen.quick:
        long = how.model_copy(update={"max_steps": 10, "per_device_train_batch_size": 16, "learning_rate": 1e-3})
        rows.append(row("Llama 4 x 256, few shots", *few_shots(base, examples), long, 1))
    return tell(__doc__, rows, chosen)


if __name__ == "__main__":
    main()
