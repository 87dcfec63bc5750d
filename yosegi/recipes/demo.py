"""The whole chain: train a library as one fleet, route it, merge it, evaluate every arm on every task, draw the page.

Claim   Experts trained apart answer together: each far above the base on its own task, Arrow above the uniform blend with
        no training at all, the oracle on top.
Paper   Ostapenko et al. 2024, arXiv:2405.11157: Arrow +1.8 points over uniform on a private library (Phi-2, 256 tasks).
Ours    `dev/LOG.md`, with seeds and intervals.
Run     yosegi demo                      the embedded base and generated skills: two CPU cores, minutes
        yosegi demo --base smollm2       a pretrained model and real tasks; needs the data folder or the Hub
        yosegi run demo --smoke          seconds; the tests run this
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from yosegi import Arm, Library, evaluate, tasks
from yosegi.errors import NoData
from yosegi.recipes import OnBase
from yosegi.reporting.terminal import leaderboard
from yosegi.run import Run
from yosegi.tasks import Task
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings


@dataclass(frozen=True)
class Config(OnBase):
    """What the demo does."""

    base: str = "nano"
    tasks: tuple[str, ...] = tuple(f"skills/{name}" for name in ("reverse", "sort", "succ", "chain", "wp_en", "wp_ja"))
    known: tuple[str, ...] = ("skills/add", "skills/capital")  # what the base does well: does it forget?
    steps: int = 200  # optimiser steps of an expert
    batch: int = 32  # rows of an expert per step
    learning_rate: float = 5e-3
    max_length: int = 1024  # tokens of a row
    max_new_tokens: int = 512  # tokens of an answer, where the task allows as many
    limit: int = 100  # test questions of a task
    seed: int = 0  # of the data order and of the experts' start


SMOKE = Config(tasks=("skills/reverse", "skills/sort"), known=("skills/add",), steps=3, limit=8)
NI = "natural_instructions"
REAL = Config(
    base="smollm2", known=(), steps=40, batch=4, learning_rate=1e-3, max_length=256, max_new_tokens=32, limit=30,
    tasks=("arc_easy", "boolq", f"{NI}/task1687_sentiment140_classification", f"{NI}/task875_emotion_classification"),
)  # fmt: skip


def config_for(base: str, seed: int = 0) -> Config:
    """Returns the demo for a base: generated skills for nano, real tasks for a model that has read real text.

    Where neither the data folder nor the Hub has the real tasks, that is said, and the skills take their place.
    """
    if base == "nano":
        return Config(seed=seed)
    try:
        for name in REAL.tasks:
            tasks.load(name).examples("test")
    except NoData as error:
        print(f"The demo asks generated skills: {error}", file=sys.stderr)
        skills = {"tasks": Config.tasks[:4], "known": Config.known}
        return replace(REAL, base=base, seed=seed, **skills)
    return replace(REAL, base=base, seed=seed)


def main(config: Config, run: Run) -> None:
    """Train, merge and route, evaluate."""
    base = config.load()
    library = Library(run.path / "library", base.hash, base.name)
    settings = Settings(
        learning_rate=config.learning_rate, max_steps=config.steps, per_device_train_batch_size=config.batch,
        max_length=config.max_length, dropout=0, seed=config.seed, init_seed=config.seed,
    )  # fmt: skip
    asked = _load((*config.tasks, *config.known), config.max_new_tokens)
    trained = {task.name.rpartition("/")[2]: task for task in asked[: len(config.tasks)]}
    data = {name: task.examples("train") for name, task in trained.items() if name not in library}
    if data:  # a demo that was interrupted goes on
        fleet(base, data, run, settings, tasks={name: (trained[name].name,) for name in data}, keep=library.add)

    experts = library.load()
    arms = [Arm("base"), *(Arm(expert.name, [expert]) for expert in experts)]
    arms += [Arm("uniform", experts), *(Arm(f"{merge} merge", experts, merge=merge) for merge in ("linear", "svd"))]
    arms += [Arm(router, experts, router) for router in ("arrow", "oracle")]
    leaderboard(evaluate(base, arms, asked, run, limit=config.limit, seed=config.seed), run.path)


def _load(names: Sequence[str], most: int) -> list[Task]:
    """Returns the tasks, none of which lets an answer grow longer than `most` tokens."""
    loaded = [tasks.load(name) for name in names]
    for task in loaded:
        task.max_new_tokens = min(task.max_new_tokens, most)
    return loaded
