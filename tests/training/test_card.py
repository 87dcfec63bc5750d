"""Every way of training writes the same card."""

from tests.training.conftest import sums, tiny_base
from yosegi.routers.task_table import TaskTable
from yosegi.run import Run
from yosegi.training.card import card
from yosegi.training.fleet import fleet
from yosegi.training.joint import fresh_bank, joint
from yosegi.training.settings import Settings
from yosegi.training.sft import train

QUICK = Settings(max_steps=1, per_device_train_batch_size=4, dropout=0, rank=2)


def test_one_fleet_and_bank_say_the_same_things(tmp_path):
    base = tiny_base()
    one = train(base, sums(), "a", Run(tmp_path / "a"), QUICK, task="t")
    many = fleet(base, {"a": sums()}, Run(tmp_path / "b"), QUICK, tasks={"a": ["t"]})[0]
    start = fresh_bank(base, "p", 2, ["t"], QUICK)
    bank, _ = joint(base, start, TaskTable(), {"t": sums()}, Run(tmp_path / "c"), QUICK, name="p")
    assert one.card.keys() == many.card.keys() == bank[0].card.keys()
    cost = {"steps", "examples", "trainable_params", "precision", "wall_s", "peak_mem_mb"}
    for expert in (one, many, *bank):
        assert expert.tasks == ("t",) and expert.card["base_hash"] == base.hash
        assert cost <= expert.card["metrics"].keys() and expert.card["metrics"]["precision"] == "fp32"
    assert one.card["data_hash"] == many.card["data_hash"] and one.card["recipe"] == many.card["recipe"]
    assert [e.card["init_seed"] for e in bank] == [0, 1] and bank[0].card["recipe"]["bank"] == "p"


def test_a_start_and_parents_of_its_own():
    said = card(tiny_base(), QUICK, ["t"], "00", {"steps": 3}, init_seed=7, parents=["old"])
    assert said["init_seed"] == 7 and said["parents"] == ["old"] and said["metrics"]["steps"] == 3
