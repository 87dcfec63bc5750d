"""What does the whole chain cost, four experts trained and every arm asked, beside PEFT and transformers one after another?

train      Peer: TRL's SFTTrainer on PEFT's LoRA, expert after expert, told the same (bench_fleet.py). Ours: a fleet.
answer     Base, each expert and the sum of all (`cat`) on the test questions of every task, greedily. Peer: PEFT's adapters in
           one model, `set_adapter` arm by arm, transformers' `generate` in left-padded batches. Ours: all arms in one batch.
logp       The gold answers' log-likelihood under the same arms. Peer: a forward pass for each batch, all logits.
all        The three together.

Equality   losses of every step to 1e-4; answers, but for steps too close to call; log-likelihoods to 1e-3 (fp32, thirty blocks).
Expected   all ≥ 1.5x; benchmarks/README.md says what was found.

The base is smollm2 in fp32 (`yosegi doctor --fetch smollm2`), the tasks are those of the demo; with --quick a random Llama and
generated skills. Memory is the process's peak at the end of each phase.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from bench_fleet import Stamped, llama, theirs
from peft import PeftModel
from side_by_side import Row, agree, clock, options, tell
from torch.nn.functional import cross_entropy

from yosegi import tasks
from yosegi.bases import Base, load
from yosegi.engine.arm import Arm
from yosegi.engine.engine import Engine
from yosegi.engine.request import stop_ids
from yosegi.engine.rows import context_length, to_batch, tokenise
from yosegi.engine.score import score_answers
from yosegi.inits import fresh
from yosegi.library.interchange import write_peft
from yosegi.library.store import Library
from yosegi.recipes.demo import REAL
from yosegi.run import peak_memory
from yosegi.tasks import Example
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings

ROWS = 16
SKILLS = ("skills/reverse", "skills/sort", "skills/succ", "skills/chain")


class Peer:
    """PEFT's adapters in one model."""

    def __init__(self, base: Base, folder: Path, names: Sequence[str]):
        self.base = base
        self.model: Any = PeftModel.from_pretrained(base.model, folder / names[0], names[0])
        for name in names[1:]:
            self.model.load_adapter(folder / name, name)
        self.model.add_weighted_adapter(list(names), [1.0] * len(names), "sum", combination_type="cat")
        self.model.eval()

    def choose(self, arm: str) -> None:
        """Only this adapter answers; none for the base."""
        if arm == "base":
            self.model.base_model.disable_adapter_layers()
        else:
            self.model.base_model.enable_adapter_layers()
            self.model.set_adapter(arm)

    @torch.no_grad()
    def answers(self, arm: str, prompts: Sequence[str], most: int) -> list[str]:
        """Greedy, in left-padded batches."""
        self.choose(arm)
        texts, tokenizer = [], self.base.tokenizer
        for start in range(0, len(prompts), ROWS):
            batch = tokenizer(
                list(prompts[start : start + ROWS]), padding=True, padding_side="left", return_tensors="pt"
            )
            made = self.model.generate(
                **{key: batch[key] for key in ("input_ids", "attention_mask")}, max_new_tokens=most, do_sample=False,
                eos_token_id=sorted(stop_ids(self.base)), pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
            texts += tokenizer.batch_decode(made[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
        return texts

    @torch.no_grad()
    def logps(self, arm: str, examples: Sequence[Example]) -> list[float]:
        """Mean log p of the gold answers, all logits of a batch."""
        self.choose(arm)
        rows, found = tokenise(self.base, examples, context_length(self.base)), []
        for start in range(0, len(rows), ROWS):
            batch = to_batch(self.base, rows[start : start + ROWS])
            labels_BT = batch.pop("labels")[:, 1:]
            logits_BTV = self.model(**batch).logits[:, :-1].float()
            nll_BT = cross_entropy(logits_BTV.mT, labels_BT, reduction="none")
            found += (-nll_BT.sum(1) / (labels_BT != -100).sum(1)).tolist()
        return found


def chain(base: Base, names: Sequence[str], steps: int, batch: int, questions: int, most: int) -> list[Row]:
    """Phase by phase, the peer first."""
    asked = {name: tasks.load(name) for name in names}
    groups = {f"expert-{n}": task.examples("train") for n, task in enumerate(asked.values())}
    test = [example for task in asked.values() for example in task.examples("test")[:questions]]
    how = Settings(
        dropout=0,
        learning_rate=1e-3,
        max_steps=steps,
        per_device_train_batch_size=batch,
        max_length=256,
        precision="fp32",
    )
    rows, spent, memory = [], dict[str, float](), dict[str, float]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_peft(fresh(base.model, "start", rank=how.rank, alpha=how.alpha, seed=how.init_seed), folder / "start")
        stamps = {name: Stamped(folder / "peer" / name) for name in groups}

        def train_peer() -> None:
            for name, examples in groups.items():
                theirs(base, folder / "start", examples, how, stamps[name])

        run, library = Stamped(folder / "fleet"), Library(folder / "library")

        def train_ours() -> None:
            fleet(base, groups, run, how, keep=library.add)

        spent["train"] = clock(train_peer)
        memory["train"] = peak_memory()
        rows.append(
            _row("train", f"{len(groups)} experts, {steps} steps of {batch} rows", spent["train"], clock(train_ours))
        )
        pairs = [(a, b) for name in groups for a, b in zip(run.losses[name], stamps[name].losses[""], strict=True)]
        rows[-1]["equal"] = f"losses to {agree('Losses', max(abs(a / b - 1) for a, b in pairs), 1e-4):.1g}"

        experts = library.load()
        for expert in experts:
            write_peft(expert, folder / "adapters" / expert.name)
        arms = [Arm("base"), *(Arm(e.name, [e]) for e in experts), Arm.weighted("sum", experts, [1.0] * len(experts))]
        prompts, engine, written, logps = [e.prompt for e in test], Engine(base), dict[str, Any](), dict[str, Any]()

        def answer_ours() -> None:
            pairs = [(arm, prompt) for arm in arms for prompt in prompts]
            written["ours"] = engine.generate([a for a, _ in pairs], [p for _, p in pairs], max_new_tokens=most)

        def logp_ours() -> None:
            logps["ours"] = []
            for arm in arms:
                with arm.attached(base) as banks:
                    logps["ours"] += score_answers(base, test, banks=banks)

        ours = {"answer": clock(answer_ours), "logp": clock(logp_ours)}
        peer = Peer(base, folder / "adapters", [expert.name for expert in experts])
        theirs_ = {
            "answer": clock(
                lambda: written.update(theirs=[t for a in arms for t in peer.answers(a.name, prompts, most)])
            ),
            "logp": clock(lambda: logps.update(theirs=[v for a in arms for v in peer.logps(a.name, test)])),
        }
        peer.model.unload()
    same = sum(a.text == b for a, b in zip(written["ours"], written["theirs"], strict=True))
    close = sum(a.text == b or a.close_calls > 0 for a, b in zip(written["ours"], written["theirs"], strict=True))
    assert close >= 0.98 * len(written["ours"]), f"only {close} of {len(written['ours'])} answers agree"
    apart = max(abs(a - b) for a, b in zip(logps["ours"], logps["theirs"], strict=True))
    what = f"{len(arms)} arms, {len(test)} questions"
    rows.append(_row("answer", f"{what}, up to {most} tokens", theirs_["answer"], ours["answer"]))
    rows[-1]["equal"] = f"{same} of {len(written['ours'])} answers"
    rows.append(_row("logp", what, theirs_["logp"], ours["logp"]))
    rows[-1]["equal"] = f"to {agree('log p', apart, 1e-3):.1g}"
    total = [sum(row[key] for row in rows) for key in ("peer s", "yosegi s")]
    return [*rows, _row("all", "one after the other", *total)]


def _row(phase: str, what: str, peer: float, yosegi: float) -> Row:
    return {
        "phase": phase, "what": what, "peer s": peer, "yosegi s": yosegi, "ratio": peer / yosegi, "equal": "",
        "peak MB so far": round(peak_memory()),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """smollm2 and real tasks; a random Llama and skills for a quick look."""
    chosen = options(__doc__, arguments)
    if chosen.quick:
        base = llama(load("nano", device="cpu"), None, True)
        return tell(__doc__, chain(base, SKILLS, 3, 2, 3, 4), chosen)
    base = load("smollm2", dtype="fp32", device="cpu", chat_template="none")
    return tell(__doc__, chain(base, REAL.tasks, 8, 4, 4, 16), chosen)


if __name__ == "__main__":
    main()
