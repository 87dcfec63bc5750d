"""The page of a curation: what was kept and dropped, and why, from the files that `yosegi curate` leaves."""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.errors import Corrupt, NoData
from yosegi.reporting.format import number
from yosegi.reporting.headline import flat
from yosegi.reporting.page import _environment

STATISTICS, CONFIG, PAGE = "statistics.json", "config.json", "curate.html"


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram: heights in per cent of the highest, and what the pointer tells."""

    all: float
    kept: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """Bars side by side; `cuts` are places in per cent where a rule cuts; the two ends in words."""

    title: str
    bars: list[Bar]
    ends: tuple[str, str]
    cuts: list[tuple[float, str]]
    note: str = ""


def page(folder: str | Path) -> Path:
    """Write curate.html into the folder of a curation, and return its path."""
    folder = Path(folder)
    if not (folder / STATISTICS).is_file():
        raise NoData(f"{folder} holds no finished curation: `yosegi curate CORPUS --out {folder}` makes one.")
    told, config = files.read_json(folder / STATISTICS), files.read_json(folder / CONFIG)
    try:
        text = _html(folder.resolve().name, told, config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(f"{folder / STATISTICS} is not of `yosegi curate` ({type(error).__name__}: {error}).") from error
    files.write(folder / PAGE, text)
    return folder / PAGE


def _html(name: str, told: dict[str, Any], config: dict[str, Any]) -> str:
    left, waterfall = dict(told["before"]), []
    for rule in told["rules"]:
        left = {key: left[key] - rule[key] for key in ("pages", "chars")}
        waterfall.append(rule | {"left": left["pages"], "left_chars": left["chars"]})
    abouts = {rule["rule"]: rule["about"] for rule in told["rules"]}
    groups: dict[str, list[dict[str, Any]]] = {"kept": [], **{rule["rule"]: [] for rule in told["rules"]}}
    for example in told["examples"]:
        groups["kept" if example["kept"] else example["rule"]].append(example | {"why_words": _why(example)})
    for rule, members in groups.items():  # the best first, where there is a score to say it
        score = next((s for s in told["scores"] if rule in ("kept", f"score {s['name']}")), None)
        if score is not None:
            members.sort(key=partial(_place, score["name"], -1 if score["best"] == "high" else 1))
    return _environment().get_template("curated.html.j2").render(
        name=name, told=told, waterfall=waterfall, abouts=abouts, groups={k: v for k, v in groups.items() if v},
        histograms=[_lengths(told["lengths"]), *(_score(s) for s in told["scores"] if s["histogram"])],
        facts=flat(config),
    )  # fmt: skip


def _place(score: str, sign: int, example: dict[str, Any]) -> float:
    value = example["scores"].get(score)
    return math.inf if value is None else sign * value


def _why(example: dict[str, Any]) -> str:
    """Why a page was dropped, in words."""
    why = example.get("why") or {}
    rule = example["rule"] or ""
    if "fault" in why:
        return why["fault"]
    if rule == "near_duplicate":
        return f"{why['similarity']:.0%} the same as {why['of']}"
    if "score" in why:
        said = "no score" if why["score"] is None else number(float(why["score"]))
        cuts = [
            f"{word} {number(float(why[end]))}"
            for end, word in (("low", "at least"), ("high", "at most"))
            if end in why
        ]
        return f"{said}; kept is {' and '.join(cuts)}" if cuts else said
    if "chars" in why:
        return f"{why['chars']:,} characters"
    return f"language: {why['language']}" if "language" in why else ""


def _lengths(rows: list[dict[str, int]]) -> Histogram:
    named = [(f"{row['from']:,} to {row['below'] - 1:,} characters", row) for row in rows]
    ends = (f"{rows[0]['from']:,}", f"{rows[-1]['below'] - 1:,}") if rows else ("", "")
    return Histogram("Length in characters", _bars(named), ends, [], "Each bar is twice as long as the one before.")


def _score(score: dict[str, Any]) -> Histogram:
    """The middle 98 % of the numbers; what lies beyond is in the outermost bars."""
    first = {q["at"]: q["score"] for q in score["quantiles"]}[0.01]
    width, found = score["bin"], {round((row["from"] - first) / score["bin"]): row for row in score["histogram"]}
    bins = range(max(found) + 1)
    named = [(f"{number(float(first + b * width))} and more", found.get(b, {"pages": 0, "kept": 0})) for b in bins]
    cuts = []
    for end, word in (("low", "at least"), ("high", "at most")):
        if score[end] is not None:
            place = 100 * (score[end] - first) / (width * len(bins))
            cuts.append((min(max(place, 0), 100), f"{word} {number(float(score[end]))}"))
    last = number(float(first + width * len(bins)))
    good = "high is good" if score["best"] == "high" else "low is good"
    note = f"Kept: {score['rule']} ({good}). {score['note'] + '.' if score['note'] else ''}"
    return Histogram(score["name"], _bars(named), (number(float(first)), last), cuts, note)


def _bars(named: list[tuple[str, dict[str, int]]]) -> list[Bar]:
    most = max((row["pages"] for _, row in named), default=0) or 1
    return [
        Bar(
            100 * row["pages"] / most, 100 * row["kept"] / most, f"{name}: {row['pages']:,} pages, {row['kept']:,} kept"
        )
        for name, row in named
    ]
