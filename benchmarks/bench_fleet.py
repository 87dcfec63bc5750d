"""How much faster is a fleet than the same experts trained one after another with the stack that people use?

Peer      TRL's SFTTrainer on PEFT's LoRA, expert after expert in one process and beside one base that is loaded once. Each
          starts from our own fresh expert, exported, and gets the same token rows in the same order, the same rank, targets,
          batch, schedule, clipping and AdamW, no checkpointing and no bf16; at the end it is saved and unloaded. Of many
          experts some are trained and the time of the others is theirs: one after another is linear.
Equality  the loss of every step, to 1e-4 of itself, and the final factors of each expert that the peer trained.
Expected  steps: 1.9 times as fast at one or two short sequences an expert, and never below 0.95 times, which is where one
          expert's batch alone keeps the processor busy. From start to end, at 100 steps: 3 times.

Every token is a target, so both sides score them all. "answers only" is the usual case, in which TRL on a CPU still does.
"base" is the frozen model alone, forward and backward to its input, on one expert's batch and on all of them together: what any
training could reach without a fleet, and with one. "fixed" is what an expert costs beside its steps: tokenising, setting up and
saving. "process each" is the peer when every expert starts a Python of its own, as scripts do; ours starts one.
The first three steps are not counted.
"""

import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from peft import PeftModel
from side_by_side import Row, agree, clock, options, tell
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from yosegi.bases import Base, load
from yosegi.core.expert import Expert
from yosegi.engine.rows import order, tokenise
from yosegi.estimate.memory import TOKENS
from yosegi.inits import fresh
from yosegi.library.interchange import read_peft, write_peft
from yosegi.library.store import Library
from yosegi.objectives.lm import lm
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings

SHARED = {"max_steps", "per_device_train_batch_size", "learning_rate", "lr_scheduler_type"}
SHARED |= {"weight_decay", "max_grad_norm"}
PLAIN = {"activation_checkpointing": False, "bf16": False, "use_cpu": True, "dataloader_pin_memory": False}
PLAIN |= {"max_length": None, "train_sampling_strategy": "sequential", "save_strategy": "no"}
PLAIN |= {"logging_steps": 1, "report_to": "none", "disable_tqdm": True}
IMPORTS = "import torch, datasets, peft, transformers, trl; from trl import SFTTrainer; from peft import PeftModel"
LONG = 100
"""Steps of the training that is reckoned from start to end: fixed costs as measured, steps at their median."""


class Cell(NamedTuple):
    """So many experts, each with so many sequences a step, of so many tokens."""

    experts: int
    batch: int
    length: int
    objective: str = "lm"
    words: int | None = None


CELLS = [Cell(4, 4, 64), Cell(16, 4, 64), Cell(64, 4, 64), Cell(16, 1, 64), Cell(64, 1, 64), Cell(64, 2, 32)]
CELLS += [Cell(256, 1, 32), Cell(16, 8, 128), Cell(64, 1, 64, "sft", 8192)]


