"""Reading plain texts by several methods: trainings that read the same tokens in the same order, and how well they read.

Also a small invented world, for trying a study of texts without any data.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yosegi import files, tasks
from yosegi.evaluation.passages import spread
from yosegi.findings import Finding
from yosegi.run import Run
from yosegi.study.pace import Pace, Steps, measure_pace
from yosegi.study.study import Study, Training
from yosegi.study.sweep import Option, Sweep, sweep
from yosegi.study.tables import lines, metrics, training_curves
from yosegi.training.settings import Private, make_settings
from yosegi.training.validation import Validation

INVENTED = "invented"
PARTS = ("brim", "coil", "dram", "fell", "gant", "hest", "jorn", "lume")
PLACES = ("below the rail", "beside the track", "above the wheel", "inside the cab")


def methods_of(lora: Sequence[int], galore: Sequence[int], full: bool = False) -> dict[str, tuple[str, int]]:
    """Returns arms by name, each a method and its rank."""
    methods = {f"LoRA r {rank}": ("lora", rank) for rank in lora}
    methods |= {f"GaLore r {rank}": ("galore", rank) for rank in galore}
    return methods | ({"full": ("full", 0)} if full else {})


class Readers:
    """Arms that read the same texts in the same order, `batch` rows of `pack` tokens in a step.

    `texts` are tasks by what they are: domain, second, general, and perhaps questions. `methods` has lora, galore or full and its
    rank by arm (the α of a LoRA is twice its rank). `watched` validation passages of each kind are looked at meanwhile.
    """

    def __init__(
        self, study: Study, texts: Mapping[str, Sequence[str]], methods: Mapping[str, tuple[str, int]], batch: int, pack: int,
        update_gap: int = 50, watched: int = 24,
    ):  # fmt: skip
        self.study, self.texts, self.methods, self.update_gap = study, texts, methods, update_gap
        self.rows, self.watched = {"per_device_train_batch_size": batch, "pack": pack}, watched

    def training(
        self, arm: str, lr: float, seed: int, steps: int, reads: str = "domain", every: int | None = None
    ) -> Training:
        """Returns a training that reads from beginning to end, whole documents; questions are learnt by their answers.

        `reads` says which texts; `every`, after how many steps the validation passages are looked at.
        """
        (method, rank), names, plain = self.methods[arm], self.texts[reads], reads != "questions"
        shape = {"rank": rank, "alpha": 2 * rank, "init_seed": seed} if method == "lora" else {"rank": 0}
        spec = f"galore{{rank={rank},update_gap={self.update_gap}}}" if method == "galore" else method
        same = {"objective": "lm" if plain else "sft", "lr_scheduler_type": "cosine", "dropout": 0.0, "save_steps": 50}
        fields = {**same, **self.rows, **shape, "learning_rate": lr, "max_steps": steps, "seed": seed}
        loaded = [tasks.load(name) for name in names]
        examples = [e for task in loaded for e in (task.documents("train") if plain else task.examples("train"))]
        settings = make_settings(spec, Private(), fields)
        return Training(examples, settings, list(names), validation=None if every is None else self._watch(every))

    def _watch(self, every: int) -> Validation:
        kinds = {kind: names for kind, names in self.texts.items() if kind != "questions"}
        passages = {k: [e for n in names for e in tasks.load(n).examples("validation")] for k, names in kinds.items()}
        return Validation({kind: spread(texts, self.watched) for kind, texts in passages.items() if texts}, every)

    def choose_rates(self, rates: Mapping[str, Sequence[float]], steps: int, seed: int) -> Sweep:
        """Chooses the learning rate of each arm from the grid of its method: the lowest loss on the domain's validation passages
        after a short training."""

        def pilot(arm: str, option: Option) -> list[float] | None:
            name, study = f"{arm} at {option['lr']:g}", self.study.pilot
            study.train({name: self.training(arm, option["lr"], seed, steps, every=steps)}, seed)
            loss = final_loss(study.run, f"{name} s{seed}", "domain")
            return None if loss is None else [-loss]

        grids = {arm: {"lr": rates[method]} for arm, (method, _) in self.methods.items()}
        return sweep(self.study.run.path / "settings.json", grids, pilot, "choose learning rates")

    def pace(self, steps: int) -> Pace:
        """Measures what a step of each arm costs; nothing for no steps."""

        def timed(arm: str) -> Steps:
            return lambda run, steps: Study(self.study.base, run).train({"pace": self.training(arm, 1e-5, 0, steps)}, 0)

        trainings = {arm: timed(arm) for arm in self.methods}
        return measure_pace(self.study.run.path / "pace.json", self.study.base, trainings, steps) if steps else {}


def final_loss(run: Run, expert: str, kind: str) -> float | None:
    """Returns the last loss on one kind of validation passages; None if it was never measured."""
    rows = [row for row in metrics(run) if (row.get("expert"), row.get("validation")) == (expert, kind)]
    return rows[-1]["validation_loss"] if rows else None


def curve_finding(
    run: Run, heading: str, experts: Mapping[str, Sequence[str]], kind: str, x: str, scale: Callable[[str, int], float]
) -> Finding:
    """Returns the loss on one kind of validation passages while learning; `scale` gives the place of an arm's step on x."""

    def loss(row: Mapping[str, Any]) -> float | None:
        return row.get("validation_loss") if row.get("validation") == kind else None

    series = training_curves(run, experts, loss, lambda arm, row: scale(arm, row["step"]))
    ends = ", ".join(f"{one.name} {one.points[-1][1]:.3f}" for one in series if one.points)
    text = f"Loss on validation passages, at the end: {ends}."
    return Finding(heading, [text], figure=lines(heading, series, x, "loss, nats a token"))


def invented(folder: Path) -> dict[str, str]:
    """Writes a field with sixteen invented words, a second field, plain sentences and a quiz; returns their tasks by name."""
    words = [(f"{part}{end}", PLACES[n % len(PLACES)]) for n, part in enumerate(PARTS) for end in ("er", "ing")]
    texts = {
        "domain": [f"the {word} is the part {place}, number {n}." for n, (word, place) in enumerate(words)],
        "second": [f"take {n} eggs and {n + 1} spoons of {part}." for n, part in enumerate(PARTS * 2)],
        "general": [f"it was day {n} and we went home {place}." for n, place in enumerate(PLACES * 4)],
    }
    rows: dict[str, list[dict[str, Any]]] = {
        name: [
            {"id": f"{name}/{n}", "text": line, "split": "validation" if n % 4 == 3 else "train"}
            for n, line in enumerate(contents)
        ]
        for name, contents in texts.items()
    }
    rows["quiz"] = [
        {
            "id": f"q{n}", "split": "test" if n else "fewshot", "lang": "en", "answer": word,
            "question": f"What is the part {place}, number {n}?", "choices": [w for w, _ in words[n : n + 3]] + [words[n - 1][0]],
            "statement_template": f"the {{word}} is the part {place}, number {n}.", "neutral_template": "the {word} is here.",
        }
        for n, (word, place) in enumerate(words[:7])
    ]  # fmt: skip
    for name, contents in rows.items():
        files.write(folder / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in contents))
    return {name: f"{'terms' if name == 'quiz' else 'file'}/{folder}/{name}.jsonl" for name in rows}
