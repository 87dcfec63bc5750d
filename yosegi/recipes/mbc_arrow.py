"""A library of LoRAs on real tasks: built six ways, routed nine ways, asked for tasks it knows and tasks it does not.

Claim   Clustering tasks by the experts they make (MBC) gives a better library than one expert a task, one for all, or clusters
        drawn by lot; Arrow routes it, with no training and no data, about as well as an oracle that is told the task.
Paper   Ostapenko et al. 2024, arXiv:2405.11157 (Phi-2, 256 tasks of Flan): MBC-μ +1.2 over MHR, MBC-Arrow +0.3 over MBC-μ,
        private-Arrow +1.8 over private-μ, TP and CM +0.9; Arrow ≈ oracle on known tasks.
Ours    `dev/LOG.md`: three seeds, the natural-instructions tasks that the base `house` has not read.
Run     yosegi run mbc_arrow                              an hour and a half of one CPU core
        yosegi run mbc_arrow --base nano --tasks skills   generated skills; held-out compositions are the new tasks
        yosegi run mbc_arrow --smoke                      seconds; the tests run this
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from yosegi import tasks
from yosegi.bases import Base, house, load
from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms as kept_arms
from yosegi.engine.kept import load_arm, save_arm
from yosegi.errors import Invalid, NoData
from yosegi.evaluation.measure import evaluate
from yosegi.library.store import Library
from yosegi.merges import merge
from yosegi.recipes._modular import findings
from yosegi.reporting import report
from yosegi.run import Run
from yosegi.tasks import Example, Task
from yosegi.tasks.natural_instructions import NaturalInstructions
from yosegi.training.build import build, build_bank, keep_bank, take_up
from yosegi.training.fleet import fleet
from yosegi.training.routers import train_router
from yosegi.training.settings import BUILDS, Mhr, Poly, RouterSettings, Settings, Shared

SKILLS = "reverse,sort,succ,chain,wp_en,wp_ja,double,shift,upper,last,add,max"
COMPOSITIONS = "reverse+sort,upper+shift,reverse+double,chain+wp_en,upper+last,sort+double,janum+add,shift+last"
LIBRARIES = ("private", "mbc", "random")
ROUTERS = ("uniform", "predictor", "centroid", "arrow", "spectr", "phatgoose", "retrieval", "oracle")


@dataclass(frozen=True)
class Config:
    """What is compared."""

    base: str = "house"
    """The base the experts stand beside."""
    tasks: str = "natural_instructions"
    """natural_instructions (those that `house` has not read) or skills (generated)."""
    seen: int = 17
    """Tasks the libraries are built from; all others are new tasks. Skills: the first so many of a list."""
    unseen: int = 8
    split_seed: int = 0
    """Decides which tasks are new."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each builds everything anew: another start, another order, other clusters."""
    limit: int = 40
    """Training examples a task."""
    shots: int = 16
    """Examples of a new task, for few-shot adaptation."""
    asked: int = 10
    """Test questions a task."""
    epochs: float = 4.0
    """Passes over the training data; MBC and random clusters divide them."""
    shot_epochs: float = 4.0
    """Passes over the few shots."""
    clusters: int = 5
    skills: int = 5
    """Experts that Poly and MHR share: as many as there are clusters, so that all have the same size."""
    heads: int = 4
    """Of MHR."""
    space: str = "factors"
    """What MBC compares: factors (the paper's) or delta."""
    rank: int = 4
    alpha: float = 16
    learning_rate: float = 1e-3
    """Of an expert on one task or a cluster; this and the next by a sweep on the validation split (dev/LOG.md): larger makes
    better experts, and experts that nobody can route."""
    shot_learning_rate: float = 1e-3
    """Of an expert on a few shots."""
    shared_learning_rate: float = 3e-3
    """Of experts on all tasks: shared, Poly, MHR."""
    table_learning_rate: float = 0.1
    """Of the logits of Poly and MHR."""
    batch: int = 4
    max_length: int = 256
    max_new_tokens: int = 40
    gate_steps: int = 50
    """Of PHATGOOSE (100 in the paper)."""
    gate_batch: int = 2
    """Sequences of each expert in one of them."""
    routers: tuple[str, ...] = ROUTERS
    factors: tuple[str, ...] = ("uniform", "arrow")
    """Those that are also run with mix=factors, as the authors' code has it."""


