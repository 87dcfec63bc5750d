"""A library of LoRAs on real tasks: built six ways, routed nine ways, asked for tasks it knows and tasks it does not.

Claim   Clustering tasks by the experts they make (MBC) gives a better library than one expert a task, one for all, or clusters
        drawn at random; Arrow routes it, with no training and no data, about as well as an oracle that is told the task.
Paper   Ostapenko et al. 2024, arXiv:2405.11157 (Phi-2, 256 tasks of Flan): MBC-μ +1.2 over MHR, MBC-Arrow +0.3 over MBC-μ,
        private-Arrow +1.8 over private-μ, TP and CM +0.9; Arrow ≈ oracle on known tasks.
Ours    `dev/LOG.md`: three seeds on natural instructions, by the longer recipe of 1c545d0 with a base of 2.6 M parameters that
        had not read those tasks. With this base it is to be measured.
Run     yosegi run mbc_arrow                      hours on a CPU: begin with --seeds 0; or --base nano --tasks skills
        yosegi run mbc_arrow --smoke              generated skills, whose held-out compositions are the new tasks
"""

import hashlib
from dataclasses import dataclass, replace

from yosegi import Arm, merge
from yosegi.errors import NoData, UnknownName
from yosegi.recipes import OnBase
from yosegi.run import Run
from yosegi.study import Study, Training, arms_finding, claims, claims_finding, load, measures
from yosegi.study.tables import short, two_arms
from yosegi.tasks.natural_instructions import NaturalInstructions
from yosegi.training.settings import Settings

SKILLS = "reverse,sort,succ,chain,wp_en,wp_ja,double,shift,upper,last,add,max"
COMPOSITIONS = "reverse+sort,upper+shift,reverse+double,chain+wp_en,upper+last,sort+double,janum+add,shift+last"
CLAIMS = claims({
    "new tasks": {
        "mbc · uniform": {"mhr": "+1.2", "random · uniform": "> 0"},
        "mbc · arrow": {"mbc · uniform": "+0.3", "base": "+3.6", "shared": "+1.8"},
        "private · arrow": {"private · uniform": "+1.8"},
        "private · predictor": {"private · uniform": "+0.9"},
        "private · centroid": {"private · uniform": "+0.9"},
    },
    "known tasks": {
        "mbc · oracle": {"random · oracle": "> 0"},
        "mbc · arrow": {"mbc · oracle": "≈ 0"},
        "private · arrow": {"private · uniform": "> 0", "private · oracle": "≈ 0"},
        "private · predictor": {"private · oracle": "≈ 0"},
    },
})  # fmt: skip


@dataclass(frozen=True)
class Config(OnBase):
    """What is compared."""

    tasks: str = "natural_instructions"  # or skills (generated)
    seen: int = 17  # tasks the libraries are built from; all others are new tasks. Skills: the first so many of a list
    unseen: int = 8
    split_seed: int = 0  # decides which tasks are new
    seeds: tuple[int, ...] = (0, 1, 2)  # each builds everything anew: another start, another order, other clusters
    limit: int = 40  # training examples of a task
    shots: int = 16  # examples of a new task, for few-shot adaptation
    asked: int = 10  # test questions of a task
    epochs: float = 4.0  # passes over the training data; MBC and random clusters divide them
    shot_epochs: float = 4.0  # passes over the few shots
    clusters: int = 5
    skills: int = 5  # experts that Poly and MHR share: as many as there are clusters, so that all have the same size
    heads: int = 4  # of MHR
    space: str = "factors"  # what MBC compares: factors (the paper's) or delta
    rank: int = 4
    alpha: float = 16
    learning_rate: float = 1e-3  # of the expert of a task or cluster; beyond it none can be routed (dev/LOG.md)
    shot_learning_rate: float = 1e-3  # of an expert on a few shots
    shared_learning_rate: float = 2e-3  # of experts on all tasks: shared, Poly, MHR
    table_learning_rate: float = 0.1  # of the logits of Poly and MHR
    batch: int = 4
    max_length: int = 256
    max_new_tokens: int = 40
    gate_steps: int = 50  # of PHATGOOSE (100 in the paper)
    gate_batch: int = 2  # sequences of each expert in one of them
    routers: tuple[str, ...] = tuple(
        ["uniform", "predictor", "centroid", "arrow", "spectr", "phatgoose", "retrieval", "oracle"]
    )
    factors: tuple[str, ...] = ("uniform", "arrow")  # those that are also run with mix=factors, the authors' default


SMOKE = Config(
    base="nano", tasks="skills", seen=3, unseen=1, seeds=(0,), limit=8, shots=2, asked=1, epochs=1.0, shot_epochs=1.0,
    clusters=2, skills=2, heads=2, batch=4, max_new_tokens=4, gate_steps=1, factors=("arrow",),
    routers=("uniform", "predictor", "arrow", "phatgoose", "oracle"),
)  # fmt: skip


