"""Stages share what is alike, and each goes on from the one before."""

import pytest

from yosegi import tasks
from yosegi.bases import load
from yosegi.run import Run
from yosegi.study import Study
from yosegi.study.stages import Stages
from yosegi.training.settings import GrpoSettings, Settings

WAYS = {
    "SFT": "normal | all: all",
    "SFT + RL": "normal | all: all | grpo: all",
    "PAR": "normal QKV | fast: alpha 1 | grpo: beta 1",
    "RL first": "normal | grpo: all | fast: random theta 0.9",
}


@pytest.fixture
def stages(tmp_path):
    easy, hard = tasks.load("skills/last"), tasks.load("skills/chain")
    brief = {"max_steps": 1, "per_device_train_batch_size": 2}
    return Stages(
        Study(load("nano"), Run(tmp_path)), easy.examples("train")[:6], hard.examples("train")[:4], [hard],
        Settings(rank=2, alpha=4, dropout=0, learning_rate=1e-2, **brief),
        GrpoSettings(num_generations=2, max_completion_length=4, **brief), measured=4,
    )  # fmt: skip


def test_ways_share_their_first_stages_and_go_on_from_them(stages):
    stages.rates = {"normal": 1e-3, "normal QKV": 1e-3}
    experts = stages.train(WAYS, seed=1)
    kept = list(stages.study.library(1))
    assert len(kept) == 1 + 1 + 2 + 2 and list(experts) == list(WAYS)
    assert experts["SFT + RL"].card["parents"] == ["normal | all: all s1"]
    assert experts["RL first"].card["parents"] == ["normal | grpo: all s1"]
    assert {layer.rpartition(".")[2] for layer in experts["PAR"].factors} == {"q_proj", "k_proj", "v_proj"}
    assert stages.train({"again": WAYS["PAR"]}, seed=1)["again"].card == experts["PAR"].card


def test_the_rate_of_the_second_stage_is_chosen_in_a_run_of_its_own(stages):
    chosen = stages.choose_rates(["normal"], (1e-3, 1e-2), steps=1, asked=2, seed=0)
    assert set(stages.rates) == {"normal"} and len(chosen.tried["normal"]) == 2
    assert not (stages.study.run.path / "results.jsonl").exists() and stages.study.pilot.run.results()
