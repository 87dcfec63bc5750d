"""The batched loop for models without a paged cache answers as the plainest loop does."""

import pytest
import torch

from tests.engine.conftest import agree, one_by_one
from tests.engine.test_decode import answers, requests
from yosegi.engine.generate import run, why_not_paged


def plainly(base, asked, rows=5):
    from yosegi.engine import plain

    for _ in plain.run(base, asked, rows):
        pass
    return [completion.ids for request in asked for completion in request.completions]


@pytest.mark.parametrize("family", ["t5", "mamba", "rwkv", "bloom"])
def test_who_has_no_paged_cache_comes_here(tiny, family):
    base = tiny(family)
    assert why_not_paged(base.model)
    asked = requests(base, lengths=[3, 40, 3, 17, 18, 5, 17, 33, 3])
    assert {request.number for request in run(base, asked, rows=4)} == set(range(9))
    compared = 0
    for request in asked:
        equal, steps = agree(request.completions[0].ids, one_by_one(base, request.ids, 12))
        assert equal, (family, len(request.ids))
        compared += steps
    assert compared > 0.8 * sum(len(request.completions[0].ids) for request in asked)


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_both_loops_answer_alike(tiny, family):
    base = tiny(family)
    for how in ({}, {"temperature": 1.0, "seed": 3, "n": 3}, {"temperature": 1.5, "top_p": 0.8, "top_k": 30}):
        assert plainly(base, requests(base, **how)) == answers(base, requests(base, **how))


@pytest.mark.parametrize("family", ["t5", "mamba"])
def test_draws_are_their_own(tiny, family):
    base = tiny(family)
    together = plainly(base, requests(base, temperature=1.0, n=2), rows=16)
    assert plainly(base, requests(base, temperature=1.0, n=2), rows=3) == together
    assert together[::2] != together[1::2]


def test_the_model_is_as_it_was(tiny):
    base = tiny("t5")
    base.model.train()
    settings, chance = base.model.generation_config, torch.get_rng_state()
    before = settings.to_dict()
    plainly(base, requests(base, temperature=1.0))
    assert base.model.training and base.model.generation_config is settings and settings.to_dict() == before
    assert torch.equal(torch.get_rng_state(), chance)
