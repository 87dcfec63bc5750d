"""What every section of the page gets: the results, and what several sections work out of them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from yosegi.reporting.boards import Board, boards
from yosegi.reporting.comparisons import Comparison, comparisons, own_experts
from yosegi.reporting.read import Results


@dataclass
class Context:
    """One page. `digests` has what each section kept of each task's answers, by the name of the section."""

    results: Results
    digests: dict[str, list[Any]] = field(default_factory=dict)
    other: Results | None = None
    """The run that this one is compared with."""

    @cached_property
    def boards(self) -> list[Board]:
        """Returns the tables of the leaderboard."""
        return boards(self.results)

    @cached_property
    def models(self) -> list[str]:
        """Returns the models in the order of the page, best first below the base."""
        return list(dict.fromkeys(line.model for board in self.boards for line in board.lines))

    @cached_property
    def own_experts(self) -> dict[tuple[str, str], str]:
        """Returns the expert that an oracle is, by (oracle, task)."""
        return own_experts(self.results)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Returns the paired comparisons; where an oracle is an expert, only the expert's."""
        rows = comparisons(self.results, self.models)
        asked = {(row.model, *row[2:5]) for row in rows}
        return [row for row in rows if (self.own_experts.get((row.model, row.task)), *row[2:5]) not in asked]
