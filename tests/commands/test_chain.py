"""The verbs one after another, as in the README: train, look, evaluate, merge, export, report."""

import json

import pytest

from yosegi import files

TRAIN = ("train", "--library", "shelf", "--run", "r", "--max-steps", 4, "--learning-rate", "5e-3", "--limit", 40)
EVAL = ("eval", "--library", "shelf", "--task", "skills/reverse", "--task", "skills/sort", "--limit", 6, "--run", "r")


@pytest.mark.slow
def test_the_chain(yosegi, refused, tmp_path):
    code, out, _ = yosegi(*TRAIN, "--task", "skills/reverse", "--task", "skills/sort")
    assert code == 0 and "reverse: rank 8, 4 steps" in out and "sort: rank 8" in out
    assert not list((tmp_path / "r" / "checkpoint").glob("*")), "safe in the library, so the checkpoints are gone"
    assert yosegi(*TRAIN, "--task", "skills/sort")[0] == 0, "the same command again has nothing to do"
    assert "another expert called 'sort'" in refused(*TRAIN, "--task", "skills/sort", "--rank", 4)
    assert yosegi(*TRAIN, "--task", "skills/sort", "--rank", 3, "--name", "sort3", "--method", "pissa")[0] == 0

    code, out, _ = yosegi("library", "ls", "shelf")
    assert code == 0 and "3 experts" in out and "skills/sort" in out and "pissa" in out
    code, out, _ = yosegi("library", "show", "shelf", "sort3")
    assert json.loads(out)["rank"] == 6, "rank 3 and its start"
    assert yosegi("library", "verify", "shelf")[:2] == (0, "3 experts, 0 problems\n")
    code, out, _ = yosegi("library", "similarity", "shelf", "--json")
    assert len(json.loads(out)["cosine"]) == 3
    assert "cannot be compared" in refused("library", "similarity", "shelf", "--space", "factors")

    code, out, _ = yosegi("merge", "svd(reverse*.7,sort*.3)", "--library", "shelf", "--name", "both")
    assert code == 0 and "both: 2 experts by svd(reverse*.7,sort*.3), rank 8, relative error" in out
    assert files.read_json(tmp_path / "shelf" / "both" / "expert.json")["parents"] == ["reverse", "sort"]
    assert yosegi("library", "rm", "shelf", "both", "sort3")[0] == 0
    assert "'sort3'" in refused("library", "rm", "shelf", "reverse", "sort3")

    arms = [word for arm in ("experts", "uniform", "arrow", "oracle", "merge:linear") for word in ("--arm", arm)]
    code, out, _ = yosegi(*EVAL, *arms)
    assert code == 0 and all(name in out for name in ("base", "reverse", "uniform", "arrow", "oracle", "merge:linear"))
    rows = files.read_jsonl(tmp_path / "r" / "results.jsonl")
    code, out, _ = yosegi(*EVAL, *arms, "--json")
    assert json.loads(out) == rows, "nothing is measured twice"
    assert yosegi("report", "r")[0] == 0 and (tmp_path / "r" / "report.html").stat().st_size > 10_000

    assert yosegi("export", "sort", "out", "--library", "shelf")[0] == 0
    assert "is there already" in refused("export", "sort", "out", "--library", "shelf")
    assert yosegi("library", "import", "other", "out", "--base", "nano")[0] == 0
    assert yosegi("library", "verify", "other")[0] == 0
    file = tmp_path / "other" / "out" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    code, out, _ = yosegi("library", "verify", "other")
    assert code == 1 and str(file.relative_to(tmp_path)) in out


@pytest.mark.slow
def test_a_users_own_file(yosegi, tmp_path):
    rows = [{"prompt": f"copy {a}{b}:", "completion": f"{a}{b}"} for a in "abcdefgh" for b in "stuvwxyz"]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = yosegi("train", "--task", "file/mine.jsonl", "--library", "shelf", "--max-steps", 2, "--json")
    assert code == 0 and json.loads(out)[0]["name"] == "mine" and json.loads(out)[0]["steps"] == 2
    code, out, _ = yosegi("eval", "--task", "file/mine.jsonl", "--library", "shelf", "--arm", "mine", "--json")
    assert code == 0 and {row["model"] for row in json.loads(out)} == {"base", "mine"}


@pytest.mark.slow
def test_what_is_exported_comes_back_knowing_its_base_and_nothing_else_is_overwritten(yosegi, refused, tmp_path):
    assert yosegi(*TRAIN, "--task", "skills/sort", "--task", "skills/reverse")[0] == 0
    assert yosegi("export", "sort", "out", "--library", "shelf")[0] == 0
    assert yosegi("library", "import", "other", "out", "--name", "again")[0] == 0
    card = files.read_json(tmp_path / "other" / "again" / "expert.json")
    assert card["name"] == "again" and card["base_hash"] and card["task"] == ["skills/sort"]
    assert yosegi("eval", "--task", "skills/sort", "--library", "other", "--arm", "experts", "--limit", 2)[0] == 0
    assert yosegi("export", "sort", "out", "--library", "shelf", "--overwrite")[0] == 0
    assert "is no export" in refused("export", "sort", "r", "--library", "shelf", "--overwrite")
    assert (tmp_path / "r" / "metrics.jsonl").exists()
    assert "a number is expected" in refused("merge", "sort*nan", "--library", "shelf")
    assert "cannot be called 'experts'" in refused(*TRAIN, "--task", "skills/sort", "--name", "experts")
    code, out, _ = yosegi("doctor")
    assert "extra [quant]" in out
