"""The search itself: trials of an Optuna study, kept in one SQLite file of the run, by one process or many at once.

Akiba et al. 2019, "Optuna: A Next-generation Hyperparameter Optimization Framework", arXiv:1907.10902.

    RUN/study.db      every trial, whole or marked as broken off
    RUN/.turn         held while a trial is taken or the study is set up: no trial too many, nothing set up twice
    RUN/.working      held by every living worker; who gets it alone knows that all others are dead, and tidies up after them

A trial is one run of the probe. The baselines come first and are never broken off. Every trial has a place, from 0 on, that
decides what it is drawn from (draws.py); one that was killed counts as nothing, and its place is taken again.
"""

import fcntl
import math
import multiprocessing
import os
import sqlite3
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
import yaml
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from yosegi import files
from yosegi.errors import Invalid, YosegiError
from yosegi.progress import Bar, progress
from yosegi.run import Run
from yosegi.search.cma import Evolution, Number
from yosegi.search.draws import DONE, Draws
from yosegi.search.settings import Search, SearchSettings, open_search
from yosegi.search.workbench import Workbench
from yosegi.training.interrupt import interruptible

FILE, NAME = "study.db", "search"
WARM = 5
"""Trials that are finished before any is broken off, beside the baselines."""


def search(opened: Search, run: Run) -> optuna.Study:
    """Searches until there are so many trials beside the baselines, and returns the study.

    Args:
        opened: what is searched; `trials` of its settings counts those of earlier calls too.
        run: its folder holds the study; one that holds this search already is resumed.

    Raises:
        Invalid: the folder holds another search.
        KeyboardInterrupt: interrupted; what was finished is in the study.
    """
    settings = opened.settings
    end = math.inf if settings.timeout is None else time.time() + settings.timeout
    study = _join(opened, run.path)
    with _working(run.path, lambda: (_tidy(study), _write_missing(study, run))):
        Run(run.path, {"command": "search", **settings.model_dump()})  # not before it is sure whose folder this is
        files.write(run.path / "run.yaml", yaml.safe_dump(settings.model_dump(), sort_keys=False, allow_unicode=True))
        total = settings.trials + len(opened.space.baselines())
        start = multiprocessing.get_context("spawn").Process
        others = [
            start(target=_worker, args=(settings, run.path, total, end), name=f"search-{n}", daemon=True)
            for n in range(1, settings.workers)
        ]
        for other in others:
            other.start()
        seen: list[int] = []
        try:
            with interruptible() as seen, progress("search", total) as bar:
                work(study, opened, run.path, total, end, seen, bar)
                while not seen and any(other.is_alive() for other in others):
                    time.sleep(0.2)
                    _advance(bar, study.get_trials(deepcopy=False))
        finally:
            for other in others:
                if seen and other.is_alive():
                    other.terminate()
                other.join(timeout=60)
        if seen:
            raise KeyboardInterrupt
        if failed := [other.name for other in others if other.exitcode]:
            count = f"{len(failed)} of {settings.workers} workers"
            warnings.warn(f"{count} stopped early ({', '.join(failed)}).", stacklevel=2)
    return study


def work(study: optuna.Study, opened: Search, folder: Path, total: int, end: float, seen: list[int], bar: Bar) -> None:
    """Takes trials and finishes them, until there are enough or the search is interrupted."""
    draws = _draws(opened, study.user_attrs["lag"])
    with Workbench(opened.base, opened.space.arms[0].experts) as bench:
        while not seen and time.time() < end:
            with _turn(folder):
                trials = study.get_trials(deepcopy=False)  # the one look at all of them that a trial costs
                counted = (t for t in trials if t.state in (*DONE, TrialState.RUNNING) and "place" in t.user_attrs)
                places: dict[int, FrozenTrial] = {t.user_attrs["place"]: t for t in counted}
                if len(places) >= total:
                    break
                place = next(n for n in range(total) if n not in places)
                waits = draws.waits_for(place, places)
                trial = None if waits else _take(study, opened, draws, place, places)
            _advance(bar, trials)
            if trial is None:
                _give_back_of_the_dead(study, [places[n] for n in waits])
                time.sleep(0.05)
                continue
            try:
                row = attempt(trial, opened, bench, draws, seen)
            except _Stopped:
                study.tell(trial, state=TrialState.FAIL)
            except YosegiError:
                study.tell(trial, state=TrialState.FAIL)
                raise
            else:
                Run(folder).log(stage="search", step=place, **row)
    _advance(bar, study.get_trials(deepcopy=False))


