"""What the search says on its page: read by the report itself, and in step with the trials."""

import pytest

from tests.search.conftest import go
from yosegi import files
from yosegi.reporting import report
from yosegi.run import Run
from yosegi.search.findings import findings, importance
from yosegi.search.settings import open_search
from yosegi.search.trials import choose, front, tried


@pytest.fixture
def told(settings, nano, tmp_path):
    def run(trials, **more):
        opened, where = open_search(settings(prune=False, **more), nano), Run(tmp_path / "r")
        found = go(opened, where, trials=trials)
        findings(where, found, opened)
        page = report([where.path], tmp_path / "page.html").read_text()
        return opened, found, files.read_json(where.path / "findings.json"), page

    return run


def test_one_objective(told):
    opened, found, said, page = told(12)
    every = tried(found, opened.space)
    best = choose(every)
    headings = ["The chosen arm and the baselines", "How the search went", "What mattered"]
    assert [f["heading"] for f in said["findings"]] == headings and all(h in page for h in headings)
    rows = said["findings"][0]["table"]["rows"]
    assert rows[0][0].startswith(best.label) and rows[0][1]["value"] == round(best.value, 5)
    assert {row[0].removesuffix(" (chosen)") for row in rows} >= {"base", "uniform", "a alone", "b alone", "c alone"}
    history, so_far = said["findings"][1]["figure"]["series"]
    assert [y for _, y in history["points"]] == [one.value for one in every]
    values = [y for _, y in so_far["points"]]
    assert values == sorted(values) and values[-1] == max(one.value for one in every)
    bars = said["findings"][2]["figure"]
    assert set(bars["labels"]) == {"w a", "w b", "w c"} and sum(bars["values"]) == pytest.approx(1, abs=1e-3)
    assert "12 whole trials" not in page and "17 whole trials and 0 broken off" in page


def test_several_objectives_and_groups(told):
    opened, found, said, page = told(11, pareto=True, groups=2)
    (drawn,) = [f for f in said["findings"] if f["heading"] == "Where the tasks disagree"]
    on = {one.label for one in front(tried(found, opened.space))}
    assert {row[0] for row in drawn["table"]["rows"]} == on and drawn["heading"] in page
    assert {p["label"] for p in drawn["figure"]["points"] if p["group"] == "front"} == on
    assert set(importance(found, opened)) == {f"w {e} · {g}" for e in "abc" for g in opened.space.labels}


def test_several_methods_and_what_only_some_have(told):
    opened, found, said, page = told(14, arm=["merge:cat", "merge:svd{rank=1:4}"])
    assert {"method", "svd.rank", "w a"} <= set(importance(found, opened))


def test_a_router_and_too_little_to_judge(told):
    opened, found, said, page = told(3, arm=["arrow"])
    assert importance(found, opened) == {} and [f["heading"] for f in said["findings"]][-1] == "How the search went"
    assert not [c for c in said["findings"][0]["table"]["columns"] if c.startswith("w ")]


def test_nothing_is_said_before_a_trial_is_whole(settings, nano, tmp_path):
    opened, where = open_search(settings(), nano), Run(tmp_path / "r")
    findings(where, go(opened, where, trials=0, timeout=0), opened)
    assert not (where.path / "findings.json").exists()
