"""Readers of the same texts: their trainings, their learning rates, and the invented world they are tried on."""

import pytest

from yosegi import tasks
from yosegi.bases import load
from yosegi.evaluation.passages import Passages
from yosegi.run import Run
from yosegi.study import Study
from yosegi.study.texts import Readers, curve_finding, final_loss, invented, methods_of
from yosegi.training.settings import GaloreSettings


@pytest.fixture
def readers(tmp_path):
    found = invented(tmp_path / "texts")
    texts = {kind: [found[kind]] for kind in ("domain", "second", "general")}
    return Readers(
        Study(load("nano"), Run(tmp_path)), texts, methods_of([2], [4], full=True), 2, 64, update_gap=1, watched=2
    )


def test_the_invented_world_can_be_read_and_asked(tmp_path):
    found = invented(tmp_path)
    assert len(Passages(found["domain"]).examples("validation")) == 4
    quiz = tasks.load(f"{found['quiz']}/rank")
    assert len(quiz.examples("test")) == 6 and len(tasks.load(f"{found['quiz']}/halved").examples("validation")) > 0


def test_every_method_reads_the_same_documents(readers):
    lora, galore, full = (readers.training(arm, 1e-3, 3, 5) for arm in ("LoRA r 2", "GaLore r 4", "full"))
    assert lora.examples == galore.examples == full.examples and len(lora.examples) == 12, "the training split"
    assert (lora.settings.rank, lora.settings.alpha, lora.settings.init_seed) == (2, 4, 3)
    assert isinstance(galore.settings, GaloreSettings) and galore.settings.optimizer_args["rank"] == 4
    assert galore.settings.rank == full.settings.rank == 0, "the expert keeps all that changed"
    assert {one.settings.objective for one in (lora, galore, full)} == {"lm"} and lora.validation is None
    second = readers.training("LoRA r 2", 1e-3, 3, 5, "second", every=2)
    assert second.tasks == readers.texts["second"] and set(second.validation.sets) == set(readers.texts)


def test_the_lowest_loss_of_the_short_trainings_is_taken(readers):
    rates = {"lora": (1e-3, 1e-2), "galore": (1e-2,), "full": (1e-3,)}
    chosen = readers.choose_rates(rates, steps=3, seed=0)
    tried = {option["lr"]: numbers[0] for option, numbers in chosen.tried["LoRA r 2"]}
    assert chosen.chosen["LoRA r 2"]["lr"] == max(tried, key=tried.__getitem__) and len(tried) == 2
    assert -tried[1e-2] == final_loss(readers.study.pilot.run, "LoRA r 2 at 0.01 s0", "domain")
    assert chosen.chosen["full"] == {"lr": 1e-3} and not readers.study.run.results()
    assert final_loss(readers.study.run, "nobody", "domain") is None


def test_the_curve_is_the_loss_on_what_is_watched(readers):
    readers.study.train({"LoRA r 2": readers.training("LoRA r 2", 1e-2, 0, 4, every=2)}, 0)
    run, experts = readers.study.run, {"LoRA r 2": ["LoRA r 2 s0"]}
    found = curve_finding(run, "Curve", experts, "general", "tokens", lambda arm, step: 128 * step)
    assert [point[0] for point in found.figure.series[0].points] == [0, 256, 512]
    assert found.figure.series[0].points[-1][1] == pytest.approx(final_loss(run, "LoRA r 2 s0", "general"), abs=1e-4)
