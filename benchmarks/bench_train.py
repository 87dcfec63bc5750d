"""How fast does one expert train, step for step, beside the stack that people use for it?

Peer      TRL's SFTTrainer on PEFT's LoRA. It starts from our own fresh expert, exported, and gets the same token rows in the
          same order, the same rank, targets, batch, schedule, clipping and AdamW, and like ours no checkpointing and no bf16.
Equality  the loss of every step, to 1e-4 of itself.
Expected  as fast or faster: the loop is lean, and yosegi computes logits only where there is an answer. TRL does
          that too where it has Triton (a GPU), so expect little of this difference there.

"few shots" is a Llama with 8,192 words that reads eight solved examples first. The first three steps are not counted.
"""

import copy
import statistics
import tempfile
import time
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftModel
from side_by_side import Row, agree, options, tell
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from yosegi.bases import Base, load
from yosegi.engine.rows import order, tokenise
from yosegi.inits import fresh
from yosegi.library.interchange import write_peft
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.tasks.skills import Skills
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings

SHARED = {"max_steps", "per_device_train_batch_size", "learning_rate", "lr_scheduler_type"}
SHARED |= {"weight_decay", "max_grad_norm"}
PLAIN = {"activation_checkpointing": False, "bf16": False, "use_cpu": True, "dataloader_pin_memory": False}
PLAIN |= {"max_length": None, "train_sampling_strategy": "sequential", "save_strategy": "no"}
PLAIN |= {"logging_steps": 1, "report_to": "none", "disable_tqdm": True}


class Stamped(Run, TrainerCallback):
    """Keeps each step's loss and when it came, whoever trains: a run for us, a callback for TRL."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.losses, self.times = [], []

    def log(self, *rows: dict[str, Any], **row: Any) -> None:
        """Once a step."""
        super().log(*rows, **row)
        self.losses.append((rows[0] if rows else row)["loss"])
        self.times.append(time.process_time())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """The same from TRL, which logs once more at the end."""
        if "loss" in logs:
            self.log(**logs)


def peer(base: Base, examples: list[Example], how: Settings, run: Stamped) -> None:
    """TRL and PEFT, told what `how` says."""
    write_peft(fresh(base.model, "start", rank=how.rank, alpha=how.alpha, seed=how.init_seed), run.path / "start")
    rows, places = tokenise(base, examples, how.max_length), how.max_steps * how.per_device_train_batch_size
    told = how.model_dump(include=SHARED) | {"warmup_steps": ceil(how.warmup_share * how.max_steps)}
    trainer = SFTTrainer(
        model=PeftModel.from_pretrained(base.model, run.path / "start", is_trainable=True),
        args=SFTConfig(str(run.path), **told, **PLAIN),
        train_dataset=Dataset.from_list(rows).select(order(len(rows), places, how.seed)),
        processing_class=base.tokenizer,
        callbacks=[run],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def few_shots(base: Base, examples: list[Example]) -> tuple[Base, list[Example]]:
    """A wider vocabulary and longer prompts, for which a base's tokenizer serves as well."""
    sizes = {"vocab_size": 8192, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4}
    model = LlamaForCausalLM(LlamaConfig(num_attention_heads=4, **sizes)).eval()
    solved = ["".join(f"{e.prompt}{e.target} " for e in examples[i : i + 8]) for i in range(0, len(examples), 8)]
    shots = [Example(e.id, shown + e.prompt, e.target) for e, shown in zip(examples[1::8], solved[1:], strict=False)]
    return Base("few shots", "", model, base.tokenizer), shots


def row(what: str, base: Base, examples: list[Example], how: Settings, rounds: int) -> Row:
    """Each side trains from the start, in turns."""
    steps: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            runs = {side: Stamped(Path(folder) / side) for side in steps}
            peer(copy.deepcopy(base), examples, how, runs["theirs"])
            fleet(base, {"expert": examples}, runs["ours"], how)
        for side, run in runs.items():
            steps[side] += [b - a for a, b in zip(run.times[2:], run.times[3:], strict=False)]
    ours, theirs = runs["ours"].losses, runs["theirs"].losses
    step = {side: statistics.median(times) for side, times in steps.items()}
    return {
        "training": what,
        "batch": how.per_device_train_batch_size,
        "TRL + PEFT steps/s": 1 / step["theirs"],
        "yosegi steps/s": 1 / step["ours"],
        "ratio": step["theirs"] / step["ours"],
        "loss": f"{ours[0]:.3f} to {ours[-1]:.3f} in {how.max_steps} steps",
        "equal to": agree("Losses", max(abs(a / b - 1) for a, b in zip(ours, theirs, strict=True)), 1e-4),
    }


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """A short task on the embedded base, and a wider model with longer prompts."""
    chosen = options(__doc__, arguments)
    base, examples = load("nano", device="cpu"), Skills("reverse").examples("train")
    batch, steps, rounds = (4, 5, 1) if chosen.quick else (32, 30, 3)
    how = Settings(dropout=0, learning_rate=2e-3, max_steps=steps, per_device_train_batch_size=batch, precision="fp32")
    rows = [row("nano, skills/reverse", base, examples[:1000], how, rounds)]
    if not chosen.quick:
        few = how.model_copy(update={"max_steps": 10, "per_device_train_batch_size": 16})
        rows.append(row("Llama 4 x 256, few shots", *few_shots(base, examples), few, 2))
    return tell(__doc__, rows, chosen)


if __name__ == "__main__":
    main()
