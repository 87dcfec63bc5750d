"""What a library of LoRAs rests on: are like experts worth training together, and does a delta know its own inputs?

Claim   (a) The more alike two private experts are, the more their tasks gain from one expert for both. (b) An expert's delta
        moves inputs of its own task more than another expert's does. (c) Arrow, which builds on (b), comes near the oracle.
        (d) Some number of clusters between one and one a task is best.
Paper   Ostapenko et al. 2024, arXiv:2405.11157: (a) positive correlation; (b) the ratio of norms is above 1 for all samples;
        (c) Arrow ≈ oracle; (d) ten clusters for 256 tasks.
Ours    `dev/LOG.md`: twelve skills on `nano`, 66 pairs, three seeds, by the longer recipe of 1c545d0.
Run     yosegi run insights             some fifteen minutes of one CPU core a seed
        yosegi run insights --smoke     seconds; the tests run this
"""

from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np

from yosegi import Arm
from yosegi.evaluation.norms import norm_ratios
from yosegi.library.similarity import similarity
from yosegi.recipes import OnBase
from yosegi.run import Run
from yosegi.study import Study, Training, arms_finding, claims, claims_finding, read
from yosegi.study.measures import LOGP, Measure
from yosegi.study.tables import above_one, by_number, correlations, two_arms
from yosegi.training.settings import Settings

SKILLS = "reverse sort succ chain wp_en wp_ja double shift upper last add max"


@dataclass(frozen=True)
class Config(OnBase):
    """What is measured."""

    base: str = "nano"
    tasks: tuple[str, ...] = tuple(f"skills/{name}" for name in SKILLS.split())  # an expert for each, and for each pair
    seeds: tuple[int, ...] = (0, 1, 2)
    limit: int = 600  # training examples of a task
    asked: int = 50  # test examples of a task
    epochs: float = 2.5  # passes over the data of a task, alone or in a pair
    clusters: tuple[int, ...] = (2, 3, 4, 6, 9)  # numbers of clusters between one expert for all and one a task
    rank: int = 8
    alpha: float = 16
    learning_rate: float = 5e-3
    batch: int = 32
    draws: int = 2000  # of the bootstrap and the permutations


SMOKE = Config(
    tasks=("skills/reverse", "skills/sort", "skills/succ", "skills/last"), seeds=(0,), limit=16, asked=4, epochs=1.0,
    clusters=(2,), batch=4, draws=50,
)  # fmt: skip


def main(config: Config, run: Run) -> None:
    """Train an expert for each task, each pair and each cluster; measure by the log p of the gold answers."""
    base, tasks = config.load(), list(config.tasks)
    study, pairs = Study(base, run), list(combinations(range(len(tasks)), 2))
    data = {task: read(task, "train", config.limit) for task in tasks}
    asked = {task: read(task, "test", config.asked) for task in tasks}
    upper = np.triu_indices(len(tasks), 1)
    gains, cosines, ratios = [], {"factors": [], "delta": []}, {"raw": [], "equal size": []}
    scores: dict[str, dict[int, list[float]]] = {}
    silhouettes: dict[str, list[float]] = {}
    for seed in config.seeds:
        settings = Settings(
            rank=config.rank, alpha=config.alpha, learning_rate=config.learning_rate, num_train_epochs=config.epochs,
            per_device_train_batch_size=config.batch, dropout=0, seed=seed, init_seed=seed,
        )  # fmt: skip
        private = {
            task: Arm("", [e]) for e in study.build("private", seed, data, settings)[0].load() for task in e.tasks
        }
        experts = [private[task].experts[0] for task in tasks]

        # (a) Every pair of tasks as one expert, each task read as often as alone.
        both = {
            f"{i}-{j}": Training([*data[tasks[i]], *data[tasks[j]]], settings, [tasks[i], tasks[j]]) for i, j in pairs
        }
        alone = [study.logp(private[task], asked[task]) for task in tasks]
        gain_TT = np.zeros((len(tasks), len(tasks)))
        for (i, j), expert in zip(pairs, study.train(both, seed).values(), strict=True):
            gain_TT[i, j] = gain_TT[j, i] = fmean(
                study.logp(Arm("", [expert]), asked[tasks[t]]) - alone[t] for t in (i, j)
            )
        gains.append(gain_TT)
        for space, several in cosines.items():
            several.append(similarity(experts, space).numpy())
            study.result(
                "private pairs",
                f"pearson_{space}",
                np.corrcoef(several[-1][upper], gain_TT[upper])[0, 1],
                seed,
            )

        # (b) How much more a task's own expert moves its inputs than each other expert does.
        for what, several in norm_ratios(base, experts, list(asked.values())).items():
            ratios[what].append(several)
            study.result(
                "norm ratio", f"share_above_1_{what.replace(' ', '_')}", float(np.mean(np.array(several) > 1)), seed
            )

        # (c) Arrow over all experts, and (d) libraries of k clusters; each task with its cluster's expert.
        arms = {"oracle": private, "arrow": dict.fromkeys(tasks, Arm("", experts, "arrow"))}
        for k in (1, *(k for k in config.clusters if k < len(tasks))):
            for way in ("mbc", "random") if k > 1 else ("shared",):
                more = {"clusters": k, "cluster_seed": 42 + seed, "brief_library": study.library(seed, "brief")}
                library, partition = study.build(way, seed, data, settings, f"{way} {k}", **more)
                if way == "mbc":
                    silhouettes.setdefault(f"mbc, k {k}", []).append(partition.evidence["silhouette"])
                arms[f"{way}, k {k}"] = {
                    task: Arm("", [library[name]]) for name, group in partition.tasks.items() for task in group
                }
        for name, by_task in arms.items():
            values = [value for task in tasks for value in study.logps(by_task[task], asked[task])]
            scores.setdefault(name, {})[seed] = values
            study.result(name, "logp", fmean(values), seed)

    measure = Measure("tasks", LOGP, scores, [task for task in tasks for _ in asked[task]], over_tasks=True)
    gain_TT, cosine = np.mean(gains, 0), {space: np.mean(several, 0) for space, several in cosines.items()}
    ends = {1: "shared, k 1", len(tasks): "oracle"}
    curves = {way: ends | {k: f"{way}, k {k}" for k in config.clusters} for way in ("mbc", "random")}
    table = {"arrow": {"oracle": "≈ 0"}} | {f"mbc, k {k}": {f"random, k {k}": "> 0"} for k in config.clusters}
    gain = "Gain: log p of the gold answers with one expert for both tasks, less that with one each; each task is read as often."
    ratio = (
        "‖ΔW x‖ of the task's own expert over that of another; at equal size every ΔW is divided by its Frobenius norm."
    )
    number = "Every task with its cluster's expert; oracle is one a task. Clusters have three fifths of the training."
    study.save("What a library of LoRAs rests on", [
        correlations(
            "Like experts, and the gain of training together", tasks, cosine, gain_TT, ("cosine", "gain, nats a token"),
            [gain, f"{np.mean(gain_TT[upper] > 0):.0%} of {len(pairs)} pairs gain."], config.draws,
        ),
        above_one("Does a delta know its own inputs?", ratios, [ratio]),
        two_arms("Arrow against the oracle", measure, {"": ("oracle", "arrow")}, ["A task's own expert is the oracle."]),
        arms_finding(
            "How many clusters", [measure], [number], figure=by_number("log p by clusters", measure, curves, "clusters"),
            more={"silhouette": {arm: round(fmean(values), 4) for arm, values in silhouettes.items()}},
        ),
        claims_finding(claims({"tasks": table}), [measure]),
    ])  # fmt: skip
