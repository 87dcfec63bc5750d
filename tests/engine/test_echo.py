"""Log-likelihoods of prompts of many arms in one row, held against those of one arm by itself."""

import pytest
import torch

from tests.engine.test_switch import library
from yosegi.engine import echo
from yosegi.engine.arm import Arm
from yosegi.engine.packing import keeps_apart
from yosegi.engine.request import Request, Stop
from yosegi.engine.score import sum_logprobs
from yosegi.engine.switch import Switch
from yosegi.errors import NotFinite

ROWS = [[40, 41, 42, 43, 44], [50], [60, 61, 62], [70] * 20]


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_they_are_those_of_scoring_and_what_comes_next_is_written(tiny, family):
    base = tiny(family)
    a, b, c, _ = library(base.model)
    arms = [Arm("base"), Arm("a", [a]), Arm("arrow", [a, b, c], "arrow", {"top_k": 2}), Arm("m", [a, b], merge="ties")]
    apart, compared = keeps_apart(base.model), 0
    with Switch(base) as switch:
        seats = [switch.open(arm) for arm in arms]
        requests = [
            Request(ids, Stop(base), 1, number=n, seat=seat, logprobs=2)
            for n, (ids, seat) in enumerate((ids, seat) for ids in ROWS for seat in seats)
        ]
        rows = list(echo.rows(requests, apart))
        assert [request for row in rows for request in row] == requests
        assert len(rows) == (1 if apart else len(requests))
        found = [logprobs for row in rows for logprobs in echo.read(base, row, switch.set_batch, 3)]
    for request, logprobs in zip(requests, found, strict=True):
        with request.seat.arm.attached(base) as banks, torch.no_grad():
            if banks is not None:
                banks.set_batch()
            logits = base.model(torch.tensor([request.ids])).logits[0].log_softmax(-1)
            row = {"input_ids": request.ids, "labels": [-100, *request.ids[1:]]}
            expected = sum_logprobs(base, [row], banks=banks)[0]
        assert len(logprobs) == len(request.ids) - 1
        assert sum(one.logp for one in logprobs) == pytest.approx(expected, abs=1e-4)
        (answer,) = request.completions
        best = logits[-1].topk(2)
        if float(best.values[0] - best.values[1]) > 1e-3:
            assert answer.ids == [int(best.indices[0])] and answer.reason
            assert answer.logprobs[0].logp == pytest.approx(float(best.values[0]), abs=1e-4)
            compared += 1
        for place, one in enumerate(logprobs):
            assert [token for token, _ in one.top][:1] == [int(logits[place].argmax())] and len(one.top) == 3
    assert compared > len(requests) / 2


def test_logits_that_are_not_finite_are_an_error(tiny):
    base = tiny("llama")
    torch.nn.init.constant_(base.model.model.norm.weight, float("nan"))
    with Switch(base) as switch, pytest.raises(NotFinite):
        echo.read(base, [Request([1, 2], Stop(base), 1, seat=switch.open(Arm("base")))], switch.set_batch, 1)
