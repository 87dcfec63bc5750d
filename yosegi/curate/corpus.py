"""From files and specs to a corpus: what `yosegi curate` does, as functions.

curate_files(["texts/"], CurateSettings(score=["keywords{words=[鉄道,軌道]}"], keep=["0.3"], lang=["ja"]), "runs/railway")
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.curate import Pages, curate, sample
from yosegi.curate.settings import FILTERS, CurateSettings
from yosegi.errors import Invalid, UnknownName
from yosegi.scores import Rule, Score, load, rule
from yosegi.spec import read


def curate_files(
    corpus: Sequence[str | Path], settings: CurateSettings, out: str | Path | None = None
) -> dict[str, Any]:
    """Scores the pages of some files and folders, keeps the good ones, and returns statistics.json with `out`.

    Args:
        corpus: files (.jsonl, .jsonl.gz, .txt, .md) and folders of them.
        settings: scores, rules and filters.
        out: the folder of the result; by default one below runs/.
    """
    pages, out = _pages(corpus, settings, out)
    filters = settings.model_dump(include={*FILTERS, "validation"})
    return curate(pages, out, *_rules(settings), **filters) | {"out": str(out)}


def sample_files(
    corpus: Sequence[str | Path], settings: CurateSettings, count: int, out: str | Path | None = None
) -> tuple[Path, int]:
    """Draws pages at random into sample.jsonl, to be labelled by hand; returns the file and the number of its pages."""
    pages, out = _pages(corpus, settings, out)
    path = out / "sample.jsonl"
    if path.exists():
        raise Invalid(f"{path} is there already, and may have labels in it. Choose another --out, or delete it.")
    rows = sample(pages, count, settings.lang, settings.min_chars)
    if not rows:
        raise Invalid("There is no page to draw.")
    files.write(path, files.lines(rows))
    return path, len(rows)


def _pages(corpus: Sequence[str | Path], settings: CurateSettings, out: str | Path | None) -> tuple[Pages, Path]:
    """Returns the pages, and a folder outside of them: the result must not be read as a part of the corpus the next time."""
    paths = [Path(path) for path in corpus]
    pages = Pages(paths, settings.page_chars, settings.encoding)
    out = Path(out or Path("runs") / f"curate-{paths[0].resolve().name.partition('.')[0]}")
    for path in paths:
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise Invalid(f"--out {out} lies inside the corpus {path}, and would be read as a part of it.")
    return pages, out


def _rules(settings: CurateSettings) -> tuple[list[Score], list[Rule]]:
    """Returns the scores, each with its rule. Bad numbers are refused before a model is loaded."""
    names, kept = [read(spec)[0] for spec in settings.score], dict[str, float]()
    limits = _by_name("--threshold", settings.threshold, names)
    for name, value in _by_name("--keep", settings.keep, names).items():
        try:
            kept[name] = float(value)
        except ValueError:
            raise Invalid(f"--keep {value!r} for {name}: a share is a number, such as 0.3.") from None
        Rule(keep=kept[name])
    scores = [load(spec) for spec in settings.score]
    return scores, [rule(s, kept.get(name), limits.get(name)) for name, s in zip(names, scores, strict=True)]


def _by_name(option: str, given: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Returns the value of each score from NAME=VALUE, or from a bare value if there is one score."""
    values: dict[str, str] = {}
    for text in given:
        name, equals, value = text.rpartition("=")
        if not equals:
            if len(names) > 1:
                raise Invalid(f"{option} {text}: there are several scores; write {names[0]}={text}.")
            name = names[0]
        UnknownName.check("score of this command", [name], names)
        if name in values:
            raise Invalid(f"{option} was given twice for {name}.")
        values[name] = value
    return values
