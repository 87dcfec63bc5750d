"""The page as a reader uses it, in headless Chromium: sort, filter, copy, fold, hover, print, on a wide and on a narrow screen."""

import csv
import io
import json
import re

import pytest

from tests.reporting.conftest import write_run
from yosegi.files import read_jsonl
from yosegi.reporting import report
from yosegi.reporting.curves import smooth

LONG = "experts_of_every_kind_and_more·a*0.125+another_expert_with_a_name*0.875{mix=factors,heads=4}"
ROWS = "[...document.querySelectorAll('#{} table')][0].tBodies[0].rows"
LONG_TASK = "natural_instructions/task1234_question_answering_with_a_very_long_name_indeed/choices"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A report of seven arms, one with a long name, on two tasks, beside another run of it."""
    folder = tmp_path_factory.mktemp("browser")
    models = {"base": ({"method": "base"}, [0.3, 0.4]), LONG: ({"method": "expert"}, [0.6, 0.5])}
    models |= {f"arm_{i}": ({"method": "routed", "router": "arrow"}, [0.2 + i / 8, 0.9 - i / 10]) for i in range(5)}
    here, there = (
        write_run(folder / name / "run", questions=20, models=given, tasks=["skills/wp_ja", LONG_TASK])
        for name, given in (("here", models), ("there", models | {"arm_0": models["arm_4"]}))
    )
    (here / "findings.json").unlink()
    return report([here], folder / "report.html", against=there)


@pytest.fixture
def page(browser, path):
    browser.open(path.as_uri())
    browser.until("document.readyState === 'complete'")
    yield browser
    assert browser.complaints == []
    browser.open("about:blank")


def column(page, section, number, what="dataset.value"):
    return page.js(f"[...{ROWS.format(section)}].filter(row => !row.hidden).map(row => row.cells[{number}].{what})")


def test_a_click_or_a_key_on_a_head_sorts(page):
    before = column(page, "leaderboard", 0, "innerText.trim()")
    page.point("#leaderboard th:nth-child(3) button")
    values = [float(value) for value in column(page, "leaderboard", 2)]
    assert values == sorted(values, reverse=True) and len(set(values)) > 3
    assert page.all("#leaderboard [aria-sort]", "ariaSort")[:1] == ["descending"]
    page.key("Enter")
    assert [float(value) for value in column(page, "leaderboard", 2)] == sorted(values)
    page.key("Enter")
    assert column(page, "leaderboard", 0, "innerText.trim()") == before and not page.all("#leaderboard [aria-sort]")
    page.point("#leaderboard th:nth-child(1) button")
    names = column(page, "leaderboard", 0, "innerText.trim()")
    assert names != before and names[:2] == ["arm_0", "arm_1"]
    assert len(page.picture()) > 20_000


def test_words_filter_and_what_is_left_is_copied(page, path):
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.call("Page.bringToFront")
    page.point("#comparisons .tools input")
    page.type("arm_ wp_ja")
    assert column(page, "comparisons", 1, "innerText.trim()") == ["skills/wp_ja"] * 5
    assert page.all("#comparisons .tools output")[0] == "5 of 12"
    copied = {}
    for place, name in enumerate(("Markdown", "LaTeX", "CSV"), 1):
        page.point(f"#comparisons .tools button:nth-of-type({place})")
        page.until("document.querySelector('#comparisons output').textContent === '5 rows copied'")
        copied[name] = page.js("navigator.clipboard.readText()")
    rows = list(csv.DictReader(io.StringIO(copied["CSV"])))
    assert len(rows) == 5 and {row["task"] for row in rows} == {"skills/wp_ja"}
    results = read_jsonl(path.parent / "here" / "run" / "results.jsonl")
    for row in rows:
        (one,) = [r for r in results if (r["model"], r["task"], "diff" in r) == (row["model"], row["task"], True)]
        assert (float(row["difference"]), float(row["p"]), row["gained"]) == (
            one["diff"],
            one["p_value"],
            str(one["gained"]),
        )
    head, line, *body = copied["Markdown"].splitlines()
    assert head.startswith("| model | task | difference | verdict |") and line.startswith("|---|---|---:|---|---:|")
    assert len(body) == 5 and all(text.count("|") == head.count("|") for text in body)
    assert copied["LaTeX"].startswith("\\begin{tabular}{llrlrrr}") and re.search(
        r"arm\\_\d & skills/wp\\_ja & ", copied["LaTeX"]
    )
    assert copied["LaTeX"].count(r"\\") == 6
    page.point("#leaderboard .tools button:nth-of-type(1)")
    page.until("document.querySelector('#leaderboard output').textContent.includes('copied')")
    assert page.js("navigator.clipboard.readText()").count("**") == 2 * len(
        page.js("[...document.querySelectorAll('#leaderboard table')[0].querySelectorAll('td.best')].map(() => 0)")
    )


def test_folds_open_by_key_by_link_all_at_once_and_on_paper(page):
    shown = "document.querySelector('#pairs table').checkVisibility({ contentVisibilityAuto: true })"
    assert not page.js(shown)
    page.js("document.querySelector('#pairs summary').focus()")
    page.key("Enter")
    assert page.all("#pairs > details", "open") == [True]
    page.point("nav a[href='#cards']")
    page.until("document.querySelector('#cards > details').open")
    page.point("#all")
    assert all(page.all("details", "open")) and len(page.all("details")) > 12 and page.all("#all") == ["Close all"]
    page.point("#all")
    assert not any(page.all("details", "open"))
    page.look(media="print")
    page.until(shown)  # closed, and printed all the same
    assert set(page.js("[...document.querySelectorAll('nav, .tools')].map(e => getComputedStyle(e).display)")) == {
        "none"
    }
    page.look()


def test_the_pointer_reads_curves_questions_and_squares(page, path):
    losses = [
        row["loss"]
        for row in read_jsonl(path.parent / "here" / "run" / "metrics.jsonl")
        if row["expert"] == "chain" and "loss" in row
    ]
    page.point("#training svg[data-scales]", click=False)
    tip = page.js("document.getElementById('tip').innerText")
    step = int(re.match(r"step (\d+)\n", tip)[1])
    assert 195 < step < 205 and page.all(".cursor", "hidden")[0] is False
    assert float(re.search(r"chain ([\d.]+)", tip)[1]) == pytest.approx(smooth(losses)[step - 1], rel=0.02)
    assert len(page.all("#tip p")) == 6 and "chain, validation" in tip
    page.point("#questions svg[data-questions]", click=False)
    assert "target" in page.js("document.getElementById('tip').innerText")
    page.point("#questions svg[data-questions]")
    assert len(page.all("#questions .pinned table tr")) == 7
    page.point("h1", click=False)
    assert page.js("document.getElementById('tip').hidden")


def test_nothing_is_wider_than_the_screen(page):
    for width, dark in ((1280, False), (390, True)):
        page.look(width, 800, dark)
        for is_open in (True, False):
            page.js(f"document.querySelectorAll('details').forEach(fold => (fold.open = {json.dumps(is_open)}))")
            wide = page.js("[document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], (width, is_open)
            spilt = page.js("""[...document.querySelectorAll('td, th, summary, .tile, p, h3, dd')].filter(e =>
                e.clientWidth && e.scrollWidth > e.clientWidth + 1 && !e.matches('.track')).map(e => e.outerHTML.slice(0, 200))""")
            assert spilt == [], (width, is_open)
    places = page.js(
        "[...document.querySelectorAll('#leaderboard thead th')].slice(0, 2).map(e => e.getBoundingClientRect().right)"
    )
    assert max(places) < 390, "the arm and its mean, without scrolling"
    page.look()
    assert page.js("document.documentElement.scrollHeight") < 6000


def test_it_is_said_what_the_other_run_did(page):
    assert page.js("document.querySelector('#against h2').textContent") == "Against there/run"
    assert len(column(page, "against", 0)) == 14