SMOKE = Config(
    base="nano", tasks="skills", seen=3, unseen=1, seeds=(0,), limit=16, shots=4, asked=2, epochs=1.0, shot_epochs=1.0,
    clusters=2, skills=2, heads=2, batch=4, max_new_tokens=12, gate_steps=2, factors=("arrow",),
)  # fmt: skip


def main(config: Config, run: Run) -> None:
    """Build, route, adapt, compare, report."""
    base = load(config.base)
    seen, unseen = split(config)
    for seed in config.seeds:
        data = {task.name: task.examples("train")[: config.limit] for task in seen}
        arms = [Arm("base"), *shared_arms(base, data, config, run, seed)]
        for way in LIBRARIES:
            arms += routed_arms(base, way, data, config, run, seed)
        arms += bank_arms(base, data, config, run, seed)
        evaluate(
            base, arms, [*seen, *unseen], run, limit=config.asked, seed=seed, traced=2 if seed == config.seeds[0] else 0
        )
        shots = {task.name: task.examples("train")[: config.shots] for task in unseen}
        adapted = [Arm("base"), *few_shot_arms(base, shots, config, run, seed)]
        evaluate(base, adapted, unseen, run, limit=config.asked, seed=seed, traced=0)
    findings(run, config, [task.name for task in seen], [task.name for task in unseen])
    print(f"Open {report([run.path], run.path / 'report.html')}")


def split(config: Config) -> tuple[list[Task], list[Task]]:
    """The tasks that libraries are built from, and the new ones: by the hash of (seed, name)."""
    if config.tasks == "skills":
        seen, unseen = SKILLS.split(",")[: config.seen], COMPOSITIONS.split(",")[: config.unseen]
        found = [tasks.load(f"skills/{name}") for name in (*seen, *unseen)]
        return found[: len(seen)], found[len(seen) :]
    if config.tasks != "natural_instructions":
        raise Invalid(f"tasks={config.tasks!r}: this recipe knows natural_instructions and skills.")
    names = [name for name in NaturalInstructions.parts() if house.held_out(name)]
    if not names:
        raise NoData("This recipe needs the data folder with instruct/ (set YOSEGI_DATA); --tasks skills needs none.")
    names.sort(key=lambda name: hashlib.sha256(f"{config.split_seed}:{name}".encode()).hexdigest())
    found = [tasks.load(f"natural_instructions/{name}") for name in names[: config.seen + config.unseen]]
    for task in found:
        task.max_new_tokens = min(task.max_new_tokens, config.max_new_tokens)
    return found[: config.seen], found[config.seen :]


def settings(config: Config, seed: int, every: bool = False) -> Settings:
    """How experts are trained, on some tasks or on every one. Without dropout: on a CPU it is a third of the time."""
    return Settings(
        rank=config.rank,
        alpha=config.alpha,
        learning_rate=config.shared_learning_rate if every else config.learning_rate,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch,
        max_length=config.max_length,
        dropout=0,
        seed=seed,
        init_seed=seed,
    )


def shelf(base: Base, run: Run, way: str, seed: int) -> Library:
    """Where one library of one seed lies."""
    return Library(run.path / "libraries" / f"{way}-s{seed}", base.hash, base.name)


def shared_arms(base: Base, data: Mapping[str, Sequence[Example]], config: Config, run: Run, seed: int) -> list[Arm]:
    """One expert on all tasks."""
    library = shelf(base, run, "shared", seed)
    build(base, library, Shared(), data, run, settings(config, seed, every=True), names={"shared": f"shared-s{seed}"})
    return [Arm("shared", library.load())]


