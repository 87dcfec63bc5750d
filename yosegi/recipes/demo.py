"""The whole chain on the embedded base: train a library as one fleet, route it, merge it, evaluate everything, draw the page.

Claim   Experts trained apart answer together: each far above the base on its own skill, Arrow above the uniform blend with
        no training at all, the oracle on top.
Paper   Ostapenko et al. 2024, arXiv:2405.11157: Arrow +1.8 points over uniform on a private library (Phi-2, 256 tasks).
Ours    `dev/LOG.md`, with seeds and intervals.
Run     yosegi demo                      two CPU cores, minutes; the same as yosegi run demo
        yosegi run demo --smoke          seconds; the tests run this
"""

from dataclasses import dataclass

from yosegi import Arm, Library, evaluate, load_base, tasks
from yosegi.reporting.terminal import leaderboard
from yosegi.run import Run
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings


@dataclass(frozen=True)
class Config:
    """What the demo does."""

    base: str = "nano"
    skills: tuple[str, ...] = ("reverse", "sort", "succ", "chain", "wp_en", "wp_ja")  # an expert for each
    known: tuple[str, ...] = ("add", "capital")  # what the base does well: does it forget?
    steps: int = 200  # optimiser steps of an expert
    limit: int = 100  # test questions of a task
    seed: int = 0  # of the data order and of the experts' start


SMOKE = Config(skills=("reverse", "sort"), known=("add",), steps=3, limit=8)


def main(config: Config, run: Run) -> None:
    """Train, merge and route, evaluate."""
    base = load_base(config.base)
    library = Library(run.path / "library", base.hash, base.name)
    settings = Settings(
        learning_rate=5e-3, max_steps=config.steps, per_device_train_batch_size=32, dropout=0, seed=config.seed,
        init_seed=config.seed,
    )  # fmt: skip
    data = {skill: tasks.load(f"skills/{skill}").examples("train") for skill in config.skills if skill not in library}
    if data:  # a demo that was interrupted goes on
        fleet(base, data, run, settings, tasks={skill: (f"skills/{skill}",) for skill in data}, keep=library.add)

    experts = library.load()
    arms = [Arm("base"), *(Arm(expert.name, [expert]) for expert in experts)]
    arms += [Arm("uniform", experts), *(Arm(f"{merge} merge", experts, merge=merge) for merge in ("linear", "svd"))]
    arms += [Arm(router, experts, router) for router in ("arrow", "oracle")]
    asked = [tasks.load(f"skills/{name}") for name in (*config.skills, *config.known)]
    leaderboard(evaluate(base, arms, asked, run, limit=config.limit, seed=config.seed), run.path)
