"""`yosegi library cluster` and `subtract`, as a user runs them."""

import json

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.library.store import Library


@pytest.fixture
def store(tmp_path):
    """Five experts that went two ways from one origin, and a general one."""
    library, A_RI = Library(tmp_path / "shelf"), torch.randn(2, 9)
    ways = torch.randn(2, 7, 2)
    for name, way in (("a", 0), ("b", 1), ("c", 0), ("d", 1), ("e", 0), ("wiki", None)):
        B_OR = 0.1 * torch.randn(7, 2) + (0 if way is None else ways[way])
        card = {"task": [f"task {name}"], "base": "b", "base_hash": "abc", "init": "kaiming", "init_seed": 0}
        library.add(Expert(name, {"model.q": Factors(A_RI + 0.1 * torch.randn(2, 9), B_OR, 2.0)}, card))
    return library


TRAINED = ("a", "b", "c", "d", "e")


def change(library, name, **card):
    expert = library[name]
    library.add(Expert(name, {n: f._replace(A_RI=f.A_RI.clone(), B_OR=f.B_OR.clone()) for n, f in expert.factors.items()}, {**expert.card, **card}), overwrite=True)  # fmt: skip


def test_what_moved_needs_the_base_of_the_experts(refused, store):
    line = refused("library", "cluster", "shelf", *TRAINED, "--k", 2, "--space", "moved", "--base", "nano")
    assert "was trained beside b@abc; this is nano@" in line


def test_clusters_are_shown_with_their_members(yosegi, store):
    code, out, err = yosegi("library", "cluster", "shelf", *TRAINED, "-k", 2)
    assert (code, err) == (0, "") and "5 experts by factors, k=2, silhouette 0." in out
    rows = [line.split() for line in out.splitlines() if line.startswith("cluster") and line[7].isdigit()]
    assert rows == [["cluster0", "3", "a,", "c,", "e"], ["cluster1", "2", "b,", "d"]]


def test_json_is_the_evidence(yosegi, store):
    result = json.loads(yosegi("library", "cluster", "shelf", *TRAINED, "--k", 2, "--space", "delta", "--json")[1])
    assert result["clusters"] == {"cluster0": ["a", "c", "e"], "cluster1": ["b", "d"]} and result["sizes"] == [3, 2]
    assert len(result["similarity"]) == 5 and result["space"] == "delta" and "sweep" not in result


def test_a_sweep_is_a_table_of_k(yosegi, store):
    code, out, _ = yosegi("library", "cluster", "shelf", *TRAINED, "--sweep", "2,3,5")
    rows = [line.split() for line in out.splitlines() if line[:1] in "235" and line.strip()]
    assert code == 0 and [row[0] for row in rows] == ["2", "3", "5"] and "cluster0" not in out
    assert rows[0][3:] == ["3", "2"] and rows[2][1] == "none"
    both = json.loads(yosegi("library", "cluster", "shelf", *TRAINED, "--k", 2, "--sweep", "2,3", "--json")[1])
    assert [row["k"] for row in both["sweep"]] == [2, 3] and both["sweep"][0]["silhouette"] == both["silhouette"]


def test_the_figure_is_written(yosegi, store, tmp_path):
    assert yosegi("library", "cluster", "shelf", "-k", 2, "--figure", "out/c.png")[0] == 0
    assert (tmp_path / "out" / "c.png").read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_clustered_is_one_line(refused, yosegi, store, tmp_path):
    assert "k=10: 6 experts can be 1 to 6 clusters" in refused("library", "cluster", "shelf")
    assert "k=9: 6 experts" in refused("library", "cluster", "shelf", "--sweep", "2,9")
    assert "whole numbers" in refused("library", "cluster", "shelf", "--sweep", "2,x")
    assert "Did you mean 'delta'" in refused("library", "cluster", "shelf", "-k", 2, "--space", "detla")
    assert "sparsity=1" in refused("library", "cluster", "shelf", "-k", 2, "--sparsity", 1)
    change(store, "c", init_seed=7)
    for words in (("cluster", "shelf", "-k", 2, "--figure", "c.png"), ("similarity", "shelf", "--space", "factors")):
        message = refused("library", *words)
        assert "kaiming, seed 0; kaiming, seed 7" in message and "cannot be compared" in message
    assert not (tmp_path / "c.png").exists()
    assert yosegi("library", "cluster", "shelf", "-k", 2, "--space", "delta")[0] == 0


def test_a_general_expert_is_taken_out_of_all(yosegi, store):
    code, out, _ = yosegi("library", "subtract", "shelf", "wiki")
    assert code == 0 and "5 experts without wiki by delta, rank 4" in out and "a-minus-wiki" in out
    assert set(store) == {*TRAINED, "wiki", *(f"{name}-minus-wiki" for name in TRAINED)}
    result, card = store["b-minus-wiki"], store.card("b-minus-wiki")
    wanted = store["b"].delta("model.q") - store["wiki"].delta("model.q")
    torch.testing.assert_close(result.delta("model.q"), wanted, atol=1e-5, rtol=0)
    assert card["parents"] == ["b", "wiki"] and card["training"]["subtract"] == "wiki" and card["task"] == ["task b"]
    code, out, _ = yosegi("library", "subtract", "shelf", "wiki", "--overwrite")
    assert code == 0 and "5 experts" in out and len(store) == 11, "what was subtracted is not subtracted from again"


def test_named_experts_into_another_library(yosegi, store, tmp_path):
    result = yosegi("library", "subtract", "shelf", "wiki", "a", "c", "--mode", "factors", "--to", "pure", "--json")
    assert json.loads(result[1])["experts"] == ["a", "c"] and len(store) == 6
    pure = Library(tmp_path / "pure")
    assert list(pure) == ["a", "c"] and pure["a"].rank == 2
    A_RI = store["a"].factors["model.q"].A_RI - store["wiki"].factors["model.q"].A_RI
    torch.testing.assert_close(pure["a"].factors["model.q"].A_RI, A_RI)
    assert yosegi("library", "subtract", "shelf", "wiki", "a", "--to", "pure", "--name-suffix", "2")[0] == 0
    assert "a2" in pure


def test_what_cannot_be_subtracted_leaves_nothing(yosegi, refused, store):
    assert "Did you mean 'wiki'" in refused("library", "subtract", "shelf", "wikki")
    assert "Did you mean 'delta'" in refused("library", "subtract", "shelf", "wiki", "--mode", "detla")
    change(store, "e", init_seed=7)
    assert "cannot be subtracted" in refused("library", "subtract", "shelf", "wiki", "--mode", "factors")
    assert len(store) == 6, "a to d could be, and were not written either"
    assert yosegi("library", "subtract", "shelf", "wiki", "b")[0] == 0
    assert "'b-minus-wiki'" in refused("library", "subtract", "shelf", "wiki")
    assert "an expert called 'a'" in refused("library", "subtract", "shelf", "wiki", "--name-suffix", "")
    assert len(store) == 7
    assert yosegi("library", "rm", "shelf", *TRAINED, "b-minus-wiki")[0] == 0
    assert "no expert to take 'wiki' out of" in refused("library", "subtract", "shelf", "wiki")
