"""A plan is checked before anything is searched, and says what it is."""

from dataclasses import replace

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName, WrongBase
from yosegi.search.space import Range


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"sampler": "cmae"}, "Did you mean 'cmaes'"),
        ({"methods": ("svdd",)}, "Did you mean 'svd'"),
        ({"router": "arow"}, "Did you mean 'arrow'"),
        ({"mix": "output"}, "Did you mean 'outputs'"),
        ({"router": "arrow", "groups": 2}, "no weights to search"),
        ({"router": "arrow", "methods": ("svd",)}, "no weights to search"),
        ({"cap": 0.5}, "cap is at least 1"),
        ({"penalty": float("nan")}, "penalty at least 0"),
        ({"sampler": "cmaes", "pareto": True}, "use --sampler tpe"),
        ({"sampler": "cmaes", "methods": ("svd", "cat")}, "use --sampler tpe"),
        ({"settings": ("rank",)}, "NAME=VALUE"),
    ],
)
def test_what_cannot_be_is_said_at_once(plan, more, said):
    with pytest.raises((Invalid, UnknownName), match=said):
        plan(**more)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"settings": ("rnak=3",), "methods": ("svd",)}, "Did you mean 'rank'"),
        ({"tasks": ("skills/add:logp",), "pareto": True}, "more than one --task"),
        ({"tasks": ("skills/ad",)}, "Did you mean 'add'"),
        ({"experts": ("a", "x")}, "'x'"),
        ({"groups": 100}, "blocks"),
        ({"router": "oracle"}, "no setting"),
        ({"router": "by_request"}, "told what to hear"),
        ({"router": "centroid"}, "yosegi train-router"),
        ({"methods": ("linear",), "negative": True}, "linear cannot be searched here"),
    ],
)
def test_what_cannot_work_is_said_before_a_trial(plan, nano, more, said):
    with pytest.raises((Invalid, UnknownName, LookupError), match=said):
        plan(**more).open(nano)


def test_experts_of_another_base_are_refused(plan, nano):
    with pytest.raises(WrongBase):
        plan().open(replace(nano, hash="another"))


def test_ranks_that_a_method_refuses(plan, nano, shelf, trio):
    wide = {
        k: Factors(torch.randn(3, f.A_RI.shape[1]), torch.randn(len(f.B_OR), 3)) for k, f in trio[0].factors.items()
    }
    shelf.add(Expert("wide", wide, {"task": ["t"], "base_hash": nano.hash}))
    with pytest.raises(Invalid, match="linear cannot be searched here.*rank"):
        plan(methods=("linear",)).open(nano)
    assert len(plan(methods=("svd",)).open(nano).experts) == 4


def test_what_is_searched(plan, nano, shelf, trio):
    opened = plan(methods=("svd", "cat"), settings=("rank=2:6",), groups=2, by_type=True, negative=True, cap=1.2).open(
        nano
    )
    assert opened.space.methods == {"svd": {"rank": Range(2, 6, whole=True)}, "cat": {}}
    assert len(opened.space.groups) == 4 and (opened.space.low, opened.space.high) == (-1.2, 1.2)
    assert set(opened.groups) == set(trio[0].factors) and opened.penalty == 0.05
    assert [len(examples) for examples in opened.exam.examples] == [4, 4]
    routed = plan(router="arrow", settings=("temperature=2.0",), mix="outputs").open(nano)
    assert routed.space.methods == {"arrow": {"top_k": Range(1, 3, whole=True), "temperature": 2.0}}
    assert routed.penalty == 0 and routed.space.groups == ()


def test_what_a_search_kept_is_not_searched_again(plan, nano, shelf, trio):
    shelf.add(Expert("kept", trio[0].factors, {"base_hash": nano.hash, "training": {"merge": "cat", "search": {}}}))
    assert [e.name for e in plan().open(nano).experts] == ["a", "b", "c"]
    assert [e.name for e in plan(experts=("kept", "a")).open(nano).experts] == ["kept", "a"]


def test_identity_is_the_plan_and_what_it_is_about(plan, nano, shelf, trio):
    first = plan().open(nano).identity()
    assert first == plan().open(nano).identity()
    assert first != plan(limit=3).open(nano).identity()
    shelf.add(Expert("a", trio[1].factors, trio[0].card), overwrite=True)
    changed = plan().open(nano).identity()
    assert {key for key in first if first[key] != changed[key]} == {"experts"}
