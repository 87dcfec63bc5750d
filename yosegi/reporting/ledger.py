"""One task as a table: a row a question, a column a model, so that what was gained and lost can be read off and looked up.

Questions whose answer changed stand first: those that most models gained at the top, those most lost below them; then what all
kept, then what nobody has right. A model with several seeds has one column, the mean of its seeds.
"""

from dataclasses import dataclass

from yosegi.reporting.answers import RIGHT, Asked
from yosegi.reporting.format import cut
from yosegi.reporting.pairs import Pair, pair

CELLS = 4000
"""Squares of all tables of one page."""
COLUMNS = 24
TEXT = 90
KINDS = {"k": "kept", "g": "gained", "l": "lost", "w": "wrong", "-": ""}


@dataclass(frozen=True)
class Square:
    """One answer: a letter of KINDS, and its score where that is not 0 or 1."""

    kind: str
    score: float | None
    written: str


@dataclass(frozen=True)
class Line:
    """One question."""

    id: str
    prompt: str
    target: str
    group: str
    squares: list[Square]


@dataclass(frozen=True)
class Column:
    """One model: how many questions of each kind, and the paired test with the base."""

    model: str
    is_base: bool
    counts: dict[str, int]
    pair: Pair | None


@dataclass
class Ledger:
    """One task."""

    columns: list[Column]
    lines: list[Line]
    questions: int
    models: int
    seeds: int
    fractions: bool


def ledger(asked: Asked, cells: int = CELLS) -> Ledger | None:
    """The table of one task with at most so many squares; None where there is no room, or one model only."""
    models = list(asked.said)[:COLUMNS]
    ids = list(dict.fromkeys(key for model in models for key in asked.ids(model)))
    room = cells // max(len(models), 1)
    if len(asked.said) < 2 or room < 5 or not ids:
        return None
    means = {
        model: dict(zip(own, asked.mean(model, own), strict=True)) for model in models if (own := asked.ids(model))
    }
    fractions = any(score not in (0, 1) for of in means.values() for score in of.values())
    base = means.get(asked.base or "")
    kinds = {key: {model: _kind(means.get(model, {}).get(key), base, key) for model in models} for key in ids}
    ids.sort(key=lambda key: (*_place(kinds[key]), key))
    first = {key: row for model in reversed(models) for key, row in asked.said[model][0].items()}
    lines = [
        Line(
            key,
            _one_line(first[key].get("prompt")),
            cut(_one_line(first[key].get("target")), TEXT),
            _group(kinds[key], base is not None),
            [_square(kinds[key][model], means.get(model, {}).get(key)) for model in models],
        )
        for key in ids[:room]
    ]
    columns = [
        Column(
            model,
            model == asked.base,
            {name: sum(of[model] == letter for of in kinds.values()) for letter, name in KINDS.items() if name},
            pair(asked, asked.base, model) if asked.base in asked.said and asked.base != model else None,
        )
        for model in models
    ]
    seeds = max(len(several) for several in asked.said.values())
    return Ledger(columns, lines, len(ids), len(asked.said), seeds, fractions)


def _kind(score: float | None, base: dict[str, float] | None, key: str) -> str:
    """Against the base any higher score is gained and any lower one lost: the rank of a candidate, the share of seeds."""
    if score is None:
        return "-"
    before = base.get(key, score) if base is not None else score
    return "g" if score > before else "l" if score < before else "k" if score >= RIGHT else "w"


def _place(kinds: dict[str, str]) -> tuple[int, int]:
    """Changed before kept before wrong; among the changed, gained minus lost."""
    seen = "".join(kinds.values())
    gained, lost = seen.count("g"), seen.count("l")
    if gained or lost:
        return 0, lost - gained
    mixed = "k" in seen and "w" in seen  # no base, and the models disagree
    return (0 if mixed else 1 if "k" in seen else 2), -seen.count("k")


def _group(kinds: dict[str, str], has_base: bool) -> str:
    place, net = _place(kinds)
    if place == 0 and has_base:
        return "gained by more" if net < 0 else "lost by more" if net > 0 else "gained by some, lost by others"
    return "the models disagree" if place == 0 else "right in all" if place == 1 else "right in none"


def _square(kind: str, score: float | None) -> Square:
    if score is None:
        return Square(kind, None, "")
    return Square(kind, score, "" if score in (0, 1) else f"{score:.2f}".replace("0.", "."))


def _one_line(text: object) -> str:
    """The end of a prompt is the question; what stands before it are examples and instructions."""
    words = " ".join(str(text or "").split())
    return words if len(words) <= TEXT else "…" + words[-TEXT:]