class Stamped(Run, TrainerCallback):
    """Keeps each step's losses and when it came, whoever trains: a run for us, a callback for TRL."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.losses: dict[str, list[float]] = {}
        self.times: list[float] = []

    def log(self, *rows: dict[str, Any], **row: Any) -> None:
        """Once a step."""
        super().log(*rows, **row)
        self.times.append(time.process_time())
        for said in rows or [row]:
            self.losses.setdefault(said.get("expert", ""), []).append(said["loss"])

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """The same from TRL, which logs once more at the end."""
        if "loss" in logs:
            self.log(**logs)

    def step(self) -> float:
        """Median seconds."""
        return statistics.median(b - a for a, b in zip(self.times[2:], self.times[3:], strict=False))


def theirs(base: Base, start: Path, examples: list[Example], how: Settings, run: Stamped) -> Expert:
    """TRL and PEFT, told what `how` says."""
    rows = tokenise(base, examples, how.max_length, how.objective)
    places = (how.max_steps or 0) * how.per_device_train_batch_size
    told = how.model_dump(include=SHARED) | {"warmup_steps": ceil(how.warmup_share * (how.max_steps or 0))}
    trainer = SFTTrainer(
        model=PeftModel.from_pretrained(base.model, start, is_trainable=True),
        args=SFTConfig(str(run.path), **told, **PLAIN),
        train_dataset=Dataset.from_list(rows).select(order(len(rows), places, how.seed)),
        processing_class=base.tokenizer,
        callbacks=[run],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(str(run.path / "saved"))
    trainer.model.unload()  # type: ignore[union-attr]
    return read_peft(run.path / "saved")


def ours(base: Base, groups: dict[str, list[Example]], how: Settings, run: Stamped) -> Library:
    """The fleet, into a library."""
    library = Library(run.path / "library")
    fleet(base, groups, run, how, keep=library.add)
    return library


def apart(ours: Tensor, theirs: Tensor) -> float:
    """As a share of what there is: AdamW makes full steps even of gradients that are nothing but rounding."""
    return float((ours - theirs).norm() / theirs.norm())


def tokens_per_s(base: Base, cell: Cell, experts: int) -> float:
    """The frozen base alone, forward and backward to the embeddings, in passes as the fleet cuts them."""
    few = min(cell.batch * experts, TOKENS["cpu"] // cell.length)
    ids = torch.randint(3, 200, (few, cell.length))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    hook = base.model.get_input_embeddings().register_forward_hook(lambda *seen: seen[2].requires_grad_())
    base.model.requires_grad_(False)
    rounds = max(2, 2048 // ids.numel())
    lm(base.model, batch, 1).backward()
    spent = statistics.median(clock(lambda: lm(base.model, batch, 1).backward()) for _ in range(rounds))
    hook.remove()
    return ids.numel() / spent


def row(base: Base, cell: Cell, steps: int, sample: int, imports: float) -> Row:
    """The peer trains some of the experts before the fleet and some after it."""
    how = Settings(
        dropout=0, learning_rate=1e-3, max_steps=steps, per_device_train_batch_size=cell.batch,
        max_length=cell.length, objective=cell.objective, precision="fp32",
    )  # fmt: skip
    groups = {f"expert-{g}": examples(g, cell) for g in range(cell.experts)}
    names = random.Random(0).sample(list(groups), min(sample, cell.experts))
    stamps: dict[str, Stamped] = {}
    spent: dict[str, float] = {}
    off = 0.0
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        write_peft(fresh(base.model, "start", rank=how.rank, alpha=how.alpha, seed=how.init_seed), start)
        found: dict[str, Expert] = {}

        def peer(some: Sequence[str]) -> None:
            for name in some:
                stamps[name], begun = Stamped(Path(folder) / name), time.process_time()
                found[name] = theirs(base, start, groups[name], how, stamps[name])
                spent[name] = time.process_time() - begun

        peer(names[: -(-len(names) // 2)])
        run = Stamped(Path(folder) / "fleet")
        begun = time.process_time()
        library = ours(base, groups, how, run)
        together = time.process_time() - begun
        peer(names[-(-len(names) // 2) :])
        for name, expert in found.items():
            for layer, f in library[name].factors.items():
                same = expert.factors[layer]
                off = max(off, apart(f.A_RI, same.A_RI), apart(f.B_OR, same.B_OR))
    losses = [(a, b) for n in names for a, b in zip(run.losses[n], stamps[n].losses[""], strict=True)]
    step = statistics.median(stamps[n].step() for n in names)
    fixed = statistics.median(spent[n] - steps * stamps[n].step() for n in names)  # the first expert imports the most
    fleet_fixed = (together - steps * run.step()) / cell.experts
    tokens, one_by_one = cell.batch * cell.length, cell.experts * (fixed + LONG * step)
    all_at_once = cell.experts * fleet_fixed + LONG * run.step()
    return {
        "experts": cell.experts,
        "a step of one": f"{cell.batch} x {cell.length}" + (", answers only" if cell.objective == "sft" else ""),
        "(timed)": len(names),
        "TRL + PEFT tokens/s": tokens / step,
        "yosegi tokens/s": cell.experts * tokens / run.step(),
        "ratio": cell.experts * step / run.step(),
        "base, one": tokens_per_s(base, cell, 1),
        "base, all": tokens_per_s(base, cell, cell.experts),
        "TRL + PEFT fixed s": fixed,
        "yosegi fixed s": fleet_fixed,
        f"ratio, {LONG} steps from start to end": one_by_one / all_at_once,
        "process each": (one_by_one + cell.experts * imports) / (all_at_once + imports),
        "equal to": agree("Losses", max(abs(a / b - 1) for a, b in losses), 1e-4),
        "factors": agree("Factors", off, 1e-3),
    }


def examples(expert: int, cell: Cell) -> list[Example]:
    """Eight batches of text that no other expert has; a prompt longer than fits loses its beginning, so all are one length."""
    letters = random.Random(expert)

    def text(size: int) -> str:
        return "".join(letters.choice("abcdefghijklmnop .") for _ in range(size))

    return [Example(str(i), text(cell.length), text(cell.length // 4)) for i in range(8 * cell.batch)]


def llama(nano: Base, words: int | None, quick: bool) -> Base:
    """6 layers, 256 wide, whose tokenizer is nano's; its words, or more."""
    wide, layers = (64, 2) if quick else (256, 6)
    sizes = {"hidden_size": wide, "intermediate_size": wide * 43 // 16, "num_hidden_layers": layers}
    torch.manual_seed(0)
    config = LlamaConfig(num_attention_heads=4, vocab_size=words or len(nano.tokenizer), **sizes)
    config.pad_token_id, config.bos_token_id, config.eos_token_id = 0, 1, 1
    return Base("llama", "0123456789ab", LlamaForCausalLM(config).eval(), nano.tokenizer)


def start_up(imports: str) -> float:
    """CPU seconds until a Python has imported what both sides need."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", imports], check=True, env=dict(os.environ), capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """From few experts with full batches to many with one short sequence each, and one case without anything to win."""
    chosen = options(__doc__, arguments)
    nano = load("nano", device="cpu")
    imports = start_up("import torch" if chosen.quick else IMPORTS)
    cells, steps, sample = ([Cell(3, 2, 16)], 5, 1) if chosen.quick else (CELLS, 11, 4)
    return tell(__doc__, [row(llama(nano, c.words, chosen.quick), c, steps, sample, imports) for c in cells], chosen)


if __name__ == "__main__":
    main()
