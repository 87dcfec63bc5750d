"""Every objective of the drawer: a finite scalar, the same however the batch is padded or cut."""

import sys
from functools import partial

import pytest
import torch

from yosegi import registry
from yosegi.core.model import attach
from yosegi.objectives.sft import sft
from yosegi.routers.softmax import Softmax

OBJECTIVES = registry.names("objectives")
ROWS = [([5, 6, 7], [8, 9]), ([11, 12, 13, 14, 15], [16, 17, 18]), ([20, 4], [21])]


def test_the_drawer_was_walked():
    assert len(OBJECTIVES) >= 2


@pytest.fixture(params=OBJECTIVES)
def module(request):
    return registry.load("objectives", request.param)


def batch_of(module, rows, seq2seq, length=None):
    """As training/batches.py makes it: decoders read prompt and answer, encoder-decoders read the prompt alone."""
    ids = [p if seq2seq else p + a for p, a in rows]
    labels = [a if seq2seq else module.targets(p, a) for p, a in rows]

    def padded(rows, fill):
        T = length or max(map(len, rows))
        return torch.tensor([[*row, *[fill] * (T - len(row))] for row in rows])

    batch = {"input_ids": padded(ids, 0), "attention_mask": padded([[1] * len(i) for i in ids], 0)}
    return batch | {
        "labels": padded(labels, -100),
        "type_B": torch.tensor([len(answer) % 2 for _, answer in rows]),
        "advantage_B": torch.ones(len(rows)),
    }  # which only a reward asks for


def count(module, rows, seq2seq):
    labels = [a if seq2seq else module.targets(p, a)[1:] for p, a in rows]
    return sum(token != -100 for row in labels for token in row)


def measure(objective, model, batches, tokens):
    """The loss of an optimiser step made of several micro-batches, and its gradient.

    What is not a sum over sequences looks at the whole step first (`totals`), as training/descent.py lets it.
    """
    module = sys.modules[objective.__module__]
    if hasattr(module, "totals"):
        how = module.Constraint(beta=0.5, delta=0.3, expert_types=[0, 1, 1])
        objective = partial(objective, constraint=how, whole_L3=sum(module.totals(model, b, how) for b in batches))
    model.zero_grad()
    total = 0.0
    for batch in batches:
        loss = objective(model, batch, tokens)
        assert loss.shape == () and loss.isfinite()
        loss.backward()
        total += loss.item()
    return total, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("routed", [False, True])
def test_padding_and_cutting_change_nothing(module, any_model, experts, routed):
    if routed:
        attach(any_model, experts(any_model, 3), Softmax())
        for name, parameter in any_model.named_parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter) if name.endswith("row_EI") else 0)
    objective = getattr(module, module.__name__.rpartition(".")[2])
    seq2seq = any_model.config.is_encoder_decoder
    tokens = count(module, ROWS, seq2seq)
    ways = [
        [batch_of(module, ROWS, seq2seq)],
        [batch_of(module, ROWS, seq2seq, length=14)],
        [batch_of(module, [row], seq2seq) for row in ROWS],
        [batch_of(module, ROWS[:1], seq2seq, length=9), batch_of(module, ROWS[1:], seq2seq)],
    ]
    (want, gradients), *others = [measure(objective, any_model, way, tokens) for way in ways]
    assert 0.5 < abs(want) < 10 and len(gradients) > 5
    for got, found in others:
        assert got == pytest.approx(want, abs=1e-5)
        for one, other in zip(found, gradients, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_targets_keep_the_length_and_the_answer(module):
    labels = module.targets([5, 6, 7], [8, 9])
    assert len(labels) == 5 and labels[3:] == [8, 9]


def test_it_can_be_minimised(module, llama):
    objective = getattr(module, module.__name__.rpartition(".")[2])
    batch, tokens = batch_of(module, ROWS, False), count(module, ROWS, False)
    optimizer = torch.optim.AdamW(llama.parameters(), lr=3e-3)
    before = sft(llama, batch, tokens).item()
    for _ in range(10):
        optimizer.zero_grad()
        objective(llama, batch, tokens).backward()
        optimizer.step()
    assert sft(llama, batch, tokens).item() < before / 2  # the answers have become likelier
