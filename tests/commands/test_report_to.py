"""`--report-to` of the verbs that train or search: what metrics.jsonl has is in the event file, too."""

import pytest

from tests.test_trackers import curves
from yosegi.files import read_jsonl

OPTIONS = ("--library", "lib", "--report-to", "tensorboard")


@pytest.mark.slow
def test_every_training_and_search_reports(yosegi, refused, tmp_path, monkeypatch):
    train = ("train", "--task", "skills/add", "--task", "skills/sub", "--max-steps", 2, "--limit", 8, "--run", "t")
    with monkeypatch.context() as patched:
        patched.setattr("yosegi.trackers.find_spec", lambda name: None)
        assert "pip install trackio" in refused(*train, "--library", "lib", "--report-to", "trackio")
    assert not list(tmp_path.iterdir()), "it had begun"
    lines = {
        "t": train,
        "r": ("train-router", "--arm", "static", "--steps", 2, "--limit", 4, "--run", "r"),
        "g": ("reinforce", "--task", "skills/add", "--expert", "add", "--max-steps", 1, "--num-generations", 2,
              "--per-device-train-batch-size", 2, "--max-completion-length", 4, "--run", "g"),
        "s": ("search", "--task", "skills/add:logp", "--trials", 1, "--limit", 4, "--run", "s"),
    }  # fmt: skip
    for run, words in lines.items():
        code, _, err = yosegi(*words, *OPTIONS)
        assert code == 0, err
        rows = read_jsonl(tmp_path / run / "metrics.jsonl")
        points = sum(map(len, curves(tmp_path / run).values()))
        numbers = [v for row in rows for k, v in row.items() if k != "step" and type(v) in (int, float)]
        assert points == len(numbers) > 0, run