def split(config: Config) -> tuple[list[str], list[str]]:
    """Returns the tasks that libraries are built from, and the new ones: by the hash of (seed, name)."""
    UnknownName.check("kind of tasks", [config.tasks], ["natural_instructions", "skills"])
    if config.tasks == "skills":
        known, new = ([f"skills/{name}" for name in names.split(",")] for names in (SKILLS, COMPOSITIONS))
        return known[: config.seen], new[: config.unseen]
    if not (names := NaturalInstructions.parts()):
        raise NoData("This recipe needs the data folder with instruct/ (set YOSEGI_DATA); --tasks skills needs none.")
    names = sorted(names, key=lambda name: hashlib.sha256(f"{config.split_seed}:{name}".encode()).hexdigest())
    names = [f"natural_instructions/{name}" for name in names[: config.seen + config.unseen]]
    return names[: config.seen], names[config.seen :]


def main(config: Config, run: Run) -> None:
    """Build every library, route it in every way, ask for known and new tasks; then give a few examples of the new ones."""
    base, (known, new) = config.load(), (load(names, config.max_new_tokens) for names in split(config))
    data = {task.name: task.sample("train", config.limit) for task in known}
    shots = {task.name: task.sample("train", config.shots) for task in new}
    study, rate = Study(base, run), config.table_learning_rate
    gates = {"phatgoose": {"steps": config.gate_steps, "batch_size": config.gate_batch}}

    def settings(seed: int, learning_rate: float, epochs: float = config.epochs) -> Settings:
        return Settings(  # without dropout: on a CPU it is a third of the time
            rank=config.rank, alpha=config.alpha, learning_rate=learning_rate, num_train_epochs=epochs, dropout=0,
            per_device_train_batch_size=config.batch, max_length=config.max_length, seed=seed, init_seed=seed,
        )  # fmt: skip

    for seed in config.seeds:
        alone, every = settings(seed, config.learning_rate), settings(seed, config.shared_learning_rate)
        brief = settings(seed, config.shot_learning_rate, config.shot_epochs)
        clusters = {"clusters": config.clusters, "space": config.space, "cluster_seed": 42 + seed}
        arms: dict[str, Arm | None] = {"shared": Arm("", shared := study.build("shared", seed, data, every)[0].load())}
        starts = {"fresh": None, "shared": shared[0]}
        for way in ("private", "mbc", "random"):
            experts = (library := study.build(way, seed, data, alone, **clusters)[0]).load()
            starts[way] = merge(experts, "linear", name=f"{way} mean")
            for router in config.routers:
                arm = study.route(router, seed, experts, router, {}, data, gates.get(router, {}), library)
                arms |= {f"{way} · {router}": arm}
                if router in config.factors and arm:
                    arms[f"{way} · {router} · factors"] = replace(arm, mix="factors")
        few: dict[str, Arm | None] = {}
        for way, start in starts.items():
            adapted = {
                f"{way} shots {short(name)}": Training(rows, brief, [name], start) for name, rows in shots.items()
            }
            few[f"few-shot · {way}"] = Arm("", [*study.train(adapted, seed).values()], "oracle")
        for way, heads in (("poly", 1), ("mhr", config.heads)):
            arms[way] = study.bank(way, seed, data, every, rate, experts=config.skills, heads=heads)
            few[f"few-shot · {way}-z"] = study.new_tasks(arms[way], seed, shots, brief, rate)
        study.evaluate(arms, [*known, *new], seed, limit=config.asked, traced=2 * (seed == config.seeds[0]))
        study.evaluate(few, new, seed, limit=config.asked)

    scores = measures(run, {"known tasks": [*data], "new tasks": [*shots]}, over_tasks=True)
    few_shot = [arm for arm in scores[-1].scores if arm == "base" or arm.startswith("few-shot")]
    about = f"{config.limit} examples of each known task. An oracle has no answer to a new task."
    points = "The paper: points of accuracy of Phi-2 or Mistral on ten benchmarks. Only the signs can be compared."
    shown = f"{config.shots} examples of each. An expert begins fresh or as a library's mean; z learns rows of a table alone."
    pairs = {way: (f"{way} · oracle", f"{way} · arrow") for way in ("private", "mbc")}
    study.save("A library of LoRAs: who builds it, who routes it", [
        arms_finding("Every library under every router", scores, [about], arms=[*scores[0].scores], figure=2),
        claims_finding(CLAIMS, scores, note=points),
        arms_finding("A few examples of a new task", scores[2:], [shown], arms=few_shot),
        two_arms("Arrow against the oracle", scores[1], pairs, ["On the diagonal Arrow does as well as the oracle."]),
    ])  # fmt: skip
