"""What an arm says of itself, and that the base is whole again afterwards."""

import pytest
import torch

from yosegi.core.layer import ExpertLinear
from yosegi.engine.arm import Arm
from yosegi.errors import Invalid


def experts_in(model):
    return [m for m in model.modules() if isinstance(m, ExpertLinear)]


def test_experts_come_and_go(nano, pair):
    before = {name: t.clone() for name, t in nano.model.state_dict().items()}
    for arm, rank in [(Arm("both", pair, "arrow"), 4), (Arm("merged", pair, merge="svd", merge_args={"rank": 3}), 3)]:
        with arm.attached(nano) as banks:
            assert banks is not None and len(experts_in(nano.model)) == len(pair[0].factors)
            assert experts_in(nano.model)[0].bank.A_ERI.shape[1] == rank and not nano.model.training
        assert not experts_in(nano.model)
    with Arm("base").attached(nano) as banks:
        assert banks is None
    assert all(torch.equal(before[name], t) for name, t in nano.model.state_dict().items())


def test_the_columns_of_a_row(pair):
    sizes = [sum(f.A_RI.numel() + f.B_OR.numel() for f in e.factors.values()) for e in pair]
    assert Arm("base").describe() == {
        "model": "base", "method": "base", "router": None, "mix": None, "merge": None, "trainable_params": 0, "active_params": 0,
    }  # fmt: skip
    routed = Arm("a", pair, "arrow", {"top_k": 1}, "outputs").describe()
    assert routed["method"] == "routed" and routed["router"] == "arrow" and routed["mix"] == "outputs"
    assert routed["trainable_params"] == sum(sizes) and routed["active_params"] == max(sizes)
    assert Arm("u", pair).describe()["active_params"] == sum(sizes)
    assert Arm("m", pair, merge="svd").describe()["method"] == "merge"
    assert Arm("one", pair[:1]).describe()["method"] == "expert"


def test_the_oracle_answers_only_what_somebody_learnt(pair):
    arm = Arm("o", pair, "oracle")
    assert arm.can_answer("skills/add") and not arm.can_answer("skills/mul")
    assert Arm("a", pair, "arrow").can_answer("skills/mul")


def test_a_fingerprint_changes_with_anything_that_matters(pair):
    arms = [Arm("a", pair), Arm("b", pair), Arm("a", pair, "arrow"), Arm("a", pair, "arrow", {"top_k": 1})]
    arms += [Arm("a", pair, mix="factors"), Arm("a", pair, merge="svd"), Arm("a", pair[:1])]
    marks = {arm.fingerprint(task="t") for arm in arms}
    assert len(marks) == len(arms)
    assert arms[0].fingerprint(task="t") == Arm("a", pair).fingerprint(task="t") != arms[0].fingerprint(task="u")


def test_what_a_token_uses_is_said_by_the_router(pair):
    sizes = [sum(f.A_RI.numel() + f.B_OR.numel() for f in expert.factors.values()) for expert in pair]
    one = [Arm("o", pair, "oracle"), Arm("r", pair, "by_request"), Arm("s", pair, "spectr", {"top_k": 1})]
    assert [arm.describe()["active_params"] for arm in one] == [max(sizes)] * 3
    every = [Arm("a", pair, "arrow"), Arm("c", pair, "centroid"), Arm("u", pair)]
    assert [arm.describe()["active_params"] for arm in every] == [sum(sizes)] * 3
    assert Arm("u", pair, ablate=(pair[0].name,)).describe()["active_params"] == sizes[1]


def test_fixed_weights_answer_as_the_sum_of_the_weighted_deltas(nano, pair):
    """a*.7+b*-.2: the layer's output is the base's and Σ w ΔW x, whatever the experts' ranks."""
    arm = Arm.weighted("w", pair, [0.7, -0.2])
    assert arm.weights == [0.7, -0.2] and Arm("u", pair).weights is None and Arm("a", pair[:1]).weights == [1.0]
    with arm.attached(nano) as banks:
        name, layer = next(iter(banks.layers.items()))
        x = torch.randn(2, 3, layer.in_features)
        change = sum(w * (x @ e.delta(name).mT) for w, e in zip((0.7, -0.2), pair, strict=True) if name in e.factors)
        torch.testing.assert_close(layer(x), layer.base(x) + change, atol=1e-5, rtol=1e-4)


def test_experts_do_not_belong_to_other_weights_and_a_merge_has_nothing_to_ablate(nano, pair, tmp_path):
    for arm in (Arm("m", pair, merge="svd", ablate=("a",)), Arm("b", ablate=("a",))):
        with pytest.raises(Invalid, match="only an expert under a router can be ablated"), arm.attached(nano):
            pass
