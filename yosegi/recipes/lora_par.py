"""LoRA-PAR: questions that are answered at once and questions that are worked out, and entries of an expert for each kind.

Claim   Split the questions by how they are thought through (System 1, System 2) and the entries of the expert by which kind they
        matter to; learn the first by SFT and the second by GRPO, each with its own entries. With two fifths of the entries this
        does as well as all of them, and better than as many entries drawn by lot.
Paper   Huang et al. 2025, arXiv:2507.20999 (Llama-2 7B, GSM8K): 34.6 on LoRA and 41.9 on PiSSA (θ .95), beside LoRA 31.9, PiSSA
        33.6, PiSSA + RL 37.5. It has no LoRA + RL on Llama-2, and no random entries with RL: the controls here.
Ours    `dev/LOG.md`: nano, three seeds, two-step arithmetic: PAR .32, with all entries .16, random entries .39, PiSSA + RL .60.
Run     yosegi run lora_par                                    nano; some twenty minutes of one CPU core a seed
        yosegi run lora_par --base house --tasks gsm8k,mgsm_ja …    real questions, with the data folder
        yosegi run lora_par --smoke                            seconds; the tests run this
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean

import torch
from torch import Tensor

from yosegi import files, tasks
from yosegi.bases import Base, load
from yosegi.core.expert import Expert
from yosegi.core.model import attach, weight
from yosegi.engine.arm import Arm
from yosegi.errors import Invalid
from yosegi.evaluation.measure import evaluate
from yosegi.inits import fresh
from yosegi.library.store import Library
from yosegi.masks.importance import importance as keep
from yosegi.masks.importance import regions, share_of
from yosegi.masks.random import random
from yosegi.partitions.by_system import by_system
from yosegi.recipes._par import Measured, findings
from yosegi.reporting import report
from yosegi.routers.by_request import ByRequest
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.teachers import load as teacher
from yosegi.training.fleet import fleet
from yosegi.training.grpo import Question, grpo
from yosegi.training.importance import importance, null
from yosegi.training.settings import GrpoSettings, Settings

QKV = ("q_proj", "k_proj", "v_proj")
GUD = ("gate_proj", "up_proj", "down_proj")
Mask = Mapping[str, Tensor]


@dataclass(frozen=True)
class Config:
    """What is compared."""

    base: str = "nano"
    """The base the experts stand beside."""
    tasks: tuple[str, ...] = ("skills/succ", "skills/sort", "skills/double", "skills/chain")
    """The questions, of both kinds."""
    teachers: tuple[str, ...] = ()
    """Who says which is which (`yosegi label --help`); by default the number of steps in the reference solution does."""
    target_model: str = ""
    """Whom the teachers play, name and size."""
    warm: int = 40
    """SFT steps that the base takes before the study, on other examples of the System 2 tasks: from what nobody ever gets right
    no reward can be learnt. What it has learnt then belongs to the base (base/ in the run's folder)."""
    known: tuple[str, ...] = ("skills/add", "skills/capital")
    """What the base does well: does it forget?"""
    seeds: tuple[int, ...] = (0, 1, 2)
    limit: int = 1500
    """Training examples a task."""
    asked: int = 100
    """Test questions a task."""
    measured: int = 100
    """Examples of each system that importance is measured on."""
    theta: float = 0.9
    thetas: tuple[float, ...] = (0.3, 0.5, 0.7, 0.9, 0.95)
    """Of the curve of accuracy against what moves (SFT on all questions)."""
    grid: tuple[float, ...] = (0.0, 0.5, 1.0)
    """α and β of the grid."""
    rank: int = 8
    alpha: float = 16
    sft_steps: int = 100
    batch: int = 32
    learning_rate: float = 5e-3
    grpo_steps: int = 40
    questions: int = 8
    """A step of GRPO."""
    generations: int = 16
    grpo_learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """What each start chooses among, by `pilot` steps of reward with all entries moving, on validation questions."""
    pilot: int = 20
    kl_coef: float = 0.04
    rewards: tuple[str, ...] = ("correct",)
    max_length: int = 512
    max_completion_length: int | None = None
    inits: tuple[str, ...] = ("pissa", "normal", "kaiming", "olora")


SMOKE = Config(
    seeds=(0,), limit=24, asked=3, measured=4, thetas=(0.9,), grid=(1.0,), sft_steps=2, batch=4, grpo_steps=1, questions=2,
    generations=2, inits=("pissa",), rank=2, warm=1, grpo_learning_rates=(1e-3, 3e-3), pilot=1,
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One way through both stages.

    Args:
        name: of the arm.
        init: where the expert begins.
        targets: the linears that it touches; () for all.
        first: which entries move in SFT: "all", "random", or an importance region "system1 α" / "all θ".
        data: what SFT reads: "all" questions or those of System 1.
        second: which entries move in GRPO; None for none.
        order: "sft", "sft grpo" or "grpo sft".
    """

    name: str
    init: str
    targets: tuple[str, ...] = ()
    first: str = "all"
    data: str = "all"
    second: str | None = None
    order: str = "sft"


def jobs(config: Config) -> list[Job]:
    """Every arm of the study."""
    found: list[Job] = []
    plain = {"kaiming": "LoRA", "pissa": "PiSSA", "olora": "OLoRA", "normal": "normal"}
    for init in config.inits:
        name = plain[init]
        found.append(Job(name, init))
        if init == "olora":
            continue
        found.append(Job(f"{name} + RL", init, second="all", order="sft grpo"))
        if init == "kaiming":
            continue
        found.append(Job(f"random on {name}", init, first="random"))
        found.append(
            Job(f"random on {name} + RL", init, first="random1", data="fast", second="random2", order="sft grpo")
        )
        found.append(Job(f"importance on {name}", init, first=f"theta {config.theta}"))
        if init == "pissa":
            for a in config.grid:
                for b in config.grid:
                    found.append(Job(f"PAR α {a:g} β {b:g}", init, (), f"alpha {a}", "fast", f"beta {b}", "sft grpo"))
            found.append(Job("PAR, all entries", init, (), "all", "fast", "all", "sft grpo"))
            found.append(Job("PAR, RL first", init, (), "alpha 1.0", "fast", "beta 1.0", "grpo sft"))
            for where, targets in (("QKVGUD", QKV + GUD), ("QKV", QKV), ("GUD", GUD)):
                for theta in config.thetas:
                    found.append(Job(f"θ {theta:g} {where}", init, targets, f"theta {theta}"))
                found.append(Job(f"θ 1 {where}", init, targets))
                found.append(Job(f"random {config.theta:g} {where}", init, targets, "random"))
        else:
            found.append(Job(f"PAR on {name}", init, (), "alpha 1.0", "fast", "beta 1.0", "sft grpo"))
    return found


def main(config: Config, run: Run) -> None:
    """Label, measure, train both stages, ask."""
    loaded = [tasks.load(name) for name in config.tasks]
    data = {task.name: task.examples("train")[: config.limit] for task in loaded}
    teachers = [teacher(spec, answers=run.path / "answers.jsonl") for spec in config.teachers]
    parts = by_system(data, teachers, target_model=config.target_model)
    if len(parts.groups) < 2:
        raise Invalid("All of these questions are of one system; LoRA-PAR needs both kinds.")
    fast, slow = (list(some) for some in list(parts.groups.values())[:2])
    of_slow = [task for task in loaded if {e.id for e in data[task.name]} & {e.id for e in slow}]
    base = warmed(load(config.base), of_slow, config, run)
    measured: list[Measured] = []
    todo, rates = jobs(config), {}
    for seed in config.seeds:
        study = Study(base, config, run, seed, fast, slow, of_slow)
        measured.append(study.measured())
        rates = rates or study.rates(todo)
        library = study.trained(todo, rates)
        arms = [Arm("base"), *(Arm(job.name, [library[f"{job.name} s{seed}"]]) for job in todo)]
        asked = [*loaded, *(tasks.load(name) for name in config.known)]
        evaluate(base, arms, asked, run, limit=config.asked, seed=seed, traced=0, batch_size=128)
    findings(run, config, parts.evidence["summary"], measured, todo, {task.name for task in of_slow})
    print(f"Open {report([run.path], run.path / 'report.html')}")


def warmed(base: Base, slow: Sequence[tasks.Task], config: Config, run: Run) -> Base:
    """The base that the study stands on: `config.base`, or a copy that has begun to learn the questions."""
    if not config.warm:
        return base
    folder = run.path / "base"
    if not folder.exists():
        others = [example for task in slow for example in task.examples("train")[config.limit : 2 * config.limit]]
        how = Settings(
            rank=config.rank, alpha=config.alpha, learning_rate=config.learning_rate, max_steps=config.warm, dropout=0,
            per_device_train_batch_size=config.batch, max_length=config.max_length,
        )  # fmt: skip
        (begun,) = fleet(base, {"warm": others}, run, how)
        with torch.no_grad():
            for name in begun.factors:
                weight(base.model.get_submodule(name)).add_(begun.delta(name))
        with files.new_folder(folder) as new:
            base.model.save_pretrained(new)  # type: ignore[operator]
            base.tokenizer.save_pretrained(new)
    return load(str(folder))


class Study:
    """The experts of one seed."""

    def __init__(
        self, base: Base, config: Config, run: Run, seed: int, fast: Sequence[Example], slow: Sequence[Example],
        of_slow: Sequence[tasks.Task],
    ):  # fmt: skip
        self.base, self.config, self.run, self.seed, self.slow = base, config, run, seed, of_slow
        self.data = {"fast": list(fast), "slow": list(slow), "all": [*fast, *slow]}
        self._scores: dict[tuple[str, tuple[str, ...], str], dict[str, Tensor]] = {}

    def rates(self, todo: Sequence[Job]) -> dict[str, float]:
        """The learning rate of the second stage by start, chosen on the first seed by how "X + RL" does (`rates.json`)."""
        path = self.run.path / "rates.json"
        if not path.exists():
            some = {
                job.init: job for job in todo if job.order == "sft grpo" and (job.data, job.second) == ("all", "all")
            }
            done = self._sft(list(some.values()), self._library("stages"))
            right: dict[str, dict[str, float]] = {}
            apart = Run(self.run.path / "pilot")  # what was chosen on is no result
            for rate in self.config.grpo_learning_rates:
                jobs = [replace(job, name=f"pilot {init} {rate:g}") for init, job in some.items()]
                begun = {job.name: done[self._key(job)] for job in jobs}
                arms = [Arm(e.name, [e]) for e in self._climbed(jobs, begun, rate, self.config.pilot)]
                rows = evaluate(
                    self.base,
                    arms,
                    self.slow,
                    apart,
                    split="validation",
                    limit=self.config.asked,
                    traced=0,
                    batch_size=128,
                )
                for init, arm in zip(some, arms, strict=True):
                    own = [row["value"] for row in rows if row["model"] == arm.name and row["metric"] == "accuracy"]
                    right.setdefault(init, {})[f"{rate:g}"] = fmean(own)
            files.write_json(path, right)
        return {init: float(max(found, key=found.__getitem__)) for init, found in files.read_json(path).items()}

    def trained(self, todo: Sequence[Job], rates: Mapping[str, float]) -> Library:
        """Both stages of all jobs; what is alike is trained once, and side by side."""
        library, stages = self._library("par"), self._library("stages")
        there = set(library) if library.path.is_dir() else set[str]()
        todo = [job for job in todo if f"{job.name} s{self.seed}" not in there]
        early = [job for job in todo if job.order == "grpo sft"]
        done = self._sft([job for job in todo if job.order != "grpo sft"], stages)
        begun = {job.name: self._start(job, job.name) for job in early}
        begun |= {job.name: done[self._key(job)] for job in todo if job.order == "sft grpo"}
        climbed = self._grpo([job for job in todo if job.second is not None], begun, rates, stages)
        for job in todo:
            expert = climbed.get(job.name) or done[self._key(job)]
            if job.order == "grpo sft":
                masks = {job.name: mask} if (mask := self._mask(job, job.first)) is not None else None
                examples, how = self.data[job.data], self._settings(job)
                (expert,) = fleet(self.base, {job.name: examples}, self.run, how, start=expert, masks=masks)
            library.add(replace(expert, name=f"{job.name} s{self.seed}"), overwrite=True)
        return library

    def measured(self) -> Measured:
        """Who belongs to which system, and how alike two halves of one system are."""
        expert = self._start(Job("", self.config.inits[0]), "start", origin=False)
        size = self.config.measured
        both = regions(self._score("fast"), self._score("slow"), self.config.theta)
        halves = null(self.base, expert, self._some("slow", 2 * size), max_length=self.config.max_length)
        same = regions(*halves, self.config.theta)
        by_layer = {
            name: tuple(float(part[name].float().mean()) for part in (both.first, both.second, both.shared))
            for name in both.first
        }
        shares = (share_of(both.stages[0]), share_of(both.stages[1]))
        return Measured(self.seed, both.jaccard, same.jaccard, shares, by_layer)

    def _sft(self, todo: Sequence[Job], stages: Library) -> dict[str, Expert]:
        """The first stages, one fleet for each start and data."""
        by_fleet: dict[tuple[str, tuple[str, ...], str], dict[str, Job]] = {}
        for job in todo:
            by_fleet.setdefault((job.init, job.targets, job.data), {})[self._key(job)] = job
        for (_, _, data), some in by_fleet.items():
            missing = {key: job for key, job in some.items() if not stages.path.is_dir() or key not in stages}
            if missing:
                masks = {key: mask for key, job in missing.items() if (mask := self._mask(job, job.first)) is not None}
                how = self._settings(next(iter(missing.values())))
                groups = dict.fromkeys(missing, self.data[data])
                fleet(self.base, groups, self.run, how, masks=masks or None, keep=stages.add)
        return {key: stages[key] for some in by_fleet.values() for key in some}

    def _grpo(
        self, todo: Sequence[Job], begun: Mapping[str, Expert], rates: Mapping[str, float], stages: Library
    ) -> dict[str, Expert]:
        """The second stages, those of one start in one fleet."""
        for init in dict.fromkeys(job.init for job in todo):
            own = [job for job in todo if job.init == init and f"{job.name} s{self.seed}" not in stages]
            if own:
                self._climbed(own, begun, rates[init], self.config.grpo_steps, stages)
        return {job.name: stages[f"{job.name} s{self.seed}"] for job in todo}

    def _climbed(
        self, todo: Sequence[Job], begun: Mapping[str, Expert], rate: float, steps: int, stages: Library | None = None
    ) -> list[Expert]:
        """By reward. A start of higher rank holds its origin still."""
        config = self.config
        how = GrpoSettings(
            learning_rate=rate, max_steps=steps, num_generations=config.generations, kl_coef=config.kl_coef,
            per_device_train_batch_size=config.questions, max_grad_norm=1.0, weight_decay=0.0, seed=self.seed,
            rewards=dict.fromkeys(config.rewards, 1.0), max_completion_length=config.max_completion_length,
        )  # fmt: skip
        owner = {example.id: task for task in self.slow for example in task.examples("train")}
        asked = [Question(owner[example.id], example) for example in self.data["slow"]]
        name = {job.name: f"{job.name} s{self.seed}" for job in todo}
        masks = {name[job.name]: self._mask(job, job.second or "all", whole=True) for job in todo}
        return grpo(
            self.base, [replace(begun[job.name], name=name[job.name]) for job in todo], dict.fromkeys(name.values(), asked),
            self.run, how, masks={name: mask for name, mask in masks.items() if mask is not None},
            keep=stages.add if stages is not None else lambda expert: None,
        )  # fmt: skip

    def _some(self, data: str, size: int | None = None) -> list[Example]:
        """The examples that importance is measured on: other ones for each seed."""
        own, size = self.data[data], size or self.config.measured
        return Random(self.seed).sample(own, min(size, len(own)))

    def _library(self, name: str) -> Library:
        return Library(self.run.path / "libraries" / f"{name}-s{self.seed}", self.base.hash, self.base.name)

    def _key(self, job: Job) -> str:
        """What the first stage of a job is called: jobs that share it share its name."""
        return " ".join(
            filter(None, (job.init, "".join(t[0] for t in job.targets), job.data, job.first, f"s{self.seed}"))
        )

    def _settings(self, job: Job) -> Settings:
        return Settings(
            init=job.init, rank=self.config.rank, alpha=self.config.alpha, learning_rate=self.config.learning_rate,
            targets=list(job.targets) or "all-linear", max_steps=self.config.sft_steps, dropout=0,
            per_device_train_batch_size=self.config.batch, max_length=self.config.max_length, seed=self.seed,
            init_seed=self.seed,
        )  # fmt: skip

    def _start(self, job: Job, name: str, origin: bool = True) -> Expert:
        """Where SFT begins; with `origin` as an expert that says nothing yet."""
        start = fresh(
            self.base.model, name, rank=self.config.rank, alpha=self.config.alpha, init=job.init, seed=self.seed,
            targets=list(job.targets) or "all-linear",
        )  # fmt: skip
        if not origin:
            return start
        banks = attach(self.base.model, [start], ByRequest())
        try:
            for bank in banks.values():
                bank.set_origin()
            return replace(banks.experts()[0], card=start.card)
        finally:
            banks.detach()

    def _score(self, data: str, job: Job | None = None) -> dict[str, Tensor]:
        """The importance for a hundred examples of these."""
        job = job or Job("", self.config.inits[0])
        key = (job.init, job.targets, data)
        if key not in self._scores:
            some = self._some(data) if data != "all" else [*self._some("fast"), *self._some("slow")]
            expert = self._start(job, "start", origin=False)
            self._scores[key] = importance(self.base, expert, some, max_length=self.config.max_length)
        return self._scores[key]

    def _mask(self, job: Job, what: str, whole: bool = False) -> Mask | None:
        """Which entries move. `whole`: None would let the origin move too, so say all of the expert's own."""
        kind, _, number = what.partition(" ")
        if kind == "all":
            entries = self._entries(job)
            return {name: (t == t) for name, t in entries.items()} if whole and job.init != "kaiming" else None
        if kind == "theta":
            return keep(self._score("all", job), self._score("all", job), float(number))
        if kind in ("alpha", "beta"):
            found = regions(
                self._score("fast", job), self._score("slow", job), self.config.theta, float(number), float(number)
            )
            return found.stages[kind == "beta"]
        like = {
            "random": lambda: keep(self._score("all", job), self._score("all", job), self.config.theta),
            "random1": lambda: regions(self._score("fast", job), self._score("slow", job), self.config.theta).stages[0],
            "random2": lambda: regions(self._score("fast", job), self._score("slow", job), self.config.theta).stages[1],
        }[kind]()
        return random(self._entries(job), share_of(like), seed=1000 * self.seed + (kind == "random2"))

    def _entries(self, job: Job) -> dict[str, Tensor]:
        start = self._start(job, "start", origin=False)
        return {f"{n}|{k}": t for n, f in start.factors.items() for k, t in (("A", f.A_RI), ("B", f.B_OR))}
