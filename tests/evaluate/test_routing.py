"""The trace of a router: weights that are weights, over real tokens only."""

import pytest

from yosegi.evaluate.arm import Arm
from yosegi.evaluate.routing import trace
from yosegi.tasks import load


def test_weights_sum_to_one_and_padding_has_no_say(nano, pair):
    task = load("skills/add")
    examples = task.examples("test")[:3]
    with Arm("a", pair, "arrow", {"top_k": 1}).beside(nano) as banks:
        found = trace(nano, banks, {task.name: examples})
        alone = [trace(nano, banks, {task.name: [e]}) for e in examples]
        assert banks.context.weights is None, "nothing is recorded afterwards"
    weights = found["tasks"][task.name]
    assert len(weights) == len(found["layers"]) == len(pair[0].factors)
    assert all(sum(layer) == pytest.approx(1, abs=1e-5) for layer in weights)
    lengths = [len(a["tokens"][0]["text"]) for a in alone]
    mean = [
        sum(n * a["tasks"][task.name][0][e] for n, a in zip(lengths, alone, strict=True)) / sum(lengths)
        for e in range(2)
    ]
    assert weights[0] == pytest.approx(mean, abs=1e-5)
    assert all(entropy == pytest.approx(0, abs=1e-6) for entropy in found["entropy"][task.name]), "one expert a token"
    (token,) = found["tokens"]
    assert "".join(token["text"]).startswith(examples[0].prompt) and len(token["weights"]) == len(token["text"])
