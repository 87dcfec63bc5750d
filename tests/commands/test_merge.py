"""`yosegi merge`: every argument of every method, by flags or from a file; what is wrong is one line."""

import json
import shlex

import pytest
import torch

from yosegi import registry
from yosegi.core.expert import Expert, Factors
from yosegi.library.store import Library
from yosegi.merges import merge


@pytest.fixture
def shelf(tmp_path):
    library = Library(tmp_path / "shelf")
    for name in ("code", "maths"):
        factors = {n: Factors(torch.randn(2, 6), torch.randn(8, 2), 0.5) for n in ("m.q", "m.v")}
        library.add(Expert(name, factors, {"base": "B", "base_hash": "abc", "task": [name]}))
    return library


ALL = {
    "cat": {},
    "dare": {"drop": 0.25, "seed": 3},
    "dare_ties": {"drop": 0.25, "seed": 3, "rank": "full"},
    "knots": {"by": "ties", "density": 0.5},
    "linear": {},
    "magnitude_prune": {"density": 0.5, "rank": 1},
    "slerp": {},
    "svd": {"rank": 1},
    "task_arithmetic": {},
    "ties": {"density": 0.5, "rank": 3},
}


def test_every_method_is_here():
    assert set(ALL) == set(registry.names("merges"))


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("how", ["flags", "file"])
def test_it_is_the_merge_with_these_arguments(yosegi, shelf, tmp_path, method, how):
    arguments = ALL[method]
    if how == "flags":
        words = ["--method", method, "--weights", "0.7,0.3", "--name", "both"]
        words += [word for name, value in arguments.items() for word in ("--set", f"{name}={value}")]
        code, out, _ = yosegi("merge", "maths", "code", "--library", "shelf", *words, "--json")
    else:
        settings = {"method": method, "weights": {"maths": 0.7, "code": 0.3}, "name": "both", **arguments}
        (tmp_path / "merge.yaml").write_text(json.dumps(settings))
        code, out, _ = yosegi("merge", "--library", "shelf", "--config", "merge.yaml", "--json")
    assert code == 0
    want = merge([shelf["maths"], shelf["code"]], method, [0.7, 0.3], **arguments)
    for layer in want.factors:
        torch.testing.assert_close(shelf["both"].delta(layer), want.delta(layer))
    card = json.loads(out)
    assert card["training"] == want.card["training"] and card["parents"] == ["maths", "code"]
    assert card["relative_error"] == want.card["relative_error"]
    assert card.get("truncation_error") == want.card.get("truncation_error")


def test_the_readme_makes_it_again(yosegi, shelf):
    """The command in the model card, word for word, gives the same expert."""
    words = ["--weights=-0.7,0.3", "--method", "dare_ties", "--set", "drop=0.25", "--rank", 1, "--name", "both"]
    assert yosegi("merge", "maths", "code", "--library", "shelf", *words)[0] == 0
    first, text = shelf["both"], (shelf.path / "both" / "README.md").read_text()
    assert "Merged by dare_ties from -0.7 · maths + 0.3 · code." in text
    assert "| distance from the weighted sum | " in text and "| lost in the cut to this rank | " in text
    (line,) = [line for line in text.splitlines() if line.startswith("yosegi merge")]
    assert yosegi(*shlex.split(line)[1:], "--library", "shelf", "--overwrite")[0] == 0
    for layer in first.factors:
        assert torch.equal(first.delta(layer), shelf["both"].delta(layer))
    assert first.card["training"] == shelf["both"].card["training"]


def test_it_tells_both_errors(yosegi, shelf):
    code, out, _ = yosegi("merge", "--library", "shelf", "--method", "ties", "--set", "density=0.5")
    assert code == 0 and "2 experts by ties, rank 2, relative error 0." in out and "lost in the cut 0." in out
    assert "lost in the cut" not in yosegi("merge", "--library", "shelf", "--name", "x")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--method ties --set densty=0.2", "No argument of ties is called 'densty'. Did you mean 'density'?"),
        ("--method cat --rank 2", "No argument of cat is called 'rank'. There are: none."),
        ("--method tise", "Did you mean 'ties'?"),
        ("--method ties --set density", "--set takes NAME=VALUE"),
        ("--method ties --set density=", "--set takes NAME=VALUE"),
        ("--method ties --set density=[", "--set density"),
        ("--method ties --set density=much", "density='much'"),
        ("--method ties --set density=2", "density=2"),
        ("--method ties --rank 2 --set rank=3", "rank is said twice"),
        ("--method ties --set density=1 --set density=0.5", "density is said twice"),
        ("--method ties --set name=x", "name has an option of its own"),
        ("--method ties --set rank=wide", "rank='wide'"),
        ("--method svd --set rank=1.5", "rank=1.5"),
        ("--method dare --set seed=x", "seed='x'"),
        ("--method knots --set by=tise", "Did you mean 'ties'?"),
        ("--method knots --set by=dare --set density=0.5", "density means nothing to knots by dare"),
        ("--method slerp --weights -1,2", "negative"),
        ("--method linear --weights=-1,2", "negative"),
        ("--weights 1", "2 experts need 2 weights; 1 were given"),
        ("--weights 1,x", "--weights takes numbers"),
        ("--name code", "has an expert 'code' already"),
        ("--name a/b", "path separator"),
        ("coed maths", "Did you mean 'code'"),
        ("--config densty.yaml", "No argument of svd is called 'densty'"),
        ("--config methd.yaml", "Did you mean 'method'?"),
        ("--config names.yaml", "'physics'"),
        ("--config fewer.yaml", "leave out 'code'"),
        ("--config number.yaml", "experts is a list of names"),
        ("--config one.yaml", "--weights takes numbers"),
    ],
)
def test_what_is_wrong_is_one_line(refused, shelf, tmp_path, words, said):
    (tmp_path / "densty.yaml").write_text("densty: 0.2")
    (tmp_path / "methd.yaml").write_text("methd: ties")
    (tmp_path / "names.yaml").write_text("experts: [maths, code]\nweights: {maths: 1, physics: 2}")
    (tmp_path / "fewer.yaml").write_text("experts: [maths, code]\nweights: {maths: 1}")
    (tmp_path / "number.yaml").write_text("experts: 3")
    (tmp_path / "one.yaml").write_text("weights: 1")
    before = sorted(shelf)
    assert said in refused("merge", *words.split(), "--library", "shelf")
    assert sorted(shelf) == before
