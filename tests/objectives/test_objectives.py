"""The cross-entropy all objectives share, against a loop over sequences and places."""

import pytest
import torch
from torch import nn

from yosegi.objectives import IGNORED, cross_entropy


def batch_of(rows, length=None):
    """Rows of (prompt, answer) padded on the right; the labels are the answer."""
    T = length or max(len(p) + len(a) for p, a in rows)
    ids, mask, labels = (torch.full((len(rows), T), fill) for fill in (0, 0, IGNORED))
    for b, (prompt, answer) in enumerate(rows):
        n, m = len(prompt), len(prompt) + len(answer)
        ids[b, :m] = torch.tensor([*prompt, *answer])
        mask[b, :m], labels[b, n:m] = 1, torch.tensor(answer)
    return {"input_ids": ids, "attention_mask": mask}, labels


ROWS = [([5, 6, 7], [8, 9]), ([11, 12, 13, 14, 15], [16, 17, 18]), ([20], [21])]
TOKENS = 6


def plain(model, rows):
    """Every sequence alone and unpadded, every logit computed."""
    total = 0.0
    for prompt, answer in rows:
        ids = torch.tensor([prompt + answer])
        if model.config.is_encoder_decoder:
            start = torch.tensor([[model.config.decoder_start_token_id, *answer[:-1]]])
            logits = model(input_ids=ids, decoder_input_ids=start).logits[0]
        else:
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        assert len(logits) == len(answer)
        total = total - sum(place.log_softmax(-1)[token] for place, token in zip(logits, answer, strict=True))
    return total / sum(len(answer) for _, answer in rows)


def labelled(model, rows, length=None):
    """A batch and its labels, for a decoder or an encoder-decoder."""
    batch, labels = batch_of(rows, length)
    if model.config.is_encoder_decoder:
        labels = batch_of([([], answer) for _, answer in rows], length)[1]
    return batch, labels


def test_is_the_loop(any_model):
    loss = cross_entropy(any_model, *labelled(any_model, ROWS), TOKENS)
    assert loss.shape == ()
    torch.testing.assert_close(loss, plain(any_model, ROWS), atol=1e-5, rtol=0)


def gradients(model, losses):
    model.zero_grad()
    for loss in losses:
        loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(model, losses, others):
    got, want = gradients(model, losses), gradients(model, others)
    assert got.keys() == want.keys() and any(gradient.any() for gradient in want.values())
    torch.testing.assert_close(sum(losses), sum(others), atol=1e-5, rtol=0)
    for name in want:
        torch.testing.assert_close(got[name], want[name], atol=1e-5, rtol=1e-4)


def test_padding_changes_nothing(any_model):
    tight = cross_entropy(any_model, *labelled(any_model, ROWS), TOKENS)
    loose = cross_entropy(any_model, *labelled(any_model, ROWS, length=13), TOKENS)
    assert_same(any_model, [loose], [tight])


@pytest.mark.parametrize("cut", [[1, 1, 1], [2, 1], [1, 2]])
def test_nor_does_the_cut_into_micro_batches(any_model, cut):
    rows, parts = list(ROWS), []
    for size in cut:
        part, rows = rows[:size], rows[size:]
        parts.append(cross_entropy(any_model, *labelled(any_model, part), torch.tensor(TOKENS)))
    assert_same(any_model, parts, [cross_entropy(any_model, *labelled(any_model, ROWS), TOKENS)])


def test_a_micro_batch_without_targets_weighs_nothing(any_model):
    batch, labels = labelled(any_model, ROWS)
    loss = cross_entropy(any_model, batch, torch.full_like(labels, IGNORED), TOKENS)
    assert loss.item() == 0
    assert not any(gradient.any() for gradient in gradients(any_model, [loss]).values())


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_logits_only_for_the_targets(name, request):
    model, seen = request.getfixturevalue(name), []
    model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    cross_entropy(model, *batch_of(ROWS), TOKENS)
    # the targets stand at 3, 4 | 5, 6, 7 | 1: six tokens to predict, of 3 x 8 places
    assert [tuple(s) for s in seen] == [(1, 6, 101)]


def test_the_sum_is_fp32_even_of_a_bf16_model(llama):
    want = cross_entropy(llama, *batch_of(ROWS), TOKENS)
    loss = cross_entropy(llama.bfloat16(), *batch_of(ROWS), TOKENS)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, want, atol=0.05, rtol=0)


def test_a_wrapped_model(any_model):
    class Wrapper(nn.Module):  # as DistributedDataParallel is
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, *args, **kwargs):
            return self.module(*args, **kwargs)

    args = (*labelled(any_model, ROWS), TOKENS)
    assert torch.equal(cross_entropy(Wrapper(any_model), *args), cross_entropy(any_model, *args))


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_a_divisor_for_each_sequence(request, name):
    model = request.getfixturevalue(name)
    batch, labels = batch_of(ROWS)
    tokens = torch.tensor([2.0, 3.0, 1.0])
    alone = [
        cross_entropy(model, {k: v[b : b + 1] for k, v in batch.items()}, labels[b : b + 1], int(tokens[b]))
        for b in range(3)
    ]
    torch.testing.assert_close(cross_entropy(model, batch, labels, tokens), torch.stack(alone))