def _take(
    study: optuna.Study, opened: Search, draws: Draws, place: int, places: Mapping[int, FrozenTrial]
) -> optuna.Trial:
    """Begins the trial of a place. Its parameters are decided here, and told to whoever asks for them."""
    space, baselines = opened.space, list(opened.space.baselines().items())
    label = baselines[place][0] if place < len(baselines) else None
    params = draws.draw(place, places, space.ask) if label is None else dict(baselines[place][1].params)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.PartialFixedSampler(params, optuna.samplers.RandomSampler(0))
    trial = study.ask()
    if label is not None:
        trial.set_user_attr("baseline", label)
    trial.set_user_attr("worker", [os.getpid(), psutil.Process().create_time()])
    trial.set_user_attr("place", place)
    if label is None or not space.routed:  # a router's baselines are outside its space
        space.ask(trial)
    return trial


class _Stopped(Exception):
    """The search was interrupted in the middle of a trial."""


def attempt(
    trial: optuna.Trial,
    opened: Search,
    bench: Workbench,
    draws: Draws,
    seen: list[int] | tuple[()] = (),
) -> dict[str, Any]:
    """One trial: apply the arm, ask the questions, tell the study the result. Returns the row for metrics.jsonl."""
    study, settings, probe, space = trial.study, opened.settings, opened.probe, opened.space
    label, params = trial.user_attrs.get("baseline"), trial.params
    if label and space.routed:
        params, arm = space.baselines()[label]
    else:
        arm = space.arm(params)
    penalty = opened.penalty * space.size(params)
    started = time.perf_counter()
    banks = bench.apply(arm)
    written = time.perf_counter()
    scores: list[list[float]] = []
    value, early, step, values = math.nan, False, 0, dict[int, float]()
    for step, scores in enumerate(probe.run(banks, arm), 1):
        value = probe.mean(scores) - penalty
        if seen and step < probe.rounds:
            raise _Stopped
        if not math.isfinite(value):  # such weights broke the model
            early = True
        elif settings.prune and not settings.pareto and step < probe.rounds:
            trial.report(value, step)
            values[step] = value
            early = not label and draws.is_hopeless(values)
        if early:
            break
    broken, means = not math.isfinite(value), [sum(s) / len(s) for s in scores]
    row = {
        "value": None if broken else value,
        "score": None if broken else probe.mean(scores),
        "means": [None] * len(means) if broken else means,
        "write_ms": round(1e3 * (written - started), 3),
        "probe_ms": round(1e3 * (time.perf_counter() - written), 1),
    }
    if early:
        row = {"state": "pruned", "baseline": label, "step_of": f"{step}/{probe.rounds}", **row}
        trial.set_user_attr("row", row)
        study.tell(trial, state=TrialState.PRUNED)
        return row
    trial.set_user_attr("result", row | {"scores": [[round(x, 5) for x in s] for s in scores]})
    study.tell(trial, [m - penalty for m in means] if settings.pareto else value)
    return {"state": "complete", "baseline": label, **row}


def _write_missing(study: optuna.Study, run: Run) -> None:
    """Writes the rows of trials that a process had finished, and not yet written, when it was killed."""
    path = run.path / "metrics.jsonl"
    known = (
        {row.get("step") for row in files.read_jsonl(path) if row.get("stage") == "search"} if path.exists() else set()
    )
    for trial in study.get_trials(deepcopy=False, states=DONE):
        about = trial.user_attrs
        if about.get("place") not in known and ("row" in about or "result" in about):
            row = about.get("row") or {"state": "complete", "baseline": about.get("baseline"), **about["result"]}
            run.log(
                stage="search", step=about["place"], **{key: value for key, value in row.items() if key != "scores"}
            )


def _worker(settings: SearchSettings, folder: Path, total: int, end: float) -> None:
    """Another process of the same search."""
    Bar.quiet = True
    with interruptible() as seen, _working(folder):
        opened = open_search(settings)
        work(study_of(opened, folder), opened, folder, total, end, seen, Bar("search", total))


