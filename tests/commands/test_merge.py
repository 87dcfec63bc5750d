"""`yosegi merge`: every argument of every method, by flags or from a file; what is wrong is one line."""

import json
import shlex

import pytest
import torch

from yosegi import registry
from yosegi.core.expert import Expert, Factors
from yosegi.engine.arm import Arm
from yosegi.engine.kept import save_arm
from yosegi.library.store import Library
from yosegi.merges import merge
from yosegi.spec import write_method


@pytest.fixture
def store(tmp_path):
    library = Library(tmp_path / "shelf")
    for name in ("code", "maths"):
        factors = {n: Factors(torch.randn(2, 6), torch.randn(8, 2), 0.5) for n in ("m.q", "m.v")}
        library.add(Expert(name, factors, {"base": "B", "base_hash": "abc", "task": [name]}))
    return library


ALL = {
    "cat": {},
    "core_space": {"by": "ties", "density": 0.5},
    "dare": {"drop": 0.25, "seed": 3},
    "dare_ties": {"drop": 0.25, "seed": 3, "rank": "full"},
    "iso_c": {},
    "knots": {"by": "ties", "density": 0.5},
    "linear": {},
    "magnitude_prune": {"density": 0.5, "rank": 1},
    "slerp": {},
    "svd": {"rank": 1},
    "task_arithmetic": {},
    "ties": {"density": 0.5, "rank": 3},
    "tsv": {"share": 0.5},
}


def test_every_method_is_here():
    assert set(ALL) == set(registry.names("merges"))


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("how", ["command line", "file"])
def test_it_is_the_merge_with_these_arguments(yosegi, store, tmp_path, method, how):
    arguments = ALL[method]
    spec = write_method(method, arguments) + "(maths*.7,code*.3)"
    if how == "command line":
        code, out, err = yosegi("merge", spec, "--library", "shelf", "--name", "both", "--json")
    else:
        (tmp_path / "merge.yaml").write_text(json.dumps({"arm": f"merge:{spec}", "name": "both"}))
        code, out, err = yosegi("merge", "--library", "shelf", "--config", "merge.yaml", "--json")
    assert code == 0, err
    want = merge([store["maths"], store["code"]], method, [0.7, 0.3], **arguments)
    for layer in want.factors:
        torch.testing.assert_close(store["both"].delta(layer), want.delta(layer))
    card = json.loads(out)
    assert card["training"] == want.card["training"] and card["parents"] == ["maths", "code"]
    assert card["relative_error"] == want.card["relative_error"]
    assert card.get("truncation_error") == want.card.get("truncation_error")


def test_other_arms_that_are_one_delta(yosegi, store):
    """Fixed weights, and per-layer weights that a search has kept."""
    assert yosegi("merge", "maths*.7+code*-.3", "--library", "shelf", "--name", "sum")[0] == 0
    want = 0.7 * store["maths"].delta("m.q") - 0.3 * store["code"].delta("m.q")
    torch.testing.assert_close(store["sum"].delta("m.q"), want)
    weights = {"m.q": [1.0, 0.0], "m.v": [0.0, 2.0]}
    save_arm(store, Arm("layers", store.load(["maths", "code"]), merge="cat", merge_args={"weights": weights}))
    code, out, _ = yosegi("merge", "layers", "--library", "shelf", "--name", "one")
    assert code == 0 and "one: 2 experts by layers, rank 2, relative error 0.0000" in out
    torch.testing.assert_close(store["one"].delta("m.q"), store["maths"].delta("m.q"))
    torch.testing.assert_close(store["one"].delta("m.v"), 2 * store["code"].delta("m.v"))


def test_the_readme_makes_it_again(yosegi, store):
    """The command in the model card, word for word, gives the same expert."""
    spec = "dare_ties{drop=.25,rank=1}(maths*-.7,code*.3)"
    assert yosegi("merge", spec, "--library", "shelf", "--name", "both")[0] == 0
    first, text = store["both"], (store.path / "both" / "README.md").read_text()
    assert "Merged by dare_ties from -0.7 · maths + 0.3 · code." in text
    assert "| distance from the weighted sum | " in text and "| lost in the cut to this rank | " in text
    (line,) = [line for line in text.splitlines() if line.startswith("yosegi merge")]
    assert yosegi(*shlex.split(line)[1:], "--library", "shelf", "--overwrite")[0] == 0
    for layer in first.factors:
        assert torch.equal(first.delta(layer), store["both"].delta(layer))
    assert first.card["training"] == store["both"].card["training"]


def test_it_tells_both_errors(yosegi, store):
    code, out, _ = yosegi("merge", "ties{density=.5}", "--library", "shelf")
    assert (
        code == 0 and "2 experts by ties{density=.5}, rank 2, relative error 0." in out and "lost in the cut 0." in out
    )
    assert "lost in the cut" not in yosegi("merge", "--library", "shelf", "--name", "x")[1]
    assert yosegi("merge", "--experts", "code", "--library", "shelf", "--name", "y")[0] == 0
    assert store.card("y")["parents"] == ["code"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("ties{densty=.2}", "No argument of merge:ties is called 'densty'. Did you mean 'density'?"),
        ("cat{rank=2}", "No argument of merge:cat is called 'rank'"),
        ("tise", "No merge is called 'tise'. Did you mean 'ties'?"),
        ("ties{density}", "'=' is expected"),
        ("ties{density=}", "a value is expected"),
        ("ties{density=much}", "density is of type float; much"),
        ("ties{density=2}", "density=2"),
        ("ties{density=1,density=.5}", "density is given twice"),
        ("ties{rank=wide}", "rank='wide'"),
        ("svd{rank=1.5}", "rank='1.5'"),
        ("dare{seed=x}", "seed is of type int; x"),
        ("knots{by=tise}", "Did you mean 'ties'?"),
        ("knots{by=dare,density=.5}", "knots by dare has no density"),
        ("slerp(maths*-1,code*2)", "negative"),
        ("linear(maths*-1,code*2)", "negative"),
        ("svd{weights=[1]}", "2 experts need 2 weights, not 1"),
        ("maths*x", "a number is expected"),
        ("svd --name code", "has an expert 'code' already"),
        ("svd --name a/b", "path separator"),
        ("svd --name arrow", "cannot be called 'arrow'"),
        ("svd(coed,maths)", "Did you mean 'code'"),
        ("svd --experts coed,maths", "Did you mean 'code'"),
        ("arrow", "arrow looks at its input: it cannot be folded"),
        ("base", "there is no delta to make an expert of"),
        ("--config methd.yaml", "No setting of merge is called 'amr'. Did you mean 'arm'?"),
        ("--config number.yaml", "experts is a list of names"),
    ],
)
def test_what_is_wrong_is_one_line(refused, store, tmp_path, words, message):
    (tmp_path / "methd.yaml").write_text("amr: ties")
    (tmp_path / "number.yaml").write_text("experts: 3")
    before = sorted(store)
    assert message in refused("merge", *words.split(), "--library", "shelf")
    assert sorted(store) == before
