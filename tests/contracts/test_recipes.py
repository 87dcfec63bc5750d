"""Every recipe of the drawer: its claim on top, one frozen config, and a smoke run that ends well on a CPU."""

import dataclasses
import inspect
import time

import pytest

from yosegi import registry
from yosegi.bases import LoadSettings
from yosegi.recipes import OnBase, configure
from yosegi.reporting import report
from yosegi.run import Run

RECIPES = registry.names("recipes")


def test_the_drawer_was_walked():
    assert {"mbc_arrow", "pretrain_nano"} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_claim_paper_ours_and_how_to_run_it(name):
    about = registry.about("recipes", name)
    for word in ("Claim", "Paper", "Ours", f"yosegi run {name}", "--smoke"):
        assert word in about, word


@pytest.mark.parametrize("name", RECIPES)
def test_one_frozen_config_and_main(name):
    recipe = registry.load("recipes", name)
    assert dataclasses.is_dataclass(recipe.Config) and recipe.Config.__dataclass_params__.frozen
    recipe.Config()  # every field has a default
    assert isinstance(recipe.SMOKE, recipe.Config)
    assert list(inspect.signature(recipe.main).parameters) == ["config", "run"]


def test_a_base_is_loaded_as_every_verb_loads_it():
    """--base, --dtype, --device and --chat-template are fields of every recipe that has a base."""
    loading = {name for name in RECIPES if issubclass(registry.load("recipes", name).Config, OnBase)}
    assert loading == set(RECIPES) - {"pretrain_nano"}
    fields = {field.name for field in dataclasses.fields(OnBase)}
    assert fields == {"base", "dtype", "device", "chat_template"} < {"base", *LoadSettings.model_fields}
    assert configure("demo", True, base="nano", chat_template="none").load().chat_template == ""


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_one_file_that_can_be_read_in_one_go(name):
    lines = (registry.HERE / "recipes" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_the_smoke_run(name, tmp_path, monkeypatch):
    """Without data and without a network, as a stranger would try it; its folder gets all it writes."""
    monkeypatch.delenv("YOSEGI_DATA", raising=False)
    monkeypatch.setenv("YOSEGI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    recipe, started = registry.load("recipes", name), time.process_time()
    run = Run(tmp_path / "run", {"recipe": name, **dataclasses.asdict(recipe.SMOKE)})
    recipe.main(recipe.SMOKE, run)
    assert report([run.path], run.path / "report.html").stat().st_size, "as `yosegi run` ends"
    assert time.process_time() - started < 60
    assert run.results(), "a recipe measures something"
    assert all(isinstance(row["value"], int | float) and row["metric"] and row["task"] for row in run.results())
    assert {path.name for path in tmp_path.iterdir()} == {"run", "here"} and not any((tmp_path / "here").iterdir())
