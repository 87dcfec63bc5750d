"""A LoRAMoE bank on the command line: train, keep, evaluate, leave experts out, see who is heard on what."""

import json

import pytest

from yosegi import files

TRAIN = ("train", "--library", "shelf", "--run", "r", "--limit", 24, "--max-steps", 4)
TASKS = ("--task", "skills/reverse", "--task", "skills/capital")
RULES = '["knowledge: task == skills/capital",task]'
TYPES = ("--type", "knowledge: task == skills/capital", "--type", "task")
EVAL = ("eval", "--library", "shelf", "--task", "skills/reverse", "--limit", 3, "--run", "e", "--json")


@pytest.mark.slow
def test_a_bank_is_trained_kept_and_taken_apart(yosegi, refused, tmp_path):
    build = f"loramoe{{types={RULES},experts=3,shares={{task=3,knowledge=1}},curriculum=[knowledge,task]}}"
    words = (*TRAIN, *TASKS, "--build", build)
    code, out, err = yosegi(*words)
    assert code == 0 and "loramoe-2: rank 4, 2 tasks, 4 steps" in out and "3 experts in shelf" in out, err
    types = files.read_json(tmp_path / "r" / "loramoe.types.json")
    assert types["tasks"] == {"knowledge": ["skills/capital"], "task": ["skills/reverse"]}
    assert types["rows"][0]["by"] == {"rule": "task"} and len(types["rows"]) == types["summary"]["examples"]
    rows = files.read_jsonl(tmp_path / "r" / "metrics.jsonl")
    assert len(rows) == 4 and set(rows[0]["mass"]) == {"knowledge"} and "task" in rows[-1]["mass"]
    card = files.read_json(tmp_path / "shelf" / "arms" / "loramoe" / "arm.json")
    assert (
        card["router"] == "softmax" and card["training"]["expert_types"] == [0, 0, 1] and len(card["data_hash"]) == 12
    )
    assert "arm called 'loramoe'" in refused(*words)

    code, out, err = yosegi(
        *EVAL, "--router", "loramoe", "--without", "all", "--without", "loramoe-0,loramoe-2", *TYPES
    )
    assert code == 0, err
    named = [f"loramoe without {some}" for some in ("loramoe-0", "loramoe-1", "loramoe-2", "loramoe-0+loramoe-2")]
    found = {row["model"]: row for row in json.loads(out) if row["metric"] == "logp"}
    assert list(found) == ["base", "loramoe", *named]
    assert found[named[3]]["ablate"] == ["loramoe-0", "loramoe-2"]
    assert len({row["value"] for row in found.values()}) == 6, "every expert says something"
    routing = files.read_json(tmp_path / "e" / "routing.json")["routers"]
    assert list(routing["loramoe by type"]["tasks"]) == ["task"]
    assert all(row[0] == 0 for row in routing[named[0]]["tasks"]["skills/reverse"]), "nobody hears it"
    assert "Did you mean 'loramoe-1'" in refused(*EVAL, "--router", "loramoe", "--without", "loramo-1")

    assert yosegi("library", "rm", "shelf", "loramoe-1")[0] == 0
    assert "Train its bank again" in refused(*EVAL, "--router", "loramoe")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("shares=task", "shares is of type"),
        ("shares={task=x}", "shares"),
        ("shares={tsk=1,knowledge=1}", "Did you mean 'task'"),
        ("curriculum=[knowlege,task]", "Did you mean 'knowledge'"),
        ('types=["easy: level ~ 2"]', "is not a rule"),
        ('types=["a: task == skills/capital"]', "examples have no type"),
        ("scope=layer", "scope is of type"),
        ("betta=1", "Did you mean 'beta'"),
    ],
)
def test_bad_input(refused, tmp_path, words, said):
    words = words if words.startswith("types") else f"types={RULES},{words}"
    assert said in refused(*TRAIN, *TASKS, "--build", f"loramoe{{{words}}}")
    assert not (tmp_path / "r").exists() and not (tmp_path / "shelf").exists()


def test_what_belongs_to_loramoe(refused):
    assert "cannot be called 'softmax'" in refused(*TRAIN, *TASKS, "--build", "loramoe", "--name", "softmax")
    assert "objective" in refused(*TRAIN, *TASKS, "--build", "loramoe", "--objective", "lm")
    assert "pack" in refused(*TRAIN, *TASKS, "--build", "loramoe", "--pack", 64)
    assert "needs --router" in refused("eval", "--task", "skills/add", "--library", "shelf", "--without", "a")
    assert "is not a rule" in refused("eval", "--task", "skills/add", "--type", "a b")
