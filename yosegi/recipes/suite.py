"""The suite: a base, four experts, three routers and two merges on every task that has data here, in one report.

Claim   Experts trained apart, each on one task, help where they were trained; blended or routed they answer many tasks better
        than the base, and cost it little where nobody was trained.
Paper   Ostapenko et al. 2024, arXiv:2405.11157: Arrow +1.8 points over uniform on ten tasks that no expert saw (Phi-2).
Ours    Measured by this recipe with smollm2 (`dev/LOG.md`), beside the scores that its authors published.
Run     yosegi run suite --base smollm2                   an hour on two cores with bf16; interrupted, it goes on
        yosegi run suite --base smollm2 --questions 100   goes on from there: what was asked is not asked again
        yosegi run suite --smoke                          seconds; the tests run this

Choices are scored by likelihood, and every arm answers `questions` of each task. Answers that have to be written take longer: the
base, an expert and the best router write two fifths as many, of at most `max_new_tokens` tokens, so that tasks with long answers
are cut short and say so. The expert is the task's own where there is one, else the one with the best mean rank over the choices,
as the router is: both are chosen by other questions than they are asked here. Programs run in the sandbox.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from yosegi import Arm, Library, evaluate, registry, tasks
from yosegi.errors import Invalid, NoData, YosegiError
from yosegi.findings import Finding
from yosegi.library.card import check_base
from yosegi.recipes import OnBase
from yosegi.run import Run
from yosegi.study import Study, Training
from yosegi.study.across import across, ranks
from yosegi.study.published import published_finding
from yosegi.study.texts import INVENTED, invented
from yosegi.tasks import Task
from yosegi.training.settings import Settings

NI = "natural_instructions"
LEARNT = ("arc_easy", "boolq", f"{NI}/task1687_sentiment140_classification", f"{NI}/task875_emotion_classification")
UNSEEN = (
    "subtask003_mctaco_question_generation_event_duration",
    "subtask007_mctaco_answer_generation_transient_stationary",
)
RAILWAY = "terms/ja_railway_law"
PARTS = {
    NI: (*LEARNT[2:], *(f"{NI}/{name}" for name in UNSEEN)), "terms": (RAILWAY, f"{RAILWAY}/choices", f"{RAILWAY}/rank"),
    "corpus": (), "file": (), "lm_eval": (), "skills": (),
}  # fmt: skip
"""The parts of tasks that need one: none of those that are texts, the user's own, another harness's, or made up."""
GROWS = ("questions",)
"""Fields that may be larger when a run goes on."""


@dataclass(frozen=True)
class Config(OnBase):
    """What is asked, and of whom."""

    questions: int = 50  # of a task with choices
    max_new_tokens: int = 64  # of an answer that is written
    library: str = ""  # experts that are there; by default those of `learnt` are trained, as the demo trains them
    tasks: tuple[str, ...] = ()  # by default all that have data here
    learnt: tuple[str, ...] = LEARNT  # the task of each expert
    steps: int = 40  # optimiser steps of an expert
    batch: int = 4  # rows of an expert per step
    learning_rate: float = 1e-3
    max_length: int = 256  # tokens of a row
    routers: tuple[str, ...] = ("uniform", "arrow", "spectr")
    merges: tuple[str, ...] = ("linear", "ties")
    seed: int = 0  # of the data order and of the experts' start


SMOKE = Config(
    base="nano", questions=5, max_new_tokens=8, tasks=(INVENTED, "skills/reverse", "skills/add"),
    learnt=("skills/reverse", "skills/sort"), steps=2,
)  # fmt: skip


def main(config: Config, run: Run) -> None:
    """Train the experts, ask choices of all arms, have the best of them write, hold the base against what was published."""
    if config.questions < 1:
        raise Invalid("The suite asks one question of a task at least (--questions 50).")
    asked, missing = _asked(config, run)
    for line in missing:
        print(line, file=sys.stderr)
    base = config.load()
    experts = _experts(config, base, run)
    alone = {expert.name.removesuffix(f" s{config.seed}"): Arm("", [expert]) for expert in experts}
    alone = {name: replace(arm, name=name) for name, arm in alone.items()}
    routed = {router: Arm(router, experts, router) for router in config.routers}
    merged = [Arm(f"{merge} merge", experts, merge=merge) for merge in config.merges]
    chosen, written = ([task for task in asked if task.generates == writes] for writes in (False, True))
    fewer = max(1, config.questions * 2 // 5)
    arms = [Arm("base"), *alone.values(), *routed.values(), *merged]
    sizes = f"{len(chosen)} tasks with choices: {len(arms)} arms, {config.questions} questions each."
    print(f"{sizes} {len(written)} with written answers: 3 arms, {fewer} questions each.", file=sys.stderr)
    rows = evaluate(base, arms, chosen, run, limit=config.questions, seed=config.seed, traced=4) if chosen else []
    by_rank = ranks(rows, chosen)
    expert, router = (min(several, key=lambda name: by_rank.get(name, 0.0)) for several in (alone, routed))
    taught = {task: name for name, arm in alone.items() for task in arm.experts[0].tasks}
    for task in written:
        task.max_new_tokens = min(task.max_new_tokens, config.max_new_tokens)
    for name in alone:
        several = [task for task in written if taught.get(task.name, expert) == name]
        if several:
            three = [Arm("base"), alone[name], routed[router]]
            rows += evaluate(base, three, several, run, limit=fewer, seed=config.seed, traced=0)
    choice = f"Answers were written by the base, {expert} or the task's own expert, and {router}."
    Study(base, run).save(f"{base.name} and its experts on {len(asked)} tasks", [
        *(across(rows, chosen, [choice]) if chosen else ()),
        published_finding(base, rows, run),
        Finding("Left out", missing) if missing else None,
    ])  # fmt: skip
    for name, rank in sorted(by_rank.items(), key=lambda pair: pair[1]):
        print(f"{name:40} mean rank {rank:.2f} of {len(by_rank)} over {len(chosen)} tasks with choices")


def _asked(config: Config, run: Run) -> tuple[list[Task], list[str]]:
    """Returns the tasks that have data here, and a line for each that is left out."""
    names = config.tasks or [part for name in registry.names("tasks") for part in PARTS.get(name, (name,))]
    asked, missing, nowhere, seen = list[Task](), list[str](), list[str](), dict[tuple[str, ...], str]()
    for name in names:
        task = tasks.load(f"{invented(run.path / 'texts')['quiz']}/choices" if name == INVENTED else name)
        try:
            questions = tuple(example.prompt for example in task.examples("test"))
        except NoData:
            nowhere.append(name)
            continue
        except YosegiError as error:
            missing.append(f"{name} is left out: {error}")
            continue
        if (other := seen.setdefault(questions, name)) != name:
            missing.append(f"{name} is left out: it asks what {other} asks.")
            continue
        asked.append(task)
    if not asked:
        raise Invalid("No task has data here.")
    return asked, [f"Left out, for there is no data here: {', '.join(nowhere)}.", *missing] if nowhere else missing


def _experts(config: Config, base: Any, run: Run) -> Sequence[Any]:
    """Returns the experts of the library, or trains one on each task."""
    if config.library:
        experts = Library(config.library).load()
        for expert in experts:
            check_base(expert, base.name, base.hash)
        return experts
    settings = Settings(
        learning_rate=config.learning_rate, max_steps=config.steps, per_device_train_batch_size=config.batch,
        max_length=config.max_length, dropout=0, seed=config.seed, init_seed=config.seed,
    )  # fmt: skip
    trainings = {name.rpartition("/")[2]: Training.on(name, settings) for name in config.learnt}
    return list(Study(base, run).train(trainings, config.seed).values())
