"""A router learns beside a library, is kept there, and answers: `yosegi train-router`, `yosegi eval --arm NAME`."""

import json

import pytest

from yosegi import files

TRAIN = ("train", "--library", "shelf", "--run", "t", "--max-steps", 3, "--limit", 20, "--learning-rate", "5e-3")
FIT = ("train-router", "--library", "shelf", "--run", "f")
EVAL = ("eval", "--library", "shelf", "--task", "skills/sort", "--limit", 4, "--run", "e", "--json")


@pytest.mark.slow
def test_every_router_that_learns_is_fitted_kept_and_used(yosegi, refused, tmp_path):
    assert yosegi(*TRAIN, "--task", "skills/sort", "--task", "skills/reverse")[0] == 0
    assert yosegi(*TRAIN, "--task", "skills/succ", "--rank", 3)[0] == 0
    assert "yosegi train-router --library shelf --arm centroid" in refused(*EVAL, "--arm", "centroid")

    code, out, _ = yosegi(*FIT, "--arm", "centroid", "--limit", 3)
    assert code == 0 and "centroid-router: trained for 3 experts on 3 tasks" in out
    assert "has an arm called 'centroid-router'" in refused(*FIT, "--arm", "centroid")
    assert yosegi(*FIT, "--arm", "centroid{temperature=.1}", "--limit", 3, "--overwrite")[0] == 0
    assert yosegi(*FIT, "--arm", "phatgoose", "--steps", 2, "--batch-size", 2)[0] == 0
    assert yosegi(*FIT, "--arm", "predictor", "--steps", 20, "--limit", 5)[0] == 0
    two = ("--experts", "sort,succ")
    code, out, _ = yosegi(*FIT, "--arm", "retrieval", "--name", "near", *two, "--limit", 5, "--json")
    assert code == 0 and json.loads(out)["experts"] == ["sort", "succ"]
    more = ("--task", "skills/sort", "--task", "skills/succ", "--task", "skills/add", *two)
    assert yosegi(*FIT, "--arm", "predictor", "--name", "wider", "--steps", 2, "--limit", 2, *more)[0] == 0

    card = files.read_json(tmp_path / "shelf" / "arms" / "centroid-router" / "arm.json")
    assert (
        card["router_args"] == {"temperature": 0.1} and card["training"]["limit"] == 3 and len(card["data_hash"]) == 12
    )
    assert card["tasks"] == ["skills/reverse", "skills/sort", "skills/succ"]
    wider = files.read_json(tmp_path / "shelf" / "arms" / "wider" / "arm.json")
    assert wider["router_args"]["tasks"] == ["skills/sort", "skills/succ", "skills/add"]
    metrics = files.read_jsonl(tmp_path / "f" / "metrics.jsonl")
    assert {row["expert"] for row in metrics} == {
        "predictor-router",
        "wider",
        *(f"phatgoose-router {e}" for e in ("sort", "reverse", "succ")),
    }

    code, out, _ = yosegi("library", "arms", "shelf")
    assert code == 0 and "5 arms" in out and "retrieval" in out and "gone" not in out

    names = ["centroid-router", "phatgoose-router", "predictor-router", "near", "wider"]
    arms = [word for name in [*names, "spectr"] for word in ("--arm", name)]
    code, out, err = yosegi(*EVAL, *arms)
    assert code == 0, err
    rows = json.loads(out)
    by_name = {row["model"]: row for row in rows if row["metric"] == "accuracy"}
    assert list(by_name) == ["base", *names, "spectr"]
    assert (
        by_name["near"]["router"] == "retrieval"
        and by_name["near"]["trainable_params"] < by_name["predictor-router"]["trainable_params"]
    )
    routing = files.read_json(tmp_path / "e" / "routing.json")["routers"]
    assert {"centroid-router", "phatgoose-router", "predictor-router", "spectr"} <= set(routing)
    assert json.loads(yosegi(*EVAL, *arms)[1]) == rows, "nothing is measured twice"

    assert "No arm is called 'nearr'. Did you mean 'near'" in refused(*EVAL, "--arm", "nearr")
    assert yosegi("library", "verify", "shelf")[:2] == (0, "3 experts, 0 problems\n")
    assert yosegi(*TRAIN, "--task", "skills/sort", "--overwrite", "--max-steps", 4)[0] == 0
    assert "'near' was made with another expert 'sort'" in refused(*EVAL, "--arm", "near")
    assert yosegi("library", "rm", "shelf", "succ")[0] == 0
    assert "yosegi train-router --arm" in refused(*EVAL, "--arm", "wider")
    assert "'nea'. Did you mean 'near'" in refused("library", "rm", "shelf", "nea", "centroid-router", "--arm")
    assert yosegi("library", "rm", "shelf", "centroid-router", "--arm")[0] == 0
    assert "centroid-router" not in yosegi("library", "arms", "shelf")[1]
    assert "succ (gone)" in yosegi("library", "arms", "shelf")[1]
    assert json.loads(yosegi("library", "arms", "shelf", "--json")[1])["near"]["router"] == "retrieval"


