"""The answers behind the measurements, a task at a time: what every model said to every question, in every seed."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from yosegi.reporting.format import known
from yosegi.reporting.read import Found, Row

RIGHT = 0.5
"""A score from here on counts as right."""


@dataclass(frozen=True)
class Asked:
    """One task. `said` has the rows of its items files: of each model, of each of its seeds, by question."""

    task: str
    base: str | None
    """The model that the others are measured against, if it is here."""
    chance: float | None
    said: dict[str, list[dict[str, Row]]]

    def ids(self, *models: str) -> list[str]:
        """Questions that all of them answered in every seed, in the order of the file."""
        every = [rows for model in models for rows in self.said[model]]
        return [key for key in every[0] if all(key in rows for rows in every)]

    def scores(self, model: str, ids: Sequence[str]) -> list[list[float]]:
        """[seeds][questions]"""
        return [[float(rows[key]["score"]) for key in ids] for rows in self.said[model]]

    def mean(self, model: str, ids: Sequence[str]) -> list[float]:
        """Over the seeds, for each question."""
        return [statistics.fmean(column) for column in zip(*self.scores(model, ids), strict=True)]


def answers(found: Found, models: Sequence[str]) -> Iterator[Asked]:
    """Every task of which there are items, models in the order of the page."""
    runs = {run.name: run for run in found.runs}
    base_of = {m.model: found.bases.get(m.run) for m in found.plain}
    for task in found.tasks:
        said: dict[str, list[dict[str, Row]]] = {}
        guess = None
        for model in models:
            files: dict[str, dict[str, Row]] = {}
            for m in sorted((m for m in found.plain if (m.model, m.task) == (model, task)), key=lambda m: str(m.seed)):
                guess = guess if guess is not None else known(m.row.get("chance"))
                if m.row.get("items") and str(m.seed) not in files:
                    files[str(m.seed)] = {str(row["id"]): row for row in runs[m.run].items(m)}
            if kept := [rows for rows in files.values() if rows]:
                said[model] = kept
        if said:
            bases = {base for model in said if (base := base_of.get(model)) in said}
            yield Asked(task, min(bases) if len(bases) == 1 else None, guess, said)
