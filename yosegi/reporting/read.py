"""What runs left on disk, read once and checked. Everything else in the report works on this and opens no file."""

import datetime
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.errors import Corrupt, NoData
from yosegi.findings import Findings, load
from yosegi.reporting.format import known

Row = dict[str, Any]

ARMS = ("method", "router", "mix", "merge")
"""Columns that may tell two models of one name apart."""
RESULTS, METRICS = "results.jsonl", "metrics.jsonl"
DIFF = "_diff"
"""What the metric of a comparison may end in."""


@dataclass(frozen=True)
class Measurement:
    """One row of results.jsonl: `model` and `task` are unique labels on this page, `row` is the row as it was."""

    run: str
    model: str
    task: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    seed: Any
    row: Row

    @property
    def compares(self) -> bool:
        """Returns whether it is a paired comparison with another model."""
        return self.row.get("against") is not None or self.row.get("p_value") is not None

    @property
    def is_difference(self) -> bool:
        """Returns whether its value is the difference, and not what one of the two models reached."""
        is_diff = str(self.row["metric"]).endswith(DIFF) or self.row.get("value") == self.row.get("diff")
        return self.compares and is_diff

    def number(self, key: str) -> float | None:
        """Returns a column of the row, if it is a number."""
        return known(self.row.get(key))


@dataclass
class Run:
    """The files of one run. `name` is unique on the page."""

    path: Path
    name: str
    rows: list[Row]
    metrics: list[Row] = field(default_factory=list)
    config: Any = None
    env: Any = None
    routing: Row = field(default_factory=dict)
    similarity: Row = field(default_factory=dict)
    experts: list[tuple[Row, int]] = field(default_factory=list)
    """Cards of the run's library, and the bytes of each expert on disk."""
    findings: Findings | None = None

    @cached_property
    def compares_bases(self) -> bool:
        """Returns whether bases are compared with each other: then none of them is what the others are measured against."""
        return len({(row.get("base"), row.get("base_hash")) for row in self.rows if row.get("method") == "base"}) > 1

    @property
    def when(self) -> str:
        """When it was: as the environment says, else when the results were last written."""
        if isinstance(self.env, dict) and isinstance(self.env.get("started"), str):
            return self.env["started"]
        written = [path.stat().st_mtime for name in (RESULTS, METRICS) if (path := self.path / name).exists()]
        return f"{datetime.datetime.fromtimestamp(written[0], datetime.UTC):%Y-%m-%d %H:%M UTC}" if written else ""

    def items(self, measurement: Measurement) -> list[Row]:
        """Returns the examples behind a measurement; none if they are not there or lie outside the run."""
        name = measurement.row.get("items")
        if not isinstance(name, str):
            return []
        path = (self.path / name).resolve()
        if not path.is_relative_to(self.path.resolve()) or not path.is_file():
            return []
        rows = files.read_jsonl(path)
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict) or "id" not in row or known(row.get("score")) is None:
                raise Corrupt(f"{path}, row {number}, is not an example: it needs an id and a score.")
        return rows


@dataclass
class Results:
    """Every run of the page, and their measurements under one set of labels."""

    runs: list[Run]
    measurements: list[Measurement] = field(default_factory=list)

    @cached_property
    def scores(self) -> list[Measurement]:
        """One measurement for each (model, task, metric, seed): the last one written, as a repeated run means it."""
        return _last(self.measurements)

    @cached_property
    def general(self) -> list[Measurement]:
        """Returns the same of those marked as general knowledge, even where the task was also measured for itself."""
        return _last([m for m in self.measurements if m.row.get("general")])

    @cached_property
    def stale(self) -> set[tuple[str, str]]:
        """Returns the models and tasks whose score is of an arm that was trained again, or is another, since."""
        hashes = [(m, m.row["arm_hash"]) for m in self.measurements if m.row.get("arm_hash")]
        newest = {(m.run, m.model, str(m.seed)): arm_hash for m, arm_hash in hashes}
        older = {id(m) for m, arm_hash in hashes if arm_hash != newest[m.run, m.model, str(m.seed)]}
        return {(m.model, m.task) for m in self.scores if id(m) in older}

    @cached_property
    def comparisons(self) -> list[Measurement]:
        """Returns the last paired comparison for each (model, task, metric, seed, against)."""
        last = {
            (m.model, m.task, m.metric, str(m.seed), str(m.row.get("against"))): m
            for m in self.measurements
            if m.compares and known(m.row.get("p_value")) is not None
        }
        return list(last.values())

    @cached_property
    def _names(self) -> dict[tuple[str, str], str]:
        return {(m.run, str(m.row["model"])): m.model for m in reversed(self.measurements)}

    def against(self, m: Measurement) -> str:
        """Returns the label of what a model was compared with: the base, if its row does not say."""
        name = m.row.get("against")
        return self.bases.get(m.run, "the base") if name is None else self._names.get((m.run, str(name)), str(name))

    @cached_property
    def models(self) -> list[str]:
        """Labels, as they came, bases first."""
        seen = list(dict.fromkeys(m.model for m in self.scores))
        return sorted(seen, key=lambda model: model not in self.bases.values())

    @cached_property
    def tasks(self) -> list[str]:
        """Labels, as they came."""
        return list(dict.fromkeys(m.task for m in self.scores))

    @cached_property
    def bases(self) -> dict[str, str]:
        """Returns the label of the model without experts, by run; borrowed from a run on the same base if need be."""
        bases: dict[str, str] = {}
        single = [run for run in self.runs if not run.compares_bases]
        for run in single:
            rows = [m for m in self.measurements if m.run == run.name]
            labels = {m.row["model"]: m.model for m in rows if not m.compares or m.value is not None}
            against = Counter(str(m.row["against"]) for m in rows if m.row.get("against") is not None)
            candidates = ["base", *(str(m.row["model"]) for m in rows if m.row.get("method") == "base")]
            candidates += [str(m.row["base"]) for m in rows[:1] if m.row.get("base")]
            candidates += [name for name, _ in against.most_common(1)]
            if (name := next((name for name in candidates if name in labels), None)) is not None:
                bases[run.name] = labels[name]
        hashes = {r.name: next(((row.get("base"), row.get("base_hash")) for row in r.rows), None) for r in self.runs}
        for run in single:
            lender = next((other for other in bases if hashes[other] == hashes[run.name]), None)
            if run.name not in bases and lender is not None:
                bases[run.name] = bases[lender]
        return bases

    @cached_property
    def base_of(self) -> dict[str, str | None]:
        """Returns the base that each model is measured against, if there is one."""
        return {m.model: self.bases.get(m.run) for m in self.measurements}


