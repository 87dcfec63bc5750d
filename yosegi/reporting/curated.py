"""The page of a curation: what was kept and dropped, and why, from the files that `yosegi curate` leaves."""

import math
from functools import partial
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.errors import Corrupt, NoData
from yosegi.reporting.draw.marks import Mark, Plot, column
from yosegi.reporting.format import flat, number
from yosegi.reporting.page import render

STATISTICS, CONFIG, PAGE = "statistics.json", "config.json", "curate.html"

Row = dict[str, Any]


def page(folder: str | Path) -> Path:
    """Writes curate.html into the folder of a curation, and returns its path."""
    folder = Path(folder)
    if not (folder / STATISTICS).is_file():
        raise NoData(f"{folder} holds no finished curation: `yosegi curate CORPUS --out {folder}` makes one.")
    statistics, config = files.read_json(folder / STATISTICS), files.read_json(folder / CONFIG)
    try:
        text = _html(folder.resolve().name, statistics, config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(f"{folder / STATISTICS} is not of `yosegi curate` ({type(error).__name__}: {error}).") from error
    files.write(folder / PAGE, text)
    return folder / PAGE


def _html(name: str, statistics: Row, config: Row) -> str:
    left, waterfall = dict(statistics["before"]), []
    for rule in statistics["rules"]:
        left = {key: left[key] - rule[key] for key in ("pages", "chars")}
        waterfall.append(rule | {"left": left["pages"], "left_chars": left["chars"]})
    groups: dict[str, list[Row]] = {"kept": [], **{rule["rule"]: [] for rule in statistics["rules"]}}
    for example in statistics["examples"]:
        groups["kept" if example["kept"] else example["rule"]].append(example)
    for rule, members in groups.items():  # the best first, where there is a score to sort by
        score = next((s for s in statistics["scores"] if rule in ("kept", f"score {s['name']}")), None)
        if score is not None:
            members.sort(key=partial(_place, score["name"], -1 if score["best"] == "high" else 1))
    scored = [score for score in statistics["scores"] if score["histogram"]]
    return render(
        "curated.html.j2",
        title=name,
        kicker="yosegi curate",
        statistics=statistics,
        waterfall=waterfall,
        abouts={rule["rule"]: rule["about"] for rule in statistics["rules"]},
        groups={rule: members for rule, members in groups.items() if members},
        histograms=[_lengths(statistics["lengths"]), *map(_score, scored)],
        setting=flat(config),
    )


def _place(score: str, sign: int, example: Row) -> float:
    value = example["scores"].get(score)
    return math.inf if value is None else sign * value


def _lengths(rows: list[Row]) -> tuple[str, Plot, str]:
    named = [(f"{row['from']:,} to {row['below'] - 1:,} characters", row) for row in rows]
    ends = (f"{rows[0]['from']:,}", f"{rows[-1]['below'] - 1:,}") if rows else ("", "")
    title = "Length in characters"
    return title, _histogram(title, named, ends), "Each bar covers twice the range of the one before."


def _score(score: Row) -> tuple[str, Plot, str]:
    """Returns the middle 98 % of the numbers; what lies beyond is in the outermost bars."""
    first, width = {q["at"]: q["score"] for q in score["quantiles"]}[0.01], score["bin"]
    by_bin = {round((row["from"] - first) / width): row for row in score["histogram"]}
    bins = range(max(by_bin) + 1)
    named = [(f"{number(float(first + b * width))} and more", by_bin.get(b, {"pages": 0, "kept": 0})) for b in bins]
    plot = _histogram(score["name"], named, (number(float(first)), number(float(first + width * len(bins)))))
    for end, words in (("low", "at least"), ("high", "at most")):
        if score[end] is not None:
            place = min(max(100 * (score[end] - first) / (width * len(bins)), 0), 100)
            plot.marks.append(Mark("guide", "", [(place, 0), (place, 100)], f"{words} {number(float(score[end]))}"))
    note = f"Kept: {score['rule']} ({score['best']} is good). {score['note'] + '.' if score['note'] else ''}"
    return score["name"], plot, note


def _histogram(title: str, named: list[tuple[str, Row]], ends: tuple[str, str]) -> Plot:
    """All pages pale, those kept before them."""
    most, wide = max((row["pages"] for _, row in named), default=0) or 1, 100 / max(len(named), 1)
    plot = Plot(f"Histogram: {title}", x_ticks=[(0, ends[0]), (100, ends[1])])
    for i, (name, row) in enumerate(named):
        words = f"{name}: {row['pages']:,} pages, {row['kept']:,} kept"
        for colour, count in (("pale", row["pages"]), ("c0", row["kept"])):
            outline = column(wide * (i + 0.05), wide * (i + 0.95), 100, 100 - 100 * count / most)
            plot.marks.append(Mark("bar", colour, outline, words))
    return plot
