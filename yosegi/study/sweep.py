"""Every arm chooses its own settings, on validation questions and with the first seed.

A comparison at one learning rate for all is a comparison of learning rates. So is one whose grid is too narrow: the report says
which arms chose an end of theirs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.errors import Diverged
from yosegi.findings import Cell, Finding, Lines, Series, Table
from yosegi.progress import progress

Option = dict[str, Any]
Grid = Mapping[str, Sequence[Any]]
"""Setting -> its values, as in {"lr": (1e-3, 3e-3)}; an option is one of each."""


@dataclass(frozen=True)
class Sweep:
    """What was tried and what was chosen, by arm. Of an option's numbers more is better, the first decides; None: it diverged."""

    grids: Mapping[str, Grid]
    tried: Mapping[str, Sequence[tuple[Option, Sequence[float] | None]]]

    @property
    def chosen(self) -> dict[str, Option]:
        """Returns the option of each arm."""
        options: dict[str, Option] = {}
        for arm, tried in self.tried.items():
            known = [(option, numbers) for option, numbers in tried if numbers]
            options[arm] = max(known, key=lambda one: one[1][0])[0] if known else tried[0][0]
        return options

    def at_end(self) -> list[str]:
        """Returns the arms whose choice lies at an end of its grid, so that a wider one might do better."""
        ends = []
        for arm, option in self.chosen.items():
            for key, values in self.grids[arm].items():
                numbers = [v for v in values if isinstance(v, int | float)]
                if len(numbers) > 1 and option[key] in (min(numbers), max(numbers)):
                    ends.append(f"{arm} ({key} {option[key]:g})")
        return ends

    def keeping(self, arm: str, like: str) -> Option | None:
        """Returns the option with which an arm keeps as much (its second number) as another does with its own; of several the one
        that learns most, and if none keeps as much, the one that keeps most. None if the arm's own choice does, or none is known.
        """
        mine, goal = ([(o, n) for o, n in self.tried[name] if n and len(n) > 1] for name in (arm, like))
        kept = next((numbers[1] for option, numbers in goal if option == self.chosen[like]), None)
        if kept is None or not mine:
            return None
        enough = [one for one in mine if one[1][1] >= kept]
        option = max(enough, key=lambda one: one[1][0])[0] if enough else max(mine, key=lambda one: one[1][1])[0]
        return None if option == self.chosen[arm] else option

    def text(self) -> list[str]:
        """Returns what was chosen, and where the grid was too narrow, in words."""
        chosen = "; ".join(f"{arm} {words(option)}" for arm, option in self.chosen.items())
        ends = self.at_end()
        return [
            f"Chosen on validation questions with the first seed: {chosen}.",
            *([f"At an end of its grid, so that a wider one might do better: {'; '.join(ends)}."] if ends else []),
        ]

    def finding(self, heading: str, numbers: Sequence[str], text: Sequence[str] = ()) -> Finding:
        """Returns everything that was tried. Two numbers are drawn against each other: who learns more may only forget more."""
        rows: list[list[Cell]] = []
        series = []
        for arm, tried in self.tried.items():
            for option, values in tried:
                row = [None] * len(numbers) if values is None else [round(v, 4) for v in values]
                rows.append([arm, words(option), *row, "chosen" if option == self.chosen[arm] else ""])
            if len(numbers) == 2:
                best = frontier([values for _, values in tried if values])
                series.append(Series(arm, [(round(x, 4), round(y, 4)) for x, y in best]))
        figure = None
        if any(one.points for one in series):
            caption = "Options that no other option of the same arm beats at both. Up and to the right is better."
            figure = Lines(heading, caption, series, x=numbers[0], y=numbers[1])
        return Finding(heading, [*text, *self.text()], Table(["", "option", *numbers, ""], rows), figure)


def sweep(
    path: Path,
    grids: Mapping[str, Grid],
    measure: Callable[[str, Option], Sequence[float] | None],
    title: str = "choose settings",
) -> Sweep:
    """Tries every option of every arm once; what the JSON file `path` has already is not tried again.

    Args:
        path: keeps what was tried.
        grids: by arm; of one option nothing is measured.
        measure: returns an option's numbers of which more is better; None if it diverged.
        title: of the progress bar.

    Raises:
        Diverged: an arm diverges with every option.
    """
    kept: dict[str, list[Any]] = files.read_json(path) if path.exists() else {}
    options = {
        arm: [dict(zip(grid, values, strict=True)) for values in product(*grid.values())] for arm, grid in grids.items()
    }
    work = [(arm, option) for arm, several in options.items() for option in several if len(several) > 1]
    with progress(title, len(work)) as bar:
        for arm, option in work:
            tried = kept.setdefault(arm, [])
            if option not in [one for one, _ in tried]:
                tried.append([option, measure(arm, option)])
                files.write_json(path, kept)
            bar.advance(note=f"{arm}: {words(option)}")
    for arm, tried in kept.items():
        if tried and all(numbers is None for _, numbers in tried):
            raise Diverged(f"{arm} diverges with every option: {'; '.join(words(option) for option, _ in tried)}.")
    tried = {arm: [(o, n) for o, n in kept.get(arm, [])] or [(several[0], None)] for arm, several in options.items()}
    return Sweep(grids, tried)


def frontier(points: Sequence[Sequence[float]]) -> list[list[float]]:
    """Returns the points that no other point beats at one number without losing at another, sorted."""
    every = sorted(map(list, points))
    return [p for p in every if not any(q != p and all(a >= b for a, b in zip(q, p, strict=True)) for q in every)]


def words(option: Mapping[str, Any]) -> str:
    """Returns an option in words: "lr 0.01, weight 0.5"."""
    return ", ".join(f"{key} {v:g}" if isinstance(v, int | float) else f"{key} {v}" for key, v in option.items())
