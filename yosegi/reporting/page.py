"""The page itself: everything the other files found, put into page.html.j2 with its style and its script."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from yosegi.findings import Finding, Findings
from yosegi.reporting import (
    answers,
    audit,
    costs,
    curves,
    drawings,
    forgetting,
    heatmaps,
    items,
    leaderboard,
    learning,
    ledger,
    pairs,
    validation,
)
from yosegi.reporting import format as print_as
from yosegi.reporting.headline import flat, headline
from yosegi.reporting.read import Found

HERE = Path(__file__).parent

FINDINGS_BYTES = 300_000
"""About what the figures and tables of all findings may add to the page."""


def page(found: Found) -> str:
    """The HTML. A section without data is left out."""
    boards = leaderboard.panels(found)
    models = list(dict.fromkeys([line.model for board in boards for line in board.lines]))
    compared = leaderboard.comparisons(found, models)
    said = _said(found, models)
    charts = curves.charts(found)
    return _environment().get_template("page.html.j2").render(
        found=found,
        head=headline(found, boards, compared, said.paired),
        boards=boards,
        compared=compared,
        told=_told(found),
        kept=forgetting.forgetting(found, models),
        LISTED_IDS=forgetting.LISTED,
        asked=items.questions(found, models),
        said=said,
        remarks=list(dict.fromkeys(f"{m.task}: {m.row['remark']}" for m in found.plain if m.row.get("remark"))),
        models=models,
        charts=charts,
        watched=validation.watched(charts),
        learnt=learning.learning(found),
        routings=heatmaps.routings(found),
        similarities=heatmaps.similarities(found),
        costs=costs.costs(found, models),
        cards=costs.cards(found),
        ALPHA=leaderboard.ALPHA,
        LISTED=leaderboard.LISTED,
        CURVE_POINTS=curves.POINTS,
        QUANTITIES=curves.QUANTITIES,
        RIGHT=items.RIGHT,
    )  # fmt: skip


@dataclass
class Said:
    """What the answers themselves say: pairs of models, tables by task, and the audit with its examples."""

    paired: list[pairs.Pairs] = field(default_factory=list)
    ledgers: dict[str, ledger.Ledger] = field(default_factory=dict)
    audits: list[audit.Audit] = field(default_factory=list)
    looked: list[tuple[audit.Audit, audit.Looked]] = field(default_factory=list)


def _said(found: Found, models: list[str]) -> Said:
    """Read a task at a time, and forgotten again."""
    said = Said()
    for asked in answers.answers(found, models):
        if one := pairs.pairs(asked, pairs.LISTED // len(found.tasks)):
            said.paired.append(one)
        if table := ledger.ledger(asked, ledger.CELLS // len(found.tasks)):
            said.ledgers[asked.task] = table
        said.audits += [one for one in audit.audit(asked) if not one.clean]
    said.looked = [
        (one, e) for turn in range(audit.SHOWN) for one in said.audits for e in one.examples[turn : turn + 1]
    ]
    said.looked = said.looked[: audit.PAGE]
    return said


@dataclass(frozen=True)
class Told:
    """One finding, ready to be put on the page."""

    finding: Finding
    numeric: list[bool]
    rows: list[list[drawings.Printed]]
    drawing: drawings.Drawing | None
    left_out: bool


def _told(found: Found) -> list[tuple[str, Findings, list[Told]]]:
    """The findings of every run, drawn while there is room."""
    budget, out = FINDINGS_BYTES, []
    for run, of_run in enumerate(found.runs):
        told: list[Told] = []
        if of_run.findings is None:
            continue
        for place, finding in enumerate(of_run.findings.findings):
            numeric, rows = drawings.print_table(finding.table) if finding.table else ([], [])
            drawing = drawings.draw(finding.figure, f"f{run}-{place}") if finding.figure else None
            budget -= len(repr((rows, drawing)))  # about what they add
            fits = budget >= 0
            told.append(
                Told(
                    finding, numeric, rows if fits else [], drawing if fits else None, not fits and drawing is not None
                )
            )
        out.append((of_run.name, of_run.findings, told))
    return out


def _breakable(text: str) -> Markup:
    """A name that may break after /, _, + and the like, and nowhere else."""
    return Markup(re.sub(r"(?<=[\w)])([/_+:.·-])(?=\w)", r"\1<wbr>", str(escape(text))))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": print_as.number,
        "signed": print_as.signed,
        "probability": print_as.probability,
        "seconds": print_as.seconds,
        "size": print_as.size,
        "breakable": _breakable,
        "cost_of": curves.cost_of,
        "cut": print_as.cut,
        "log": math.log,
        "known": print_as.known,
    }
    environment.globals |= {
        "flat": flat,
        # Our own two files and JSON that was made safe: the only text that is not escaped.
        "style": Markup((HERE / "page.css").read_text(encoding="utf-8")),
        "script": Markup((HERE / "page.js").read_text(encoding="utf-8")),
        "as_is": Markup,
    }
    return environment
