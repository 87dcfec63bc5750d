"""The whole chain on the embedded base: train a library as one fleet, route it, merge it, evaluate everything, draw the page.

Claim   Experts trained apart answer together: each far above the base on its own skill, Arrow above the uniform blend with
        no training at all, the oracle on top.
Paper   Ostapenko et al. 2024, arXiv:2405.11157: Arrow +1.8 points over uniform on a private library (Phi-2, 256 tasks).
Ours    `dev/LOG.md`, with seeds and intervals.
Run     yosegi demo                      two CPU cores, minutes; the same as yosegi run demo
        yosegi run demo --smoke          seconds; the tests run this
"""

from dataclasses import dataclass

from yosegi import tasks
from yosegi.bases import load
from yosegi.engine.arm import Arm
from yosegi.evaluation.measure import evaluate
from yosegi.library.store import Library
from yosegi.reporting import report
from yosegi.reporting.terminal import leaderboard
from yosegi.run import Run
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings


@dataclass(frozen=True)
class Config:
    """What the demo does."""

    base: str = "nano"
    """The base the experts stand beside."""
    skills: tuple[str, ...] = ("reverse", "sort", "succ", "chain", "wp_en", "wp_ja")
    """One expert each."""
    known: tuple[str, ...] = ("add", "capital")
    """What the base does well: does it forget?"""
    steps: int = 200
    """Optimiser steps an expert."""
    limit: int = 100
    """Test questions a task."""
    seed: int = 0
    """Of the data order and of the experts' start."""


SMOKE = Config(skills=("reverse", "sort"), known=("add",), steps=3, limit=8)


def main(config: Config, run: Run) -> None:
    """Train, evaluate, report."""
    base = load(config.base)
    library = Library(run.path / "library", base.hash, base.name)
    settings = Settings(
        learning_rate=5e-3,
        max_steps=config.steps,
        per_device_train_batch_size=32,
        dropout=0,
        seed=config.seed,
        init_seed=config.seed,
    )
    data = {skill: tasks.load(f"skills/{skill}").examples("train") for skill in config.skills}
    missing = {name: rows for name, rows in data.items() if not library.path.is_dir() or name not in library}
    if missing:  # a demo that was interrupted goes on
        known = {name: (f"skills/{name}",) for name in missing}
        fleet(base, missing, run, settings, tasks=known, keep=library.add)

    experts = library.load()
    arms = [Arm("base"), *(Arm(expert.name, [expert]) for expert in experts)]
    arms += [
        Arm("uniform", experts),
        Arm("linear merge", experts, merge="linear"),
        Arm("svd merge", experts, merge="svd"),
    ]
    arms += [Arm("arrow", experts, "arrow"), Arm("oracle", experts, "oracle")]
    asked = [tasks.load(f"skills/{name}") for name in (*config.skills, *config.known)]
    leaderboard(evaluate(base, arms, asked, run, limit=config.limit, seed=config.seed))
    print(f"\nOpen {report([run.path], run.path / 'report.html')}")
