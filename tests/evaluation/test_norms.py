"""Norms of deltas against the plain loop over layers, tokens and experts."""

import pytest
import torch

from yosegi.bases import load
from yosegi.evaluation.norms import norm_ratios
from yosegi.inits import fresh
from yosegi.tasks import Example


def test_ratios_are_those_of_the_plain_loop():
    base = load("nano")
    experts = [fresh(base.model, name, rank=2, alpha=2, init="gaussian", seed=seed) for seed, name in enumerate("abc")]
    for scale, expert in zip((1.0, 3.0, 0.5), experts, strict=True):
        for factors in expert.factors.values():
            factors.B_OR.normal_(generator=torch.Generator().manual_seed(int(scale * 10))).mul_(scale)
    examples = [
        [Example("1", "1 + 1 = ", "2")],
        [Example("2", "copy: ab -> ", "ab"), Example("3", "3 + 14 = ", "17")],
    ]
    found = norm_ratios(base, experts[:2], examples)
    assert len(found["raw"]) == len(found["equal size"]) == 3

    inputs: dict[str, torch.Tensor] = {}
    hooks = [
        base.model.get_submodule(name).register_forward_pre_hook(lambda _, x, name=name: inputs.__setitem__(name, x[0]))
        for name in experts[0].factors
    ]
    expected = {"raw": [], "equal size": []}
    with torch.no_grad():
        for own, several in enumerate(examples):
            for example in several:
                ids = base.tokenizer(example.prompt + example.target).input_ids + [base.tokenizer.eos_token_id]
                base.model(torch.tensor([ids]))
                for what, ratios in expected.items():
                    logs = []
                    for layer in experts[0].factors:
                        norms = []
                        for expert in experts[:2]:
                            delta = expert.delta(layer)
                            norm = torch.stack([(delta @ x).norm() for x in inputs[layer][0]]).mean()
                            norms.append(norm / delta.norm() if what == "equal size" else norm)
                        logs.append((norms[own] / norms[1 - own]).log())
                    ratios.append(float(torch.stack(logs).mean().exp()))
    for hook in hooks:
        hook.remove()
    for what in expected:
        assert found[what] == pytest.approx(expected[what], rel=1e-4)