def _join(opened: Search, folder: Path) -> optuna.Study:
    """The study of a folder, made when it is not there."""
    with _turn(folder):
        study, now = study_of(opened, folder), opened.identity()
        before = study.user_attrs.get("identity")
        if before is None:
            _draws(opened, 1)  # which refuses what its sampler cannot do
            study.set_user_attr("lag", opened.settings.workers)
            study.set_user_attr("goals", opened.probe.labels)
            study.set_user_attr("identity", now)
        elif "lag" not in study.user_attrs:
            raise Invalid(f"{folder} holds a search of an earlier version. Choose another --run, or delete it.")
        elif changed := [key for key in now if before.get(key) != now[key]]:
            old, new = (textwrap.shorten(str(one.get(changed[0])), 120, placeholder=" …") for one in (before, now))
            raise Invalid(
                f"{folder} holds another search: {changed[0]} was {old}, is {new}. Choose another --run, or delete it."
            )
    return study


def _tidy(study: optuna.Study) -> None:
    """Give back the trials of dead workers."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _give_back_of_the_dead(study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
    """Gives back the trials of workers that were killed while others live, so that none waits for them."""
    for trial in trials:
        pid, created = trial.user_attrs["worker"]
        try:
            alive = psutil.Process(pid).create_time() == created
        except psutil.NoSuchProcess:
            alive = False
        if not alive:
            with suppress(ValueError):  # somebody else was faster
                study.tell(trial.number, state=TrialState.FAIL)


def study_of(opened: Search, folder: Path) -> optuna.Study:
    """The study of a folder."""
    settings, goals = opened.settings, len(opened.probe.goals)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_storage(folder / FILE)
    directions = [optuna.study.StudyDirection.MAXIMIZE] * (goals if settings.pareto else 1)
    return optuna.create_study(storage=storage, study_name=NAME, directions=directions, load_if_exists=True)


def _draws(opened: Search, lag: int) -> Draws:
    settings = opened.settings
    directions = [optuna.study.StudyDirection.MAXIMIZE] * (len(opened.probe.goals) if settings.pareto else 1)
    _sampler(opened, 0)
    warm = WARM + len(opened.space.baselines())
    return Draws(lambda seed: _sampler(opened, seed), directions, settings.seed, lag, warm)


def _sampler(opened: Search, seed: int) -> optuna.samplers.BaseSampler:
    settings, space = opened.settings, opened.space
    if settings.sampler == "random":
        return optuna.samplers.RandomSampler(seed)
    if settings.sampler == "tpe":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    numbers: dict[str, Number] = {}
    for name, v in space.varied(space.arms[0]).items():
        if isinstance(v, CategoricalDistribution):
            raise Invalid("cmaes moves numbers; for a choice of words use --sampler tpe.")
        numbers[name] = v
    start = {name: math.sqrt(v.low * v.high) if v.log else (v.low + v.high) / 2 for name, v in numbers.items()}
    baselines = space.baselines()
    uniform = baselines.get("uniform") or baselines[f"{space.experts[0]} alone"]
    return Evolution(numbers, start | uniform.params, seed)


def open_storage(path: Path) -> optuna.storages.RDBStorage:
    """The SQLite file of a study. A write-ahead log makes a trial cost a few milliseconds of it instead of hundreds.

    Raises:
        Invalid: it is no such file.
    """
    try:
        with sqlite3.connect(path, timeout=60) as file:
            file.execute("PRAGMA journal_mode=WAL")
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": 60}}
        )
    except sqlite3.DatabaseError as error:
        raise Invalid(f"{path} is not the file of a search ({error}). Delete it, or choose another --run.") from error
    storage.engine.dispose()
    event.listen(storage.engine, "connect", lambda link, _: link.execute("PRAGMA synchronous=NORMAL"))
    return storage


def _advance(bar: Bar, trials: Sequence[FrozenTrial]) -> None:
    """Shows how many trials are finished, and the best value so far."""
    finished = [t for t in trials if t.state in DONE]
    values = [t.user_attrs["result"]["value"] for t in finished if "result" in t.user_attrs]
    bar.advance(len(finished) - bar.done, f"best {max(values):.4f}" if values else "")


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One process at a time."""
    with (folder / ".turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _working(folder: Path, tidy: Callable[[], Any] = lambda: None) -> Iterator[None]:
    """This process is at work. If no other is, `tidy` runs first: the lock of a killed process is free at once."""
    handle = os.open(folder / ".working", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with _turn(folder), suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            tidy()
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)
