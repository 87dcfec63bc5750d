"""Settings are checked before anything is searched, and say what they are about."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from yosegi.core.expert import Expert, Factors
from yosegi.engine.kept import save_arm
from yosegi.engine.spec import parse_arm
from yosegi.errors import Invalid, UnknownName, WrongBase
from yosegi.search.settings import open_search
from yosegi.search.space import IntDistribution


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"sampler": "cmae"}, "sampler"),
        ({"cap": 0.5}, "cap"),
        ({"penalty": float("nan")}, "penalty"),
        ({"penalty": -1}, "penalty"),
        ({"trails": 3}, "trails"),
    ],
)
def test_what_cannot_be_a_setting(settings, more, said):
    with pytest.raises(ValidationError, match=said):
        settings(**more)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"task": []}, "name a --task"),
        ({"arm": ["merge:svdd"]}, "Did you mean 'svd'"),
        ({"arm": ["arow"]}, "Did you mean 'arrow'"),
        ({"arm": ["arrow{mix=output}"]}, "mix is of type"),
        ({"arm": ["arrow"], "groups": 2}, "no weights to search"),
        ({"arm": ["arrow", "merge:svd"]}, "no weights to search"),
        ({"arm": ["merge:svd", "merge:svd{rank=2}"]}, "svd is there twice; several values of an argument are a choice"),
        ({"arm": ["merge:svd(a,b)", "merge:cat"]}, "among the same experts"),
        ({"arm": ["merge:cat(a*.5,b*.5)"]}, "nothing to search"),
        ({"arm": ["a*.5+b*.5"]}, "nothing to search"),
        ({"arm": ["base"]}, "nothing to search"),
        ({"sampler": "cmaes", "pareto": True}, "use --sampler tpe"),
        ({"sampler": "cmaes", "arm": ["merge:svd", "merge:cat"]}, "use --sampler tpe"),
        ({"arm": ["merge:svd{rank}"]}, "'=' is expected"),
        ({"arm": ["merge:svd{rnak=3}"]}, "Did you mean 'rank'"),
        ({"arm": ["merge:svd{rank=5:2}"]}, "low end"),
        ({"task": ["skills/add:logp"], "pareto": True}, "more than one --task"),
        ({"task": ["skills/ad"]}, "Did you mean 'add'"),
        ({"experts": ["a,x"]}, "'x'"),
        ({"groups": 100}, "blocks"),
        ({"arm": ["oracle"]}, "no argument to search"),
        ({"arm": ["by_request"]}, "is its NAME"),
        ({"arm": ["centroid"]}, "yosegi train-router"),
        ({"arm": ["merge:linear"], "negative": True}, "merge:linear cannot be searched here"),
    ],
)
def test_what_cannot_work_is_said_before_a_trial(settings, nano, more, said):
    with pytest.raises((Invalid, UnknownName, LookupError), match=said):
        open_search(settings(**more), nano)


def test_experts_of_another_base_are_refused(settings, nano):
    with pytest.raises(WrongBase):
        open_search(settings(), replace(nano, hash="another"))


def test_ranks_that_a_merge_refuses(settings, nano, shelf, trio):
    wide = {
        k: Factors(torch.randn(3, f.A_RI.shape[1]), torch.randn(len(f.B_OR), 3)) for k, f in trio[0].factors.items()
    }
    shelf.add(Expert("wide", wide, {"task": ["t"], "base_hash": nano.hash}))
    with pytest.raises(Invalid, match="merge:linear cannot be searched here.*rank"):
        open_search(settings(arm=["merge:linear"]), nano)
    assert len(open_search(settings(arm=["merge:svd"]), nano).space.experts) == 4


def test_what_is_searched(settings, nano, shelf, trio):
    more = {"arm": ["merge:svd{rank=2:6}", "merge:cat"], "groups": 2, "by_type": True, "negative": True, "cap": 1.2}
    search = open_search(settings(**more), nano)
    assert [(arm.merge, arm.merge_args) for arm in search.space.arms] == [
        ("svd", {"rank": IntDistribution(2, 6)}), ("cat", {}),
    ]  # fmt: skip
    assert len(search.space.labels) == 4 and (search.space.low, search.space.high) == (-1.2, 1.2)
    assert set(search.space.groups) == set(trio[0].factors) and search.penalty == 0.05
    assert [len(examples) for examples in search.probe.examples] == [4, 4]
    routed = open_search(settings(arm=["arrow{temperature=2.0}"]), nano)
    assert routed.space.arms[0].router_args == {"top_k": IntDistribution(1, 3), "temperature": 2.0}
    assert routed.penalty == 0 and routed.space.labels == ()


def test_a_kept_router_is_searched_with_what_it_learnt(settings, nano, shelf, trio):
    from yosegi.core.model import attach
    from yosegi.routers.centroid import Centroid

    banks = attach(nano.model, trio, Centroid())
    for layer in banks.layers.values():
        layer.router.fit(torch.randn(3, layer.in_features))
    state = {key: value.clone() for key, value in banks.router_state().items()}
    banks.detach()
    near = replace(parse_arm("arrow", shelf), name="near", router="centroid", router_state=state)
    save_arm(shelf, near)
    space = open_search(settings(arm=["near{over=last}"]), nano).space
    assert space.arms[0].router_state.keys() == state.keys()
    assert space.arms[0].router_args["top_k"] == IntDistribution(1, 3)


def test_what_a_search_kept_is_not_searched_again(settings, nano, shelf, trio):
    shelf.add(Expert("kept", trio[0].factors, {"base_hash": nano.hash, "training": {"merge": "cat", "search": {}}}))
    assert open_search(settings(), nano).space.experts == ["a", "b", "c"]
    assert open_search(settings(experts=["kept,a"]), nano).space.experts == ["kept", "a"]


def test_identity_is_the_settings_and_what_they_are_about(settings, nano, shelf, trio):
    first = open_search(settings(), nano).identity()
    assert first == open_search(settings(trials=3, timeout=1, keep="x", workers=2), nano).identity()
    assert first != open_search(settings(limit=3), nano).identity()
    shelf.add(Expert("a", trio[1].factors, trio[0].card), overwrite=True)
    changed = open_search(settings(), nano).identity()
    assert {key for key in first if first[key] != changed[key]} == {"experts"}