def _last(measurements: list[Measurement]) -> list[Measurement]:
    last: dict[tuple[Any, ...], Measurement] = {}
    for m in measurements:
        key = (m.model, m.task, m.metric, str(m.seed))
        # A comparison row repeats the value that it compares; it counts only if nothing else says it.
        if m.value is not None and not m.is_difference and not (m.compares and key in last and not last[key].compares):
            last[key] = m
    return list(last.values())


def read(paths: list[Path]) -> Results:
    """Reads every run.

    Raises:
        NoData: a run is not there, or there is nothing in it.
        Corrupt: a file is damaged; names it.
    """
    folders = {path.resolve(): path for path in paths}
    if not folders:
        raise NoData("No run was given to report on.")
    names: Counter[str] = Counter()
    runs: list[Run] = []
    for path, given in folders.items():
        names[path.name] += 1
        number = f" ({names[path.name]})" if names[path.name] > 1 else ""
        runs.append(_run(path, path.name + number, given))
    return gather(runs)


def gather(runs: list[Run]) -> Results:
    """Returns the results of runs, whose rows are labelled."""
    several_splits = len({str(row.get("split")) for run in runs for row in run.rows}) > 1
    results = Results(runs)
    for run in runs:
        labels = _labels(run, several=len(runs) > 1)
        for row in run.rows:
            task = f"{row['task']} · {row['split']}" if several_splits and row.get("split") else str(row["task"])
            metric = str(row["metric"]).removesuffix(DIFF if "against" in row else "")
            value, low, high, n = (known(row.get(key)) for key in ("value", "ci_low", "ci_high", "n"))
            count = None if n is None else int(n)
            results.measurements.append(
                Measurement(run.name, labels[_arm(row)], task, metric, value, low, high, count, row.get("seed"), row)
            )
    return results


def _run(path: Path, name: str, given: Path) -> Run:
    if not path.is_dir():
        raise NoData(f"There is no run at {str(given)!r}.")

    def rows(file: str, *needed: str) -> list[Row]:
        rows = files.read_jsonl(path / file) if (path / file).exists() else []
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict):
                raise Corrupt(f"{given / file}, row {number}, is not an object.")
            if missing := [key for key in needed if row.get(key) is None]:
                raise Corrupt(f"{given / file}, row {number}, lacks {', '.join(missing)}.")
            if not isinstance(row.get("value"), int | float | None):
                raise Corrupt(f"{given / file}, row {number}: the value {row['value']!r} is not a number.")
        return rows

    def value(file: str, default: Any = None) -> Any:
        content = files.read_json(path / file) if (path / file).exists() else default
        if default is not None and not isinstance(content, type(default)):
            raise Corrupt(f"{given / file} is not an object.")
        return content

    cards = [
        (files.read_json(card), sum(f.stat().st_size for f in card.parent.iterdir() if f.is_file()))
        for card in sorted((path / "library").glob("**/expert.json"))
        if not any(part.startswith(".") for part in card.relative_to(path).parts)
    ]
    run = Run(
        path=path,
        name=name,
        rows=rows(RESULTS, "model", "task", "metric"),
        metrics=rows(METRICS),
        config=value("config.json"),
        env=value("env.json"),
        routing=value("routing.json", {}),
        similarity=value("similarity.json", {}),
        experts=[(card, size) for card, size in cards if isinstance(card, dict)],
        findings=load(path),
    )
    if not (run.rows or run.metrics or run.routing or run.similarity or run.experts or run.findings):
        raise NoData(f"The run {str(given)!r} is empty: it has neither {RESULTS} nor {METRICS} to report.")
    return run


def _arm(row: Row) -> tuple[str, ...]:
    return (str(row["model"]), *(str(row.get(key) or "") for key in ARMS))


def _labels(run: Run, several: bool) -> dict[tuple[str, ...], str]:
    """Returns a label for each arm: the model's name, with what sets it apart from others of that name."""
    arms = list(dict.fromkeys(_arm(row) for row in run.rows if row.get("against") is None))
    prefix = [run.name] if several else []
    labels: dict[tuple[str, ...], str] = {}
    for arm in arms:
        same = [other for other in arms if other[0] == arm[0]]
        apart = [part for i, part in enumerate(arm) if i and part and len({other[i] for other in same}) > 1]
        labels[arm] = " · ".join([*prefix, arm[0], *apart])
    for row in run.rows:  # a comparison may name its model and leave out how it answers
        arm = _arm(row)
        if arm not in labels:
            labels[arm] = next((labels[o] for o in arms if o[0] == arm[0]), " · ".join([*prefix, arm[0]]))
    return labels
