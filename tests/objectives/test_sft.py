"""The answer is learnt, the prompt is only read."""

import torch

from yosegi.objectives.sft import sft, targets


def test_targets():
    assert targets([5, 6], [7, 8, 9]) == [-100, -100, 7, 8, 9]


def test_only_the_answer_counts(llama):
    prompt, answer = [5, 6, 7], [8, 9]
    ids = torch.tensor([prompt + answer])
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": torch.tensor([targets(prompt, answer)]),
    }
    logp = llama(ids).logits[0].log_softmax(-1)
    torch.testing.assert_close(sft(llama, batch, 2), -(logp[2, 8] + logp[3, 9]) / 2)
    assert torch.equal(sft(llama, batch, 4), sft(llama, batch, 2) / 2)  # `tokens` counts the whole optimiser step


def test_t5_learns_its_answer(t5):
    ids, answer = torch.tensor([[5, 6, 7]]), [8, 9]
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor([answer])}
    logp = t5(input_ids=ids, decoder_input_ids=torch.tensor([[0, 8]])).logits[0].log_softmax(-1)
    torch.testing.assert_close(sft(t5, batch, 2), -(logp[0, 8] + logp[1, 9]) / 2)