def routed_arms(
    base: Base, way: str, data: Mapping[str, Sequence[Example]], config: Config, run: Run, seed: int
) -> list[Arm]:
    """One library under every router and mix; what a router has to learn, it learns once."""
    library = shelf(base, run, way, seed)
    names = {task: f"{way}-s{seed}-{task.rpartition('/')[2]}" for task in data}
    names |= {f"{lot}{k}": f"{way}-s{seed}-{lot}{k}" for lot in ("cluster", "random") for k in range(config.clusters)}
    known = {"clusters": config.clusters, "space": config.space, "cluster_seed": 42 + seed}
    how = BUILDS[way](**{key: value for key, value in known.items() if key in BUILDS[way].model_fields})
    build(base, library, how, data, run, settings(config, seed), names=names)
    experts, arms = library.load(), []
    for router in config.routers:
        learnt: Mapping[str, Tensor] = {}
        if router in ("predictor", "centroid", "phatgoose", "retrieval"):
            if router not in kept_arms(library):
                gates = router == "phatgoose"
                sizes = {"steps": config.gate_steps, "batch_size": config.gate_batch} if gates else {}
                trained = train_router(
                    base, experts, router, {}, data, run, RouterSettings(seed=seed, **sizes), name=f"{way}-s{seed}-{router}"
                )  # fmt: skip
                save_arm(library, replace(trained, name=router))
            learnt = load_arm(library, router).router_state
        for mix in ("outputs", "factors") if router in config.factors else ("outputs",):
            arms.append(Arm(f"{way} · {router} · {mix}", experts, router, {}, learnt, mix))
    return arms


def bank_arms(base: Base, data: Mapping[str, Sequence[Example]], config: Config, run: Run, seed: int) -> list[Arm]:
    """Poly and MHR. A new task hears the mean of the table's rows."""
    arms = []
    for way in ("poly", "mhr"):
        library, name = shelf(base, run, way, seed), f"{way}-s{seed}"
        if not library.path.is_dir() or "task_table" not in kept_arms(library):
            known = {"experts": config.skills, "router_learning_rate": config.table_learning_rate}
            how = Mhr(heads=config.heads, **known) if way == "mhr" else Poly(**known)
            bank = build_bank(base, how, data, run, settings(config, seed, every=True), name=name)
            keep_bank(library, replace(bank, name="task_table"))
        arms.append(replace(load_arm(library, "task_table"), name=way))
    return arms


def few_shot_arms(base: Base, shots: Mapping[str, Sequence[Example]], config: Config, run: Run, seed: int) -> list[Arm]:
    """New tasks with a few examples each: a fresh expert, one that begins as a library's, or a table alone."""
    how = settings(config, seed).model_copy(
        update={"num_train_epochs": config.shot_epochs, "learning_rate": config.shot_learning_rate}
    )
    starts: dict[str, Expert | None] = {"fresh": None, "shared": shelf(base, run, "shared", seed).load()[0]}
    for way in LIBRARIES:
        starts[way] = merge(shelf(base, run, way, seed).load(), "linear", name=f"{way}-mean")
    arms = []
    for way, start in starts.items():
        library = shelf(base, run, f"shots-{way}", seed)
        names = {f"{way}-shots-s{seed}-{task.rpartition('/')[2]}": task for task in shots}
        missing = {n: shots[t] for n, t in names.items() if not library.path.is_dir() or n not in library}
        if missing:
            fleet(base, missing, run, how, tasks={n: (t,) for n, t in names.items()}, start=start, keep=library.add)
        arms.append(Arm(f"few-shot · {way}", library.load(), "oracle"))
    for way in ("poly", "mhr"):
        library = shelf(base, run, way, seed)
        table = load_arm(library, "task_table")
        if "few-shot" not in kept_arms(library):
            taken = take_up(
                base, table, shots, run, how, router_learning_rate=config.table_learning_rate, name=f"{way}-z-s{seed}"
            )
            save_arm(library, replace(taken, name="few-shot"))
        arms.append(replace(load_arm(library, "few-shot"), name=f"few-shot · {way}-z"))
    return arms
