"""The table beside what was published."""

import pytest

from yosegi.estimate.memory import Job
from yosegi.estimate.shapes import PRESETS, preset
from yosegi.estimate.table import GALORE_PAPER, pretraining, table


def test_every_size_and_method_once():
    lines = table()
    assert len({(line.size, line.method) for line in lines}) == len(lines) == 5 * len(PRESETS)


def test_it_is_what_was_published_where_that_is_counted_alike():
    """Full and LoRA within a tenth. GaLore's published states are less than its own formula says: by 9 to 18 %."""
    held_against = 0
    for line in table():
        if line.published_weights is None:
            continue
        held_against += 1
        assert line.weights == pytest.approx(line.published_weights, rel=0.11), line
        assert 0.9 < line.optimizer / line.published_optimizer < 1.19, line
    assert held_against == len(GALORE_PAPER) + 4


def test_lora_of_the_paper_by_hand():
    shape = preset("60m")
    learnt = 2 * 32000 * 512 + 17 * 512 + 8 * 128 * (4 * 1024 + 3 * 1888)
    job = Job("lora", rank=128, dtype="bf16", bf16=True)
    assert pretraining(shape, job) == (2 * (shape.params + learnt), 2 * learnt, 4 * learnt)


def test_the_orders_of_the_paper_hold():
    by = {(line.size, line.method): line for line in table()}
    for size in PRESETS:
        full, lora, galore, layer = (by[size, m] for m in ("full", "lora", "galore", "galore-per-layer"))
        assert galore.optimizer < full.optimizer and layer.gradients < galore.gradients == full.gradients
        assert lora.weights > full.weights
