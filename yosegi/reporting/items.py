"""Question by question: what each model kept, gained and lost against its base, and a few questions side by side."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from yosegi.reporting.format import cut, known
from yosegi.reporting.read import Found, Measurement, Row

RIGHT = 0.5
"""A score from here on counts as right."""

KINDS = {"k": "kept", "g": "gained", "l": "lost", "w": "wrong", "-": "not asked"}

CELLS = 120_000
"""So many squares are drawn on one page; with more, every second, third … question is drawn."""
COLUMNS = (40, 600)
MAPS = 60
TEXT = 1_200_000
"""Bytes of prompts and answers behind the squares of one page; with more, each is cut shorter."""
LENGTHS = (400, 200, 100, 50, 25)
EXAMPLES = 12


@dataclass(frozen=True)
class Question:
    """One example and the row of every model that answered it."""

    id: str
    prompt: str
    target: str
    answers: dict[str, Row]


@dataclass(frozen=True)
class Strip:
    """One model on every question of a task. `paths` draws the drawn ones, a path for each kind."""

    model: str
    is_base: bool
    paths: list[tuple[str, str]]
    counts: dict[str, int]


@dataclass
class Map:
    """One task."""

    task: str
    key: str
    strips: list[Strip]
    questions: int
    drawn: int
    has_base: bool
    fractions: bool
    texts: str = "null"
    cut_to: int | None = None
    every: int = 1


@dataclass(frozen=True)
class Shown:
    """One question, with what every model said."""

    task: str
    why: str
    question: Question
    said: list[tuple[str, str, str, bool]]
    """Model, kind, prediction, and whether an answer could be read out of it."""


@dataclass
class Questions:
    """Everything this file knows."""

    maps: list[Map] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    unread: dict[str, dict[str, float]] = field(default_factory=dict)
    """Share of answers that could not be read: by model, then by task."""
    truncated: dict[str, dict[str, float]] = field(default_factory=dict)
    """Share of answers that the limit cut off, likewise; only where there were any."""
    left_out: int = 0


def questions(found: Found, models: Sequence[str]) -> Questions:
    """Read every items file once. `models` in the order of the page."""
    every = Questions()
    sources = _sources(found)
    tasks = [task for task in found.tasks if any(task == t for _, t in sources)]
    base_of = {m.model: found.bases.get(m.run) for m in found.measurements}
    samples: list[list[Shown]] = []
    for task in tasks:
        asked, unread = _read(found, sources, task, models)
        for model, share in unread.items():
            every.unread.setdefault(model, {})[task] = share
        there = [model for model in models if any(model in q.answers for q in asked)]
        asked, kinds = _ordered(asked, there, base_of)
        samples.append(list(_sample(task, asked, kinds, there)))
        if len(every.maps) < MAPS and asked:
            share = min(len(tasks), MAPS)
            every.maps.append(_map(task, f"q{len(every.maps)}", asked, kinds, there, base_of, share))
        elif asked:
            every.left_out += 1
    for turn in range(max(map(len, samples), default=0)):  # one of each task in turn
        every.shown += [sample[turn] for sample in samples if len(sample) > turn]
    every.shown = every.shown[:EXAMPLES]
    for m in found.plain:  # what the results say of parse failures is better than what we count
        if (share := known(m.row.get("parse_failures"))) is not None:
            every.unread.setdefault(m.model, {})[m.task] = share
        if share := known(m.row.get("truncated")):
            every.truncated.setdefault(m.model, {})[m.task] = share
    return every


def _map(
    task: str,
    key: str,
    asked: list[Question],
    kinds: list[dict[str, str]],
    models: list[str],
    base_of: dict[str, str | None],
    share: int,
) -> Map:
    """Draw one task; it may use 1 / `share` of what a page may hold."""
    columns = max(COLUMNS[0], min(COLUMNS[1], CELLS // (share * len(models))))
    step = -(-len(asked) // columns)
    drawn, drawn_kinds = asked[::step], kinds[::step]
    bases = [model for model in models if base_of.get(model) == model]
    one = Map(
        task=task,
        key=key,
        strips=[
            Strip(
                model=model,
                is_base=model in bases,
                paths=_paths("".join(kind[model] for kind in drawn_kinds)),
                counts={name: sum(kind[model] == letter for kind in kinds) for letter, name in KINDS.items()},
            )
            for model in models
        ],
        questions=len(asked),
        drawn=len(drawn),
        has_base=any(base_of.get(model) in models and model not in bases for model in models),
        fractions=any(row["score"] not in (0, 1) for q in asked for row in q.answers.values()),
        every=step,
    )
    for length in LENGTHS:
        texts, cut_to = _texts(drawn, drawn_kinds, models, length)
        if len(texts.encode()) <= TEXT / share:
            one.texts, one.cut_to = texts, cut_to
            break
    return one


def _ordered(
    asked: list[Question], models: list[str], base_of: dict[str, str | None]
) -> tuple[list[Question], list[dict[str, str]]]:
    """What the base has right first, then what most models have right; and what became of each question."""
    kinds = [{model: _kind(q, model, base_of.get(model)) for model in models} for q in asked]
    bases = [model for model in models if base_of.get(model) == model]

    def place(i: int) -> tuple[bool, int, str]:
        right = sum(kind in "kg" for kind in kinds[i].values())
        return not all(kinds[i][base] == "k" for base in bases), -right, asked[i].id

    order = sorted(range(len(asked)), key=place)
    return [asked[i] for i in order], [kinds[i] for i in order]


def _sources(found: Found) -> dict[tuple[str, str], Measurement]:
    """One items file for each model and task: that of the first seed."""
    sources: dict[tuple[str, str], Measurement] = {}
    for m in sorted(found.plain, key=lambda m: (m.seed is not None, str(m.seed).rjust(20))):
        if m.row.get("items"):
            sources.setdefault((m.model, m.task), m)
    return sources


def _read(
    found: Found, sources: dict[tuple[str, str], Measurement], task: str, models: Iterable[str]
) -> tuple[list[Question], dict[str, float]]:
    runs = {run.name: run for run in found.runs}
    asked: dict[str, Question] = {}
    unread: dict[str, float] = {}
    for model in models:
        if (source := sources.get((model, task))) is None:
            continue
        rows = runs[source.run].items(source)
        for row in rows:
            key = str(row["id"])
            if key not in asked:
                asked[key] = Question(key, _text(row.get("prompt")), _text(row.get("target")), {})
            asked[key].answers[model] = row
        judged = [bool(row["parsed"]) for row in rows if row.get("parsed") is not None]
        if judged:
            unread[model] = judged.count(False) / len(judged)
    return list(asked.values()), unread


def _kind(question: Question, model: str, base: str | None) -> str:
    if model not in question.answers:
        return "-"
    right = question.answers[model]["score"] >= RIGHT
    before = question.answers[base]["score"] >= RIGHT if base in question.answers else right
    return ("k" if before else "g") if right else ("l" if before else "w")


def _paths(kinds: str) -> list[tuple[str, str]]:
    """Runs of one kind as lines of a picture one unit high: a class name and a path."""
    lines: dict[str, list[str]] = {}
    start = 0
    for i in range(1, len(kinds) + 1):
        if i == len(kinds) or kinds[i] != kinds[start]:
            lines.setdefault(kinds[start], []).append(f"M{start} .5h{i - start}")
            start = i
    return [(KINDS[kind], "".join(line)) for kind, line in sorted(lines.items()) if kind != "-"]


def _texts(
    asked: list[Question], kinds: list[dict[str, str]], models: list[str], length: int
) -> tuple[str, int | None]:
    """What the pointer shows, as JSON: models, and per question id, prompt, target, kinds and predictions.

    A prediction that repeats an earlier one of its question is that one's place; one that equals the target is -1.
    """
    cuts = False

    def short(text: str) -> str:
        nonlocal cuts
        cuts = cuts or len(text) > length
        return cut(text, length)

    rows: list[Any] = []
    for question, kind in zip(asked, kinds, strict=True):
        said: list[Any] = []
        places: dict[str, int] = {}
        for place, model in enumerate(models):
            text = _text(question.answers[model].get("prediction")) if model in question.answers else ""
            if text.strip() == question.target.strip():
                said.append(-1)
            elif text in places:
                said.append(places[text])
            else:
                places[text] = place
                said.append(short(text))
        prompt, target = short(question.prompt), short(question.target)
        rows.append([question.id, prompt, target, "".join(kind[model] for model in models), said])
    return json_for_page({"models": models, "items": rows}), length if cuts else None


def _sample(task: str, asked: list[Question], kinds: list[dict[str, str]], models: list[str]) -> Iterable[Shown]:
    """The question most models gained, the one most lost, one nobody has right; no question twice."""
    taken: set[int] = set()
    wanted = [("g", "gained by most"), ("l", "lost by most"), ("w", "right in none"), ("k", "right in all")]
    for letter, why in wanted:
        counts = [sum(kind == letter for kind in row.values()) for row in kinds]
        most = max(range(len(asked)), key=lambda i: (counts[i], -i), default=None)
        enough = len(models) if letter in "kw" else 1
        if most is None or counts[most] < enough or most in taken:
            continue
        taken.add(most)
        yield Shown(
            task,
            why,
            asked[most],
            [
                (model, KINDS[kinds[most][model]], _text(row.get("prediction")), row.get("parsed") is not False)
                for model in models
                if (row := asked[most].answers.get(model)) is not None
            ],
        )


def json_for_page(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
