"""The answers behind the measurements, one task at a time: what every model answered to every question, in every seed."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from yosegi.reporting.format import known
from yosegi.reporting.read import Results, Row

T = TypeVar("T")

RIGHT = 0.5
"""A score from here on counts as right."""

KINDS = {"k": "kept", "g": "gained", "l": "lost", "w": "wrong", "-": "not asked"}
"""What became of a question, against the base."""


@dataclass(frozen=True)
class Answers:
    """One task. `rows` has those of its items files: of each model, of each of its seeds, by question."""

    task: str
    base_of: Mapping[str, str | None]
    """What each model is measured against."""
    chance: float | None
    rows: dict[str, list[dict[str, Row]]]

    @property
    def base(self) -> str | None:
        """Returns what all models are measured against, if it is one, and here."""
        bases = {base for model in self.rows if (base := self.base_of.get(model)) in self.rows}
        return min(bases) if len(bases) == 1 else None

    def ids(self, *models: str) -> list[str]:
        """Returns the questions that all of them answered in every seed, in the order of the file."""
        seeds = [rows for model in models for rows in self.rows[model]]
        return [key for key in seeds[0] if all(key in rows for rows in seeds)]

    def scores(self, model: str, ids: Sequence[str]) -> list[list[float]]:
        """[seeds][questions]"""
        return [[float(rows[key]["score"]) for key in ids] for rows in self.rows[model]]

    def mean(self, model: str, ids: Sequence[str]) -> list[float]:
        """Over the seeds, for each question."""
        return [statistics.fmean(column) for column in zip(*self.scores(model, ids), strict=True)]

    def kinds(self) -> tuple[list[str], dict[str, dict[str, str]]]:
        """Returns the questions, what the base has right first and easy before hard, and for each the kind by model.

        Of the first seed; against a base a question is kept, gained, lost or wrong, without one only kept or wrong.
        """
        first = {model: seeds[0] for model, seeds in self.rows.items()}
        ids = list(dict.fromkeys(key for rows in first.values() for key in rows))
        bases = [model for model in first if self.base_of.get(model) == model]

        def kind(key: str, model: str) -> str:
            if key not in first[model]:
                return "-"
            right = first[model][key]["score"] >= RIGHT
            base = first.get(self.base_of.get(model) or "", {})
            before = base[key]["score"] >= RIGHT if key in base else right
            return ("k" if before else "g") if right else ("l" if before else "w")

        kinds = {key: {model: kind(key, model) for model in first} for key in ids}

        def place(key: str) -> tuple[bool, int, str]:
            right = sum(kind in "kg" for kind in kinds[key].values())
            return not all(kinds[key][base] == "k" for base in bases), -right, key

        return sorted(ids, key=place), kinds


def answers(results: Results, models: Sequence[str]) -> Iterator[Answers]:
    """Yields every task of which there are items, models in the order of the page."""
    runs = {run.name: run for run in results.runs}
    for task in results.tasks:
        by_model: dict[str, list[dict[str, Row]]] = {}
        chance = None
        for model in models:
            by_seed: dict[str, dict[str, Row]] = {}
            measured = [m for m in results.scores if (m.model, m.task) == (model, task)]
            for m in sorted(measured, key=lambda m: (m.seed is not None, str(m.seed).rjust(20))):
                chance = chance if chance is not None else known(m.row.get("chance"))
                if m.row.get("items") and str(m.seed) not in by_seed:
                    by_seed[str(m.seed)] = {str(row["id"]): row for row in runs[m.run].items(m)}
            if seeds := [rows for rows in by_seed.values() if rows]:
                by_model[model] = seeds
        if by_model:
            yield Answers(task, results.base_of, chance, by_model)


def in_turn(lists: Sequence[Sequence[T]]) -> list[T]:
    """Returns the first of each list, then the second of each, and so on."""
    longest = max(map(len, lists), default=0)
    return [items[turn] for turn in range(longest) for items in lists if turn < len(items)]
