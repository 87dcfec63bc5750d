"""What may vary: found in the methods' own signatures, read back as it was asked."""

import sys
import types

import pytest

from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.errors import Invalid
from yosegi.search.space import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    Space,
    read_varied,
    with_ranges,
)
from yosegi.spec import Quoted, parse_method

PAIR = [Expert("a", {}, {}), Expert("b", {}, {})]


@pytest.fixture
def faded(monkeypatch):
    """A merge from outside, with arguments of its own."""

    def faded(A_ERI, B_EOR, w_E, density: float = 0.2, rank: int | None = None, seed: int = 0):
        return A_ERI[0], B_EOR[0]

    module = types.ModuleType("some_merges")
    module.faded = faded
    monkeypatch.setitem(sys.modules, "some_merges", module)
    return "some_merges:faded"


def test_a_new_methods_arguments_vary_unasked(faded):
    arm = with_ranges(Arm("x", PAIR, merge=faded))
    assert arm.merge_args == {"density": FloatDistribution(0.1, 1.0)}, "rank and seed stay what they are"
    given = {"rank": IntDistribution(2, 8), "seed": 3, "density": 0.5}
    assert with_ranges(Arm("x", PAIR, merge=faded, merge_args=given)).merge_args == given
    assert with_ranges(Arm("x", PAIR * 2, "arrow")).router_args["top_k"] == IntDistribution(1, 4)
    assert "top_k" not in with_ranges(Arm("x", PAIR[:1], "arrow")).router_args, "nothing to choose"
    assert with_ranges(Arm("x", PAIR, merge="cat")).merge_args == {}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("8", None),
        ("word", None),
        (["1:2"], None),
        (Quoted("1:2"), None),
        ("2:16", IntDistribution(2, 16)),
        (".1:1", FloatDistribution(0.1, 1)),
        ("1e-3:1", FloatDistribution(1e-3, 1)),
        ("0.1:10:log", FloatDistribution(0.1, 10, log=True)),
        ("-2:3", IntDistribution(-2, 3)),
        ("last|mean", CategoricalDistribution(("last", "mean"))),
        ("null|8|.5|true", CategoricalDistribution((None, 8, 0.5, True))),
        ("http://x:1", None),
    ],
)
def test_ranges_and_choices(text, wanted):
    assert read_varied(text) == wanted and type(read_varied(text)) is type(wanted)


@pytest.mark.parametrize("text", ["3:2", "2:2", "0:1:log"])
def test_ranges_that_are_none(text):
    with pytest.raises(Invalid, match=f"The range {text}"):
        read_varied(text)


def test_they_are_written_in_a_spec():
    found = parse_method("merges", "ties{density=.1:.9,rank=4|8}", read_varied)
    assert found == ("ties", {"density": FloatDistribution(0.1, 0.9), "rank": CategoricalDistribution((4, 8))})
    _, args = parse_method("routers", "arrow{temperature=1:10,top_k=1:2}", read_varied)
    assert args == {"temperature": FloatDistribution(1.0, 10.0), "top_k": IntDistribution(1, 2)}, (
        "as the argument's type has it"
    )
    with pytest.raises(Invalid, match="density is of type float"):
        parse_method("merges", "ties{density=a:b}", read_varied)
    with pytest.raises(Invalid, match="top_k is of type int"):
        parse_method("routers", "arrow{top_k=.5:3}", read_varied)


def space(faded):
    arms = (
        Arm("merge:cat", PAIR, merge="cat"),
        Arm("f", PAIR, merge=faded, merge_args={"density": FloatDistribution(0.1, 1.0), "seed": 3}),
    )
    return Space(arms, {"m.0": 0, "m.1": 1, "m.2": 1}, ("low", "high"), -1.5, 1.5)


def point(faded):
    weights = {"w a · low": 0.1, "w b · low": -0.2, "w a · high": 0.3, "w b · high": 0.4}
    return {"method": faded, **weights, f"{faded}.density": 0.5}


def test_a_point_is_an_arm(faded):
    import optuna

    whole, params = space(faded), point(faded)
    assert whole.ask(optuna.trial.FixedTrial(params)) == params
    arm = whole.arm(params, "trial 3")
    assert (arm.name, arm.merge, [e.name for e in arm.experts]) == ("trial 3", faded, ["a", "b"])
    weights = {"m.0": [0.1, -0.2], "m.1": [0.3, 0.4], "m.2": [0.3, 0.4]}
    assert arm.merge_args == {"density": 0.5, "seed": 3, "weights": weights}
    assert whole.size(params) == pytest.approx(0.25) and whole.weights(params) == [[0.1, -0.2], [0.3, 0.4]]


def test_experts_of_weight_zero_are_left_out(faded):
    one = Space((Arm("c", PAIR, merge="cat"),), {"m": 0})
    arm = one.arm({"w a": 0.0, "w b": 0.5})
    assert [e.name for e in arm.experts] == ["b"] and arm.merge_args == {"weights": [0.5]}
    assert one.arm({"w a": 0.0, "w b": 0.0}).experts == () and one.arm({"w a": 0.0, "w b": 0.0}).merge is None


def test_weights_are_asked_within_their_bounds(faded):
    import optuna

    study, whole = optuna.create_study(sampler=optuna.samplers.RandomSampler(0)), space(faded)
    points = [whole.ask(study.ask()) for _ in range(50)]
    weights = [w for params in points for row in whole.weights(params) for w in row]
    assert min(weights) < -1 and max(weights) > 1 and max(map(abs, weights)) <= 1.5
    arms = [whole.arm(params) for params in points]
    assert {arm.merge for arm in arms} == {"cat", faded}
    assert all(0.1 <= a.merge_args["density"] <= 1 and a.merge_args["seed"] == 3 for a in arms if a.merge == faded)


def test_the_baselines_leave_nothing_out(faded):
    whole = space(faded)
    found = whole.baselines()
    assert list(found) == ["base", "uniform", f"uniform {faded}", "a alone", "b alone"]
    assert all(whole.arm(one.params, label) == one.arm for label, one in found.items()), "each is a point of the space"
    args = found[f"uniform {faded}"].arm.merge_args
    assert args == {"density": 1.0, "seed": 3, "weights": dict.fromkeys(("m.0", "m.1", "m.2"), [0.5, 0.5])}
    assert whole.weights(found["b alone"].params) == [[0.0, 1.0]] * 2 and whole.size(found["base"].params) == 0


def test_the_baselines_of_a_router():
    router = Arm(
        "arrow{temperature=2.0}", PAIR, "arrow", {"top_k": IntDistribution(1, 2), "temperature": 2.0}, mix="factors"
    )
    found = Space((router,), labels=()).baselines()
    assert list(found) == ["base", "uniform", "a alone", "b alone", "arrow{temperature=2.0} as it is"]
    assert found["arrow{temperature=2.0} as it is"].arm.router_args == {"temperature": 2.0}
    uniform = found["uniform"].arm
    assert (uniform.merge, uniform.weights, uniform.mix) == (None, [0.5, 0.5], "factors")
    assert all(one.params == {} for one in found.values()) and Space((router,), labels=()).size({}) == 0
