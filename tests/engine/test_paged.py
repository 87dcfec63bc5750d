"""The attention of a step is that of every request alone, over the keys that its own tokens have written."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from tests.engine.test_decode import decoder, requests


def spied(monkeypatch, base, asked, rows=8):
    """Every call of the attention: the step, what went in, what came out."""
    from transformers import AttentionInterface

    from yosegi.engine import paged

    calls = []

    def attention(module, query, key, value, mask, **more):
        out, none = paged.attention(module, query, key, value, mask, **more)
        calls.append((module.layer_idx, more["cu_seq_lens_q"].tolist(), query, key, value, out))
        return out, none

    AttentionInterface.register(paged.NAME, attention)
    running, order = decoder(base, asked, rows), []
    running.set_batch = lambda requests, row_X, mask_BT: order.append(requests)
    try:
        for _ in running.run(asked):
            pass
    finally:
        AttentionInterface.register(paged.NAME, paged.attention)
    return calls, order


@pytest.mark.parametrize("n", [1, 4])
def test_each_token_looks_at_its_own_request_and_at_nothing_else(tiny, monkeypatch, n):
    base = tiny("llama")
    asked = requests(base, limit=5, lengths=[3, 40, 17, 18, 5, 1], temperature=1.0, n=n)
    calls, order = spied(monkeypatch, base, asked, rows=6 * n)
    written, groups = {}, set()
    for step, members in enumerate(order):
        layer, starts, query, key, value, out = calls[2 * step]  # the first of two layers
        assert layer == 0 and out.shape == (1, query.shape[2], 4, 8)
        counted: dict[int, int] = {}
        for member, start, end in zip(members, starts[: len(members)], starts[1 : len(members) + 1], strict=True):
            answers = n > 1 and end - start == 1  # one after another, in their order
            name = (id(member), counted.get(id(member), 0) if answers else 0)
            counted[id(member)] = counted.get(id(member), 0) + answers
            if name not in written and name[1]:  # an answer that begins has read what the first of its prompt has
                written[name] = (
                    [side[:, : len(member.ids) - 1] for side in written[id(member), 0]] if len(member.ids) > 1 else []
                )
            before = written.get(name) or [key[0, :, :0], value[0, :, :0]]
            keys, values = (
                torch.cat([old, new[0, :, start:end]], 1) for old, new in zip(before, (key, value), strict=True)
            )
            written[name] = [keys, values]
            mask_QK = torch.ones(end - start, keys.shape[1]).tril(keys.shape[1] - (end - start)).bool()
            alone = scaled_dot_product_attention(
                query[0, :, start:end], keys.repeat_interleave(2, 0), values.repeat_interleave(2, 0), attn_mask=mask_QK
            )
            torch.testing.assert_close(out[0, start:end].transpose(0, 1), alone, atol=1e-5, rtol=1e-5)
            groups.add(end - start > 1)
    assert groups == {True, False} and len(order) >= 5


def test_answers_to_one_prompt_read_it_once(tiny, monkeypatch):
    from yosegi.engine import paged

    base = tiny("llama")
    read = []
    step_of = paged.step_of
    monkeypatch.setattr(paged, "step_of", lambda batch, places: read.append(step_of(batch, places)) or read[-1])
    (request,) = asked = requests(base, limit=5, lengths=[60], temperature=1.0, n=6)
    for _ in decoder(base, asked).run(asked):
        pass
    assert request.done and max(len(step.read_N) for step in read) <= 60 + 6 * 6
