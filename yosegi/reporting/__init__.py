"""One page that says what runs found, read from their files alone: never a model, never a network.

    report(["runs/demo"], "runs/demo/report.html")

The page is whole in itself (style, script and pictures are in it), about 100 kB for a small run and less than 5 MB
for a large one: what is too much is thinned, and the page says so where it was. Same files, same bytes.
"""

from collections.abc import Sequence
from pathlib import Path

from yosegi import files
from yosegi.errors import Invalid
from yosegi.reporting.read import read


def report(
    runs: Sequence[str | Path], to: str | Path, *, against: str | Path | None = None, figures: bool = False
) -> Path:
    """Writes the page about `runs` to the file `to`, and returns its path.

    Args:
        runs: run folders; several are put side by side, and the name of the run stands before the model's.
        to: the HTML file.
        against: another run; the page is about one run then, and has a section that compares the two, question by question.
        figures: also draw the leaderboard, the training curves and the figures of the findings into `figures/` of each run.

    Raises:
        Invalid: several runs are to be compared with another one, or a run with itself.
        NoData: a folder is not there, or holds nothing to report.
        Corrupt: a file of a run is damaged; names it.
    """
    from yosegi.reporting.page import page

    to, results, other = Path(to), read([Path(run) for run in runs]), None
    if against is not None:
        other = read([Path(against)])
        if len(results.runs) > 1 or results.runs[0].path == other.runs[0].path:
            raise Invalid(
                f"--against {against}: one run is compared with one other; several are put side by side without it."
            )
    files.write(to, page(results, other))
    if figures:
        from yosegi.reporting.pictures import write

        write(results)
    return to
