"""`yosegi search` as a user meets it: the choice, the file, the expert, and the same command again."""

import json

import pytest
import torch
import yaml

from yosegi import files
from yosegi.bases import load
from yosegi.core.expert import Expert, Factors
from yosegi.inits import fresh
from yosegi.library.store import Library

SIZE = 0.004
"""Of the random experts: so little that of w and -w one helps."""
SEARCH = ("search", "--library", "shelf", "--task", "skills/add:logp", "--limit", 4, "--run", "r", "--trials", 3)


@pytest.fixture
def shelf(tmp_path):
    base = load("nano", device="cpu")
    library = Library(tmp_path / "shelf", base.hash, base.name)
    for name in ("a", "b"):
        expert = fresh(base.model, name, rank=2, alpha=4)
        factors = {k: Factors(f.A_RI, torch.randn_like(f.B_OR) * SIZE, f.scale) for k, f in expert.factors.items()}
        library.add(Expert(name, factors, {"task": [f"skills/{name}"], "base_hash": base.hash}))
    return library


def test_search_merge_eval(yosegi, refused, shelf, tmp_path):
    code, out, err = yosegi(*SEARCH)
    assert code == 0 and "Chosen, and the baselines, on validation:" in out and "uniform" in out and "a alone" in out, (
        err
    )
    made = "Measure it: yosegi eval --base nano --library shelf --arm "
    assert (made in out) != ("no blend was better than the base" in out) and (tmp_path / "r" / "study.db").exists()
    code, out, _ = yosegi(*SEARCH, "--json", "--trials", 5)
    result = json.loads(out)
    assert result["trials"] == 9 and set(result["baselines"]) == {"base", "uniform", "a alone", "b alone"}
    assert result["score"] >= max(means["skills/add:logp"] for means in result["baselines"].values())
    assert result["arm"] == yaml.safe_load((tmp_path / "r" / "best.yaml").read_text())["arm"]
    again = json.loads(yosegi("search", "--config", "r/run.yaml", "--run", "s", "--json")[1])
    assert again | {"run": "r"} == result, "run.yaml does the same again"
    assert "holds another search: sampler was tpe, is cmaes" in refused(*SEARCH, "--sampler", "cmaes")
    assert yosegi("report", "r")[0] == 0 and "How the search went" in (tmp_path / "r" / "report.html").read_text()


def test_keep(yosegi, refused, shelf, tmp_path):
    kept = (*SEARCH, "--penalty", 0, "--negative", "--trials", 12, "--seed", 1)
    code, out, _ = yosegi(*kept, "--json")
    best = json.loads(out)
    assert "has an expert called 'a'" in refused(*kept, "--keep", "a")
    assert best["chosen"].startswith("trial")
    code, out, _ = yosegi(*kept, "--keep", "both")
    assert code == 0 and "--arm both" in out
    card = files.read_json(tmp_path / "shelf" / "arms" / "both" / "arm.json")
    assert card["training"]["search"]["chosen"] == best["chosen"]
    assert yosegi(*kept, "--keep", "both")[0] == 0, "the same command again has nothing to do"
    assert files.read_json(tmp_path / "shelf" / "arms" / "both" / "arm.json") == card
    code, out, _ = yosegi("merge", "--library", "shelf", "--config", "r/best.yaml", "--name", "again")
    assert code == 0 and "again: " in out
    code, out, _ = yosegi("merge", "both", "--library", "shelf", "--name", "one")
    assert (
        code == 0 and files.read_json(tmp_path / "shelf" / "one" / "expert.json")["training"]["arm"]["name"] == "both"
    )
    code, out, _ = yosegi("library", "arms", "shelf")
    assert code == 0 and "1 arms" in out and "merge:cat" in out
    again, one = Library(tmp_path / "shelf")["again"], Library(tmp_path / "shelf")["one"]
    assert all(again.delta(layer).equal(one.delta(layer)) for layer in again.factors)


def test_a_router(yosegi, shelf):
    code, out, _ = yosegi(*SEARCH, "--arm", "arrow{top_k=1:2}")
    assert code == 0 and "arrow as it is" in out


def test_settings_from_a_file(yosegi, shelf, tmp_path):
    words = "library: shelf\ntask: [skills/add:logp]\nlimit: 4\ntrials: 1\narm: ['merge:svd{rank=1|2}', 'merge:cat']\n"
    (tmp_path / "s.yaml").write_text(words)
    code, out, err = yosegi("search", "--config", "s.yaml", "--run", "r", "--json")
    assert code == 0 and json.loads(out)["trials"] == 6, err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--arm", "merge:svdd"), "Did you mean 'svd'"),
        (("--arm", "arow"), "Did you mean 'arrow'"),
        (("--sampler", "tpee"), "Did you mean 'tpe'"),
        (("--task", "skills/ad"), "Did you mean 'add'"),
        (("--task", "skills/add:lopg"), "Did you mean 'logp'"),
        (("--task", "skills/reverse=much"), "the weight is a number"),
        (("--arm", "merge:cat{rank}"), "'=' is expected"),
        (("--arm", "merge:cat{rank=4}"), "No argument of merge:cat is called 'rank'"),
        (("--arm", "merge:svd{rnak=4}"), "Did you mean 'rank'"),
        (("--groups", "99"), "99 groups of layers"),
        (("--pareto",), "more than one --task"),
        (("--cap", "0.5"), "--cap"),
        (("--keep", "a/b"), "path separator"),
        (("--experts", "x"), "'x'"),
        (("--split", "test"), "--split"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(refused, shelf, tmp_path, more, said):
    assert said in refused(*SEARCH, *more)
    assert not (tmp_path / "r").exists()


def test_interrupted_it_says_what_it_knows_and_goes_on(yosegi, shelf, tmp_path, monkeypatch):
    from yosegi.search import study

    real, calls = study.attempt, []

    def pressed(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(study, "attempt", pressed)
    code, _, err = yosegi(*SEARCH)
    assert code == 130 and "the same command goes on" in err
    assert (tmp_path / "r" / "findings.json").exists() and (tmp_path / "r" / "best.yaml").exists()
    code, out, _ = yosegi(*SEARCH, "--json")
    assert code == 0 and json.loads(out)["trials"] == 7
