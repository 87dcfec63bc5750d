"""The likelihood of an answer against the full loop, and against padding."""

import pytest
import torch

from yosegi.evaluation.likelihood import likelihood
from yosegi.tasks import load


def plain(base, example):
    prompt, target = base.tokenizer(example.prompt).input_ids, base.tokenizer(example.target).input_ids
    ids = torch.tensor([prompt + target + [base.tokenizer.eos_token_id]])
    with torch.no_grad():
        logp = base.model(ids).logits[0].float().log_softmax(-1)
    steps = [logp[place - 1, ids[0, place]].item() for place in range(len(prompt), ids.shape[1])]
    return sum(steps) / len(steps)


def test_it_is_the_loop_whatever_the_batch(nano):
    examples = [e for name in ("add", "wp_en", "copy") for e in load(f"skills/{name}").examples("test")[:5]]
    expected = [plain(nano, example) for example in examples]
    for batch_size in (1, 4, 15):
        assert likelihood(nano, examples, batch_size=batch_size) == pytest.approx(expected, abs=1e-4)
