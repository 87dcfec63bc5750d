"""The bibliography of a run: the papers that the docstrings of its methods, tasks and bases name, as BibTeX."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from yosegi import registry
from yosegi.errors import NoData
from yosegi.reporting.read import read

DRAWERS = {
    "routers": ("router", "arm", "arms"),
    "merges": ("merge", "arm", "arms"),
    "inits": ("init", "inits"),
    "masks": ("mask",),
    "objectives": ("objective", "command"),
    "optimizers": ("optimizer", "method"),
    "partitions": ("partition", "build"),
    "scores": ("score",),
    "tasks": ("task", "tasks", "known", "general"),
    "bases": ("base",),
}
"""Drawers, and the fields of a run's files that name their methods."""
ALIASES = {
    "mbc": ("partitions", "by_cluster"), "reinforce": ("objectives", "grpo"), "lora": ("inits", "kaiming"),
    "loramoe": ("routers", "softmax"), "poly": ("routers", "task_table"), "mhr": ("routers", "task_table"),
}  # fmt: skip
"""Names of trainings, and the file whose docstring names their paper."""
NAME = r"(?:(?:van|von|de|Van|Von|De) )*[^\W\d_a-z][\w'’-]*"
PAPER = re.compile(
    rf"(?P<authors>{NAME}(?:(?: and)? {NAME})*(?: et al\.)?) (?P<year>(?:19|20)\d\d)[a-z]?(?:,? \"(?P<title>[^\"]+?),?\")?,? "
    r"(?:arXiv:(?P<arxiv>\d{4}\.\d{4,5})|(?P<doi>10\.\d{4,9}/[^\s,;)]*[^\s,;).]))"
)
"""A citation as docstrings have it: Meng et al. 2024, "PiSSA: …", arXiv:2404.02948."""


class Paper(NamedTuple):
    """One paper as a docstring names it; the title may be missing."""

    authors: str
    year: str
    title: str
    arxiv: str
    doi: str

    @property
    def id(self) -> str:
        """The arXiv number, or else the DOI."""
        return self.arxiv or self.doi

    @property
    def bibtex(self) -> str:
        """The entry; authors whom the docstring leaves out are "others"."""
        first = re.sub(r"\W", "", self.authors.split()[0]).lower()
        word = next(iter(re.findall(r"[A-Za-z][\w-]{3,}", self.title)), self.id).lower()
        authors = self.authors.replace(" et al.", " and others")
        number = {"eprint": self.arxiv, "archiveprefix": "arXiv"} if self.arxiv else {"doi": self.doi}
        fields = {"author": authors, "title": f"{{{self.title}}}" if self.title else "", "year": self.year, **number}
        lines = [f"  {key} = {{{value}}}," for key, value in fields.items() if value]
        return "\n".join([f"@misc{{{first}{self.year}{re.sub(r'[^a-z0-9]', '', word)},", *lines, "}"])


YOSEGI = """@software{yosegi,
  title = {{yosegi}: train many small LoRA experts and let them answer together},
  version = {VERSION},
}"""


def cite(folder: Path) -> str:
    """Returns the bibliography of a run as BibTeX: this package, then each paper once, as the run's files name its methods.

    Raises:
        NoData: there is no run.
    """
    from yosegi import __version__

    run = read([folder]).runs[0]
    named = dict.fromkeys(_methods([run.config, *run.rows, *(card for card, _ in run.experts)]))
    every: dict[str, Paper] = {}
    for drawer, name in named:
        for paper in papers(registry.about(drawer, name)):
            every.setdefault(paper.id, paper)
    if not named:
        raise NoData(f"{folder} names no method that could be cited.")
    return "\n\n".join([YOSEGI.replace("VERSION", __version__), *(paper.bibtex for paper in every.values())])


def papers(docstring: str) -> list[Paper]:
    """Returns the papers that a docstring names; a title that it leaves out is that of another docstring, if one has it."""
    text = " ".join(docstring.split())
    named = [Paper(**{key: value or "" for key, value in match.groupdict().items()}) for match in PAPER.finditer(text)]
    return [paper if paper.title else paper._replace(title=_titles().get(paper.id, "")) for paper in named]


@cache
def _titles() -> dict[str, str]:
    every = (registry.about(drawer, name) for drawer in DRAWERS for name in registry.names(drawer))
    matches = (match for text in every for match in PAPER.finditer(" ".join(text.split())))
    return {match["arxiv"] or match["doi"]: match["title"] for match in matches if match["title"]}


def _methods(files: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yields (drawer, method), in the order in which the files name them."""
    for file in files:
        for key, text in _strings(file):
            words = re.findall(r"[a-z_][a-z0-9_]*", text)
            for word in words[:1] if key in ("task", "tasks", "base") else words:
                if word in ALIASES and key in ("method", "build", "command", "recipe", "training"):
                    yield ALIASES[word]
                for drawer, keys in DRAWERS.items():
                    if key in keys and word in registry.names(drawer):
                        yield drawer, word


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _strings(inner, str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner, key)
