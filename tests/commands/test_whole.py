"""`train --method galore`, `apollo` and `full`: whole weights, and an expert in the library like any other."""

import json

import pytest

from yosegi import files

TRAIN = ("train", "--task", "skills/reverse", "--library", "shelf", "--run", "r", "--max-steps", 3, "--limit", 40)
GALORE = (*TRAIN, "--method", "galore{rank=16,update_gap=2}", "--learning-rate", "2e-2")


@pytest.mark.slow
def test_whole_weights_become_an_expert(yosegi, refused, tmp_path):
    code, out, _ = yosegi(*GALORE, "--rank", 8)
    assert code == 0 and "reverse: rank 8, " in out and "% of the change, 3 steps" in out
    assert not list((tmp_path / "r" / "checkpoint").glob("*"))
    whole = "base{base_delta=r/weights/reverse}"
    assert f"its weights, uncut: yosegi eval --arm '{whole}'" in out
    ask = ("eval", "--library", "shelf", "--task", "skills/reverse", "--limit", 2, "--run", "e", "--json")
    code, out, _ = yosegi(*ask, "--arm", whole, "--arm", "reverse")
    assert code == 0 and {"whole weights", "expert"} <= {row["method"] for row in json.loads(out)}
    card = files.read_json(tmp_path / "shelf" / "reverse" / "expert.json")
    assert card["training"]["optimizer_args"] == {"rank": 16, "update_gap": 2} and card["init"] is None
    assert 0 < card["metrics"]["energy_kept"] < 1 and 0 < card["relative_error"] < 1
    assert len(card["energy_kept"]) == 28, "one share a linear"
    assert "lost in the cut to this rank" in (tmp_path / "shelf" / "reverse" / "README.md").read_text()
    rows = files.read_jsonl(tmp_path / "r" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3] and all("refresh_s" in row for row in rows)
    assert yosegi(*GALORE, "--rank", 8)[0] == 0 and len(files.read_jsonl(tmp_path / "r" / "metrics.jsonl")) == 3
    assert "another expert called 'reverse'" in refused(*GALORE, "--rank", 4)
    assert yosegi("library", "verify", "shelf")[:2] == (0, "1 experts, 0 problems\n")

    code, out, _ = yosegi(*TRAIN, "--method", "apollo{by=tensor}", "--rank", 0, "--library", "drawn", "--json")
    assert code == 0 and json.loads(out)[0]["optimizer_bytes"] < 2**20, "rank 16, where AdamW needs more than 6 MB"

    both = (*TRAIN, "--task", "skills/sort", "--method", "full", "--rank", 0, "--library", "two")
    code, out, _ = yosegi(*both, "--json")
    assert code == 0 and [(e["name"], e["rank"]) for e in json.loads(out)] == [("reverse", 128), ("sort", 128)]
    code, out, _ = yosegi(*both, "--build", "shared", "--json")
    assert code == 0 and json.loads(out)[0]["task"] == ["skills/reverse", "skills/sort"]
    assert json.loads(out)[0]["examples"] == 80, "the limit is each task's"
    assert "another expert called 'reverse'" in refused(*both, "--rank", 2)
    assert len(files.read_jsonl(tmp_path / "r" / "metrics.jsonl")) == 3 * 3, "refused before anything was trained"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--method", "galor"], "Did you mean 'galore'?"),
        (["--method", "galore", "--alpha", "4"], "alpha means nothing where whole weights are trained."),
        (["--method", "galore", "--build", "mbc"], "--build private or shared, not mbc"),
        (["--method", "galore{per_layer=true}"], "per_layer needs max_grad_norm 0"),
        (["--method", "galore{gap}"], "is not a spec"),
        (["--method", "galore{scale=much}"], "galore: scale is of type float; much was given"),
        (["--method", "apollo{betas=0.9}"], "betas"),
        (["--method", "galore{rank=1,rank=2}"], "rank is given twice"),
        (
            ["--method", "galore{updategap=3}"],
            "No argument of galore is called 'updategap'. Did you mean 'update_gap'?",
        ),
        (["--method", "galore{projection=lefft}"], "Did you mean 'left'?"),
        (["--method", "full{rank=3}"], "rank"),
        (["--method", "galore", "--targets", "qproj"], "Did you mean 'q_proj'?"),
    ],
)
def test_one_clear_line(refused, tmp_path, words, says):
    assert says in refused("train", "--task", "skills/sort", "--library", "shelf", "--run", "r", *words)
    assert not (tmp_path / "shelf").exists()


@pytest.mark.parametrize("method", ["galore", "lora"])
def test_other_texts_under_the_same_name_are_not_taken_for_the_old_ones(yosegi, refused, tmp_path, monkeypatch, method):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    rows = [
        {"id": str(n), "split": "train", "text": f"Rule {n}: a train of {n} cars stops at gate {n}."} for n in range(6)
    ]
    (tmp_path / "corpus").mkdir()
    file = tmp_path / "corpus" / "rules.jsonl"
    words = (
        "train",
        "--task",
        "corpus/rules",
        "--data",
        str(tmp_path),
        "--objective",
        "lm",
        "--pack",
        32,
        "--method",
        method,
    )
    words += ("--library", "shelf", "--run", "r", "--max-steps", 1, "--name", "rules")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert yosegi(*words)[0] == 0 and yosegi(*words)[0] == 0, "the same again is there already"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    assert "which learnt other examples of corpus/rules" in refused(*words)
