"""Continuous batching answers as the plainest loop does, whoever joins and leaves, and leaves the model as it was."""

import pytest
import torch

from tests.engine.conftest import agree, one_by_one
from yosegi.engine.generate import why_not_paged
from yosegi.engine.request import Request, Stop
from yosegi.errors import Invalid

LENGTHS = [3, 40, 1, 17, 18, 5, 16, 33]


def requests(base, limit=12, lengths=LENGTHS, **how):
    """Random prompts of these lengths."""
    chance = torch.Generator().manual_seed(1)
    ids = [torch.randint(5, 250, (length,), generator=chance).tolist() for length in lengths]
    return [Request(row, Stop(base), limit, number=n, **how) for n, row in enumerate(ids)]


def decoder(base, asked, rows=8):
    from yosegi.engine.decode import Decoder

    return Decoder.sized(base, asked, rows)


def answers(base, asked, rows=8):
    for _ in decoder(base, asked, rows).run(asked):
        pass
    return [completion.ids for request in asked for completion in request.completions]


@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "gemma2", "gpt_neox", "gpt2", "opt"])
def test_every_family_answers_as_the_plainest_loop(tiny, family):
    base = tiny(family)
    assert not why_not_paged(base.model)
    asked = requests(base)
    compared = 0
    for request, got in zip(asked, answers(base, asked, rows=5), strict=True):
        equal, steps = agree(got, one_by_one(base, request.ids, 12))
        assert equal, (family, len(request.ids))
        compared += steps
    assert compared > 0.8 * sum(len(request.completions[0].ids) for request in asked)


def test_steps_that_are_too_close_to_call_are_counted(tiny):
    base = tiny("llama")
    asked = requests(base, limit=6)
    answers(base, asked)
    assert sum(completion.close_calls for request in asked for completion in request.completions) == 0
    with torch.no_grad():
        base.model.lm_head.weight[1:286:2] = base.model.lm_head.weight[0:286:2]  # every token has a twin
    asked = requests(base, limit=6)
    answers(base, asked)
    assert all(c.close_calls == len(c.ids) > 0 for request in asked for c in request.completions)


@pytest.mark.parametrize("tokens", [4, 16])
def test_a_prompt_longer_than_a_step_is_read_in_several(tiny, monkeypatch, tokens):
    from yosegi.engine import decode

    base = tiny("llama")
    whole = answers(base, requests(base))
    monkeypatch.setattr(decode, "TOKENS", tokens)
    assert answers(base, requests(base), rows=4) == whole


def test_those_that_do_not_fit_wait(tiny):
    from yosegi.engine.decode import Decoder, blocks_of

    base = tiny("llama")
    asked = requests(base)
    whole = answers(base, requests(base))
    narrow = Decoder(base, rows=3, blocks=max(map(blocks_of, asked)))
    narrow.add(*asked)
    most = 0
    while narrow.step():
        most = max(most, len(narrow.running))
    assert [request.completions[0].ids for request in asked] == whole and most <= 3
    with pytest.raises(Invalid, match="are more than"):
        narrow.add(*requests(base, limit=100))


def test_requests_join_and_leave_between_steps(tiny):
    base = tiny("llama")
    alone = answers(base, requests(base))
    asked = requests(base)
    running = decoder(base, asked)
    running.add(*asked[:3])
    for n in range(30):
        running.step()
        if n < 5:
            running.add(asked[3 + n])
        if n == 4:
            running.cancel(asked[2])  # it runs
            running.cancel(asked[7])  # it has not begun
    assert not running.step() and running.free == decoder(base, asked).free
    for n, request in enumerate(asked):
        (completion,) = request.completions
        if n in (2, 7):
            assert completion.reason == "cancelled" and completion.ids == alone[n][: len(completion.ids)]
            assert len(completion.ids) < len(alone[n])
        else:
            assert completion.ids == alone[n] and completion.reason == "length"


def test_answers_to_one_prompt_share_its_reading(tiny):
    from yosegi.engine.decode import Decoder, blocks_of

    base = tiny("llama")
    apart = answers(base, requests(base, temperature=1.0, seed=4, n=5))
    asked = requests(base, temperature=1.0, seed=4, n=5)
    lengths = []
    counting = Decoder(
        base, 40, sum(map(blocks_of, asked)), lambda requests, row_X, mask_BT: lengths.append(len(row_X))
    )
    for _ in counting.run(asked):
        pass
    together = [completion.ids for request in asked for completion in request.completions]
    assert together == apart and len({tuple(ids) for ids in together}) > 20
    steps = sum(len(ids) - 1 for ids in together)
    assert sum(lengths) == steps + sum(len(request.ids) - 1 + 5 for request in asked)  # not 5 prompts each
    single = answers(base, requests(base, temperature=1.0, seed=4))
    assert single == together[::5]


def test_the_model_is_as_it_was(tiny):
    base = tiny("llama")
    base.model.train()
    attention, settings = base.model.config._attn_implementation, base.model.generation_config.to_dict()
    chance = torch.get_rng_state()
    asked = requests(base, temperature=1.0)
    running = decoder(base, asked)
    running.add(*asked)
    for _ in range(3):
        running.step()
        assert base.model.training and base.model.config._attn_implementation == attention  # between steps, too
    with pytest.raises(ZeroDivisionError):
        for _ in decoder(base, requests(base), 2).run(requests(base)):
            _ = 1 / 0
    assert base.model.training and base.model.config._attn_implementation == attention == "sdpa"
    assert base.model.generation_config.to_dict() == settings
    assert torch.equal(torch.get_rng_state(), chance)


def test_half_precision_around_a_whole_model(tiny):
    base = tiny("llama")
    with torch.autocast("cpu", torch.bfloat16):
        got = answers(base, requests(base))
    assert [len(ids) for ids in got] == [12] * len(LENGTHS)


def test_damaged_weights_are_said(tiny):
    from yosegi.errors import Corrupt

    base = tiny("llama")
    with torch.no_grad():
        base.model.model.norm.weight[3] = torch.nan
    with pytest.raises(Corrupt, match="not finite"):
        answers(base, requests(base))
    assert base.model.config._attn_implementation == "sdpa"


def test_an_answer_whose_sibling_has_ended_keeps_its_place_among_others(nano):
    """Two answers to one prompt beside single ones, all of them a page long when the first of the two ends."""
    from yosegi.engine.decode import Decoder

    def ask(number, n):
        ids = nano.tokenizer("copy bcdefgh1").input_ids
        endless = Stop(nano)
        endless.ids = endless.ids if n > 1 else frozenset()
        return Request(ids, endless, 12, temperature=0.5, seed=1, n=n, number=number)

    def answers(requests):
        decoder = Decoder(nano, 24, 64)
        decoder.add(*requests)
        while decoder.step():
            pass
        return [[completion.ids for completion in request.completions] for request in requests]

    counts = [2, 1, 2, 1]
    expected = {n: answers([ask(0, n)])[0] for n in set(counts)}
    assert len({len(ids) for ids in expected[2]}) == 2, "one of the two ends first"
    assert answers([ask(number, n) for number, n in enumerate(counts)]) == [expected[n] for n in counts]
