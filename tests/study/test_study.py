"""A study trains what is missing, once, and knows what diverged."""

import pytest

from yosegi import Arm, findings
from yosegi.bases import load
from yosegi.errors import Diverged
from yosegi.findings import Finding
from yosegi.run import Run
from yosegi.study import Study, Training, read
from yosegi.tasks import Example
from yosegi.training.settings import DenseSettings, GrpoSettings, Settings

HOW = {"max_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 1e-3}
SETTINGS = Settings(rank=2, dropout=0, **HOW)


@pytest.fixture(scope="module")
def base():
    return load("nano")


@pytest.fixture
def study(base, tmp_path):
    return Study(base, Run(tmp_path))


def training(task="skills/sort", settings=SETTINGS, **more):
    return Training(read(task, "train", 4), settings, [task], **more)


def test_the_examples_of_several_tasks():
    both = read("skills/sort,skills/last", "train", 2)
    assert [e.id for e in both] == [e.id for name in ("sort", "last") for e in read(f"skills/{name}", "train", 2)]
    assert Training.on("skills/sort", SETTINGS, 3).settings.objective == "sft"


def test_what_is_missing_is_trained_once_and_side_by_side(study, monkeypatch):
    import yosegi.study.study as module

    fleets, real = [], module.fleet
    monkeypatch.setattr(module, "fleet", lambda *a, **k: fleets.append(list(a[1])) or real(*a, **k))
    some = {
        "a": training(),
        "b": training("skills/last"),
        "wide": training(settings=SETTINGS.model_copy(update={"rank": 3})),
    }
    experts = study.train(some, seed=0)
    assert fleets == [["a s0", "b s0"], ["wide s0"]], "one fleet for each kind of settings"
    assert [e.name for e in experts.values()] == ["a s0", "b s0", "wide s0"] and experts["b"].tasks == ("skills/last",)
    again = study.train({**some, "c": training(start=experts["a"])}, seed=0)
    assert fleets[2:] == [["c s0"]] and again["c"].card["parents"] == ["a s0"]
    study.train({"a": training()}, seed=1)
    assert sorted(p.name for p in (study.run.path / "libraries").iterdir()) == ["experts-s0", "experts-s1"]


def test_the_settings_say_by_what_it_learns(study):
    from yosegi import tasks
    from yosegi.training.grpo import questions

    start = study.train({"start": training()}, 0)["start"]
    sort = tasks.load("skills/sort")
    reward = GrpoSettings(num_generations=2, max_completion_length=4, **HOW)
    found = study.train(
        {
            "whole": Training(read("skills/sort", "train", 4), DenseSettings(rank=2, **HOW), ["skills/sort"]),
            "reward": Training(questions(sort, read("skills/sort", "train", 2)), reward, start=start),
        },
        0,
    )
    assert "energy_kept" in found["whole"].card["metrics"]
    assert found["reward"].card["parents"] == ["start s0"] and found["reward"].name == "reward s0"


def test_what_diverges_is_noted_and_never_tried_again(study, monkeypatch):
    import yosegi.study.study as module

    def diverges(base, groups, run, settings, *, keep, **more):
        raise Diverged("The loss is nan at step 1.")

    monkeypatch.setattr(module, "fleet", diverges)
    assert study.train({"a": training()}, 0) == {}
    assert study.keep("arm", 0, lambda name: (_ for _ in ()).throw(Diverged("so does it"))) is None
    monkeypatch.undo()
    again = Study(study.base, study.run)
    assert again.train({"a": training()}, 0) == {} and again.keep("arm", 0, lambda name: pytest.fail("tried")) is None
    again.save("Title", [Finding("First"), None])
    first, lost = findings.load(study.run.path).findings
    assert first.heading == "First" and lost.text == ["a s0: The loss is nan at step 1.", "arm s0: so does it"]


def test_an_arm_is_kept_with_its_router(study):
    experts = list(study.train({"a": training(), "b": training("skills/last")}, 0).values())
    data = {task: read(task, "train", 4) for task in ("skills/sort", "skills/last")}
    settings = {"steps": 2, "batch_size": 2, "learning_rate": 0.1}
    learnt = study.route("cat", 0, experts, "static", {"constraint": "free"}, data, settings)
    begun = study.route(
        "cat, untrained", 0, experts, "static", {"constraint": "free"}, data, {**settings, "learning_rate": 0.0}
    )
    assert learnt.name == "cat" and learnt.training["moved"] > 0 == begun.training["moved"]
    again = study.keep("cat", 0, lambda name: pytest.fail("it is there"))
    assert {k: v.tolist() for k, v in again.router_state.items()} == {
        k: v.tolist() for k, v in learnt.router_state.items()
    }
    single = study.keep("merged", 0, lambda name: experts[0])
    assert isinstance(single, Arm) and single.name == "merged"


def test_evaluating_leaves_out_what_diverged_and_measures_nothing_twice(study):
    experts = study.train({"a": training()}, 0)
    arms = {"A": Arm("", [experts["a"]]), "gone": None}
    for _ in range(2):
        study.evaluate(arms, ["skills/sort"], 0, limit=2)
    rows = [row for row in study.run.results() if row["metric"] == "accuracy" and "against" not in row]
    assert [row["model"] for row in rows] == ["base", "A"]


def test_a_pilot_is_a_run_of_its_own(study):
    study.pilot.train({"a": training()}, 0)
    assert (study.run.path / "pilot" / "libraries" / "experts-s0").is_dir() and not (
        study.run.path / "metrics.jsonl"
    ).exists()


def test_log_p_is_the_mean_over_questions(study):
    asked = [Example("1", "1 + 1 = ", "2"), Example("2", "1 + 2 = ", "3")]
    both = study.logp(Arm("base"), asked)
    assert both == pytest.approx(sum(study.logp(Arm("base"), [one]) for one in asked) / 2, abs=1e-5)
