"""Every token is learnt, the prompt's too."""

import math

import torch

from yosegi.objectives.lm import lm, targets


def test_targets():
    assert targets([5, 6], [7]) == [5, 6, 7]


def test_all_tokens_but_the_first_count(llama):
    ids = torch.tensor([[5, 6, 7, 8]])
    padded = torch.tensor([[5, 6, 7, 8, 0, 0]])
    logp = llama(ids).logits[0].log_softmax(-1)
    want = -(logp[0, 6] + logp[1, 7] + logp[2, 8]) / 3
    mask = torch.ones_like(ids)
    torch.testing.assert_close(lm(llama, {"input_ids": ids, "attention_mask": mask, "labels": ids}, 3), want)
    mask, labels = (padded > 0).long(), torch.where(padded > 0, padded, -100)
    torch.testing.assert_close(lm(llama, {"input_ids": padded, "attention_mask": mask, "labels": labels}, 3), want)


def test_a_model_that_knows_nothing_loses_log_v_a_token(llama):
    torch.nn.init.zeros_(llama.lm_head.weight)
    ids = torch.randint(3, 100, (2, 9))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    assert math.isclose(lm(llama, batch, 16).item(), math.log(101), rel_tol=1e-5)
