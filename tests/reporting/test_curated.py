"""The page of a curation, made from files that are written by hand."""

import json
from html.parser import HTMLParser

import pytest

from yosegi import files
from yosegi.errors import Corrupt, NoData
from yosegi.reporting.curated import page


class Read(HTMLParser):
    """The text of a page; fails on a tag that is closed and was not opened."""

    VOID = {"meta", "br", "input", "rect", "path", "use", "link", "hr", "i"}

    def __init__(self):
        super().__init__()
        self.open, self.text, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_startendtag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def example(name, rule=None, why=None, score=1.0, text="鉄道 <script>alert(1)</script>"):
    return {
        "id": name, "source": "in/a.jsonl", "line": 3, "title": "", "chars": 20, "language": "ja", "scores": {"told": score},
        "kept": rule is None, "rule": rule, "group": "x", "how": "at random", "text": text, **({"why": why} if why else {}),
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    rule = {"about": "is", "pages": 2, "chars": 40}
    told = {
        "before": {"pages": 1234567, "chars": 200}, "after": {"pages": 4, "chars": 80},
        "rules": [{"rule": "short", **rule}, {"rule": "near_duplicate", **rule}, {"rule": "score told", **rule}],
        "lengths": [{"from": 16, "below": 32, "pages": 10, "kept": 4}],
        "languages": [{"name": None, "pages": 10, "kept": 4, "chars": 200, "chars_kept": 80}],
        "sources": [{"name": "in/a.jsonl", "pages": 10, "kept": 4, "chars": 200, "chars_kept": 80}],
        "scores": [{
            "name": "told", "best": "high", "rule": "at least 2", "note": "8 of 10", "scored": 6, "low": 2.0, "high": None,
            "asked": 6, "tied": 3, "tied_kept": 1, "bin": 0.1,
            "quantiles": [{"at": 0.01, "score": 0.0}, {"at": 0.99, "score": 4.0}],
            "histogram": [{"from": 0.0, "pages": 2, "kept": 0}, {"from": 3.9, "pages": 4, "kept": 4}],
        }],
        "examples": [
            example("low", score=2.0), example("high", score=3.5), example("twin", "near_duplicate", {"of": "high", "similarity": 0.93}, None),
            example("few", "short", {"chars": 3}, None),
            example("bad", "score told", {"score": 1.5, "low": 2.0, "rule": "at least 2"}, 1.5),
        ],
    }  # fmt: skip
    files.write_json(tmp_path / "statistics.json", told)
    files.write_json(tmp_path / "config.json", {"languages": ["ja"], "corpus": {"paths": ["in"]}})
    return tmp_path


def test_it_says_what_was_dropped_and_why(folder):
    html = page(folder).read_text()
    read = Read()
    read.feed(html)
    text = " ".join(" ".join(read.text).split())
    assert read.open == [] and "<script>" not in html and "&lt;script&gt;alert(1)" in html
    for words in ("1,234,567", "93% the same as high", "3 characters", "1.500; kept is at least 2.000", "corpus.paths"):
        assert words in text, words
    assert "3 pages have the told of the last page kept; the first 1 of them" in text
    assert html.index("3.500") < html.index("told 2.000"), "the best page stands first"
    assert all(link.startswith("#") for link in read.links), "nothing is fetched"


def test_a_finished_curation_is_needed(folder, tmp_path):
    with pytest.raises(NoData, match="holds no finished curation"):
        page(tmp_path / "elsewhere")
    told = files.read_json(folder / "statistics.json")
    del told["rules"]
    (folder / "statistics.json").write_text(json.dumps(told))
    with pytest.raises(Corrupt, match="not of `yosegi curate`"):
        page(folder)