@pytest.mark.slow
def test_what_cannot_be_fitted_leaves_nothing_behind(yosegi, refused, tmp_path):
    assert yosegi(*TRAIN, "--task", "skills/sort")[0] == 0
    assert "'skills/sort', and there are none" in refused(*FIT, "--arm", "centroid", "--task", "skills/succ")
    assert "Did you mean 'sort'" in refused(*FIT, "--arm", "centroid", "--experts", "sotr")
    assert "Did you mean 'centroid'" in refused(*FIT, "--arm", "centroyd")
    assert "arrow has nothing to learn" in refused(*FIT, "--arm", "arrow")
    assert "it learns together with its experts" in refused(*FIT, "--arm", "task_table")
    for arm in ("sort", "base", "merge:cat", "sort*.5"):
        assert "could learn" in (error := refused(*FIT, "--arm", arm)) or "trained already" in error
    assert "without ablate and heads" in refused(*FIT, "--arm", "centroid{heads=2}")
    assert "steps: Input should be greater than" in refused(*FIT, "--arm", "phatgoose", "--steps", 0)
    assert not (tmp_path / "shelf" / "arms").exists()


@pytest.mark.slow
def test_a_bank_takes_up_a_new_task(yosegi, refused, tmp_path):
    train = (
        "train",
        "--build",
        "poly{experts=2}",
        "--library",
        "shelf",
        "--max-steps",
        3,
        "--limit",
        16,
        "--run",
        "r",
    )
    assert yosegi(*train, "--task", "skills/reverse", "--task", "skills/sort")[0] == 0
    assert "name the new tasks" in refused("train-router", "--library", "shelf", "--arm", "poly")
    fit = (
        "train-router",
        "--library",
        "shelf",
        "--arm",
        "poly",
        "--task",
        "skills/succ",
        "--steps",
        3,
        "--limit",
        16,
        "--run",
        "r",
    )
    assert "poly is a bank" in (error := refused(*fit, "--experts", "a")) and "--experts says nothing" in error
    code, out, _ = yosegi(*fit)
    assert code == 0 and "poly-new: trained for 2 experts on 1 tasks" in out
    ask = ("eval", "--library", "shelf", "--limit", 4, "--run", "e")
    code, out, _ = yosegi(*ask, "--arm", "poly", "--arm", "poly-new", "--task", "skills/succ", "--task", "skills/sort")
    assert code == 0 and "poly-new" in out
    rows = files.read_jsonl(tmp_path / "e" / "results.jsonl")
    assert {row["mix"] for row in rows if row["model"] == "poly-new"} == {"factors"}


@pytest.mark.slow
def test_cat_is_fitted_folded_and_answers_the_same(yosegi, refused, tmp_path):
    assert yosegi(*TRAIN, "--task", "skills/sort", "--task", "skills/reverse")[0] == 0
    fit = (
        *FIT,
        "--arm",
        "static{constraint=free}",
        "--name",
        "soup",
        "--steps",
        4,
        "--limit",
        8,
        "--learning-rate",
        "0.05",
    )
    code, out, _ = yosegi(*fit, "--granularity", "layer", "--json")
    assert code == 0 and json.loads(out)["moved"] > 0
    assert "has an arm called 'soup'" in refused(*fit)
    assert "soup is trained already: name its router" in refused(*FIT, "--arm", "soup")
    again = ("train-router", "--config", "f/run.yaml", "--run", "g", "--name", "again")
    assert yosegi(*again)[0] == 0 and yosegi("library", "verify", "shelf")[0] == 0
    states = [(tmp_path / "shelf" / "arms" / name / "state.safetensors").read_bytes() for name in ("soup", "again")]
    assert states[0] == states[1], "run.yaml trains the same again"
    card = files.read_json(tmp_path / "shelf" / "arms" / "soup" / "arm.json")
    assert (
        card["router_args"] == {"constraint": "free"}
        and card["training"]["granularity"] == "layer"
        and card["training"]["moved"] > 0
    )
    assert "looks at its input" in _unfoldable(yosegi, refused)
    code, out, _ = yosegi("library", "fold", "shelf", "soup")
    assert code == 0 and "soup-folded: 2 experts as soup weights them, rank 16, relative error 0.0000" in out
    assert yosegi("library", "fold", "shelf", "soup", "--name", "cut", "--rank", 4)[0] == 0
    rows = json.loads(yosegi(*EVAL, "--arm", "soup", "--arm", "cut")[1])
    assert {"soup", "cut"} <= {row["model"] for row in rows}


def _unfoldable(yosegi, refused):
    assert yosegi(*FIT, "--arm", "softmax", "--steps", 2, "--limit", 4, "--learning-rate", "0.05")[0] == 0
    return refused("library", "fold", "shelf", "softmax-router")
