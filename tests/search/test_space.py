"""What may vary: found in the methods' own signatures, read back as it was asked."""

import sys
import types

import pytest

from yosegi.errors import Invalid, UnknownName
from yosegi.search.space import Range, Recipe, Space, arguments, check_given, read_setting, takes


@pytest.fixture
def faded(monkeypatch):
    """A merge that nobody here has heard of, with arguments of its own."""

    def faded(A_ERI, B_EOR, w_E, density: float = 0.2, rank: int | None = None, seed: int = 0):
        return A_ERI[0], B_EOR[0]

    module = types.ModuleType("some_merges")
    module.faded = faded
    monkeypatch.setitem(sys.modules, "some_merges", module)
    return "some_merges:faded"


def test_a_new_methods_arguments_are_found(faded):
    assert takes("merges", faded) == ["density", "rank", "seed"] and takes("merges", "cat") == []
    assert arguments("merges", faded, 3, {}) == {"density": Range(0.1, 1.0)}, "rank and seed stay what they are"
    given = {"rank": Range(2, 8, whole=True), "seed": 3, f"{faded}.density": 0.5}
    assert arguments("merges", faded, 3, given) == {"density": 0.5, "rank": given["rank"], "seed": 3}
    assert arguments("routers", "arrow", 5, {})["top_k"] == Range(1, 5, whole=True)
    assert "top_k" not in arguments("routers", "arrow", 1, {}), "nothing to choose"


def test_a_setting_nobody_has_is_refused(faded):
    check_given("merges", ["svd", faded], {"density": 1, "svd.rank": 2})
    with pytest.raises(UnknownName, match="Did you mean 'density'"):
        check_given("merges", ["svd", faded], {"densty": 1})


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("rank=8", ("rank", 8)),
        ("rank=2:16", ("rank", Range(2, 16, whole=True))),
        ("density=0.1:1", ("density", Range(0.1, 1))),
        ("temperature=0.1:10:log", ("temperature", Range(0.1, 10, log=True))),
        ("over=last,mean", ("over", ("last", "mean"))),
        ("ties.density=1e-1", ("ties.density", "1e-1")),  # YAML 1.1 asks for a dot; a range does not
        ("x=-2:3", ("x", Range(-2, 3, whole=True))),
    ],
)
def test_settings(text, read):
    assert read_setting(text) == read


@pytest.mark.parametrize("text", ["rank", "=3", "rank=", "rank=3:2", "rank=a:b", "x=0:1:log", "x=1:2:3"])
def test_settings_that_are_none(text):
    with pytest.raises(Invalid, match=text):
        read_setting(text)


def space(faded):
    methods = {"cat": {}, faded: {"density": Range(0.1, 1.0), "seed": 3}}
    return Space(("a", "b"), "merges", methods, ("low", "high"), -1.5, 1.5)


def test_a_recipe_is_read_back_as_it_was(faded):
    import optuna

    whole = space(faded)
    for recipe in whole.baselines().values():
        assert whole.read(whole.params(recipe)) == recipe
    params = {
        "method": faded,
        "w a · low": 0.1,
        "w b · low": -0.2,
        "w a · high": 0.3,
        "w b · high": 0.4,
        f"{faded}.density": 0.5,
    }
    recipe = Recipe("merges", faded, ((0.1, -0.2), (0.3, 0.4)), {"density": 0.5, "seed": 3})
    assert whole.read(params) == whole.ask(optuna.trial.FixedTrial(params)) == recipe
    assert recipe.size == pytest.approx(0.25)


def test_weights_are_asked_within_their_bounds(faded):
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    recipes = [space(faded).ask(study.ask()) for _ in range(50)]
    weights = [w for r in recipes for w_E in r.weights_GE for w in w_E]
    assert min(weights) < -1 and max(weights) > 1 and max(map(abs, weights)) <= 1.5
    assert {r.method for r in recipes} == {"cat", faded}
    assert all(0.1 <= r.args["density"] <= 1 and r.args["seed"] == 3 for r in recipes if r.method == faded)


def test_the_baselines_leave_nothing_out(faded):
    found = space(faded).baselines()
    assert list(found) == ["base", "uniform", f"uniform {faded}", "a alone", "b alone"]
    assert found[f"uniform {faded}"] == Recipe("merges", faded, ((0.5, 0.5),) * 2, {"density": 1.0, "seed": 3})
    assert found["b alone"].weights_GE == ((0.0, 1.0),) * 2 and found["base"].size == 0
    routed = Space(("a", "b"), "routers", {"arrow": {"top_k": Range(1, 2, whole=True), "temperature": 2.0}}, ())
    assert routed.baselines()["arrow as it is"] == Recipe("routers", "arrow", (), {"temperature": 2.0})
    assert routed.baselines()["uniform"] == Recipe("merges", "cat", ((0.5, 0.5),))
