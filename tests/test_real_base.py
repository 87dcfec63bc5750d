"""Every way to train, route, merge and search runs on a pretrained model, as small as it goes; whether it learns is for the studies."""

import pytest

import yosegi
from yosegi import files, registry
from yosegi.engine.spec import parse_arm
from yosegi.errors import NoData
from yosegi.search.outcome import search_arms
from yosegi.search.settings import SearchSettings
from yosegi.training.train_router import train_router

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TASKS = ["skills/add", "skills/upper"]
TINY = {"limit": 2, "max_steps": 1, "per_device_train_batch_size": 2, "max_length": 96}
BRIEF = {"limit": 2, "steps": 1, "batch_size": 2, "max_length": 96}


@pytest.fixture(scope="module")
def base():
    try:
        return yosegi.load_base("smollm2", device="cpu")
    except NoData as error:
        pytest.skip(f"{error}")


@pytest.fixture(scope="module")
def library(base, tmp_path_factory):
    """Two experts, trained as one fleet."""
    place = tmp_path_factory.mktemp("real")
    yosegi.train(TASKS, base, place / "library", run=place / "run", rank=2, targets="q_proj", **TINY)
    return yosegi.Library(place / "library")


def losses(run):
    return [row["loss"] for row in files.read_jsonl(run / "metrics.jsonl") if "loss" in row]


@pytest.mark.parametrize(
    "how",
    [
        {"method": "pissa", "rank": 2, "targets": "q_proj"},
        {"method": "galore{rank=4}", "targets": "q_proj", "rank": 2},
        {"mask": "random", "mask_args": {"share": 0.4}, "rank": 2},
        {"build": "loramoe{experts=2}", "rank": 2, "targets": "gate_proj,up_proj,down_proj"},
        {"build": "mhr{experts=2}", "rank": 2, "targets": "q_proj"},
    ],
    ids=lambda how: how.get("build", how.get("method", how.get("mask", ""))).partition("{")[0],
)
def test_trainings(base, tmp_path, how):
    how = {**how, **({"targets": how["targets"].split(",")} if "targets" in how else {})}
    made = yosegi.train(
        TASKS if "build" in how else TASKS[:1], base, tmp_path / "lib", run=tmp_path / "run", **how, **TINY
    )
    assert made and all(0 < loss < 20 for loss in losses(tmp_path / "run"))


def test_rewards(base, library, tmp_path):
    more = {
        "num_generations": 2,
        "max_completion_length": 4,
        "per_device_train_batch_size": 1,
        "max_steps": 2,
        "limit": 2,
    }
    (made,) = yosegi.reinforce(TASKS[0], "add", base, library, run=tmp_path, **more)
    assert made.name == "add-rl"


def test_every_router_routes(base, library):
    engine, prompts = yosegi.Engine(base), ["12+30=", "upper abc:"]
    for name in registry.names("routers"):
        router = registry.find("routers", name)
        if router.learns == "jointly" or router.needs == "experts":
            continue  # a bank's own table is in test_trainings; by_request is an expert by its name
        if router.learns:
            arm = train_router(
                f"{name}(add,upper)", library.path, base, name=f"{name}-kept", run=library.path / ".." / name, **BRIEF
            )
        else:
            arm = parse_arm(f"{name}(add,upper)", library)
        answers = engine.generate(arm, prompts, task=TASKS[0], max_new_tokens=3)
        assert len(answers) == 2, name


def test_merges_and_arms_in_one_batch(base, library):
    arms = [
        parse_arm(text, library)
        for text in ("base", "add", "add*.7+upper*.3", "merge:svd(add,upper)", "merge:linear(add,upper)")
    ]
    engine = yosegi.Engine(base)
    together = engine.generate(arms, ["What is 2+3?"] * len(arms), max_new_tokens=4)
    assert len(together) == len(arms) and together[0].text


def test_a_search(base, library, tmp_path):
    settings = SearchSettings(
        task=[f"{TASKS[0]}:logp"],
        base="smollm2",
        library=str(library.path),
        arm=["merge:cat(add,upper)"],
        trials=2,
        limit=2,
    )
    assert search_arms(settings, tmp_path / "search")
