"""What is written into an attached bank answers as what is freshly attached, to the last digits, and leaves no trace."""

from dataclasses import replace

import pytest
import torch

from yosegi.core.layer import ExpertLinear
from yosegi.core.mix import named
from yosegi.core.model import attach
from yosegi.engine.arm import Arm
from yosegi.engine.fold import fold
from yosegi.merges import merge
from yosegi.routers.arrow import Arrow
from yosegi.routers.uniform import Uniform
from yosegi.search.layers import group
from yosegi.search.space import Space
from yosegi.search.workbench import Workbench, summed

IDS = torch.arange(12).reshape(2, 6)


@torch.no_grad()
def says(base):
    return base.model(IDS).logits.clone()


def fresh(base, experts, router, mix="outputs"):
    banks = attach(base.model, experts, router, named(mix))
    found = says(base)
    banks.detach()
    return found


def groups_of(experts, n=1, by_type=False):
    return group(experts[0].factors, n, by_type)[1]


def blend(experts, merge, weights, groups=None, mix="outputs", **args):
    """The arm of a search at these weights, one row for each group of layers."""
    rows = [weights] if groups is None else weights
    space = Space(
        (Arm("x", experts, mix=mix, merge=merge, merge_args=args),), groups or {}, tuple(map(str, range(len(rows))))
    )
    return space.arm(
        {name: w for names, row in zip(space.names_GE, rows, strict=True) for name, w in zip(names, row, strict=True)}
    )


BLENDS = [
    ("cat", (0.7, 0.0, -0.4), {}),
    ("cat", (1.0, 0.0, 0.0), {}),
    ("task_arithmetic", (0.3, 0.3, 0.4), {}),
    ("svd", (0.7, 0.1, 0.4), {"rank": 5}),
    ("svd", (0.7, 0.1, 0.4), {"rank": 3}),
    ("svd", (0.0, 0.0, 0.4), {"rank": 3}),
    ("linear", (0.2, 0.3, 0.4), {}),
    ("cat", (0.0, 0.9, 0.1), {}),
]


def test_every_arm_answers_as_a_fresh_one(nano, trio):
    """All through one workbench, wide after narrow and back, so that nothing of one trial is left in the next."""
    before = {name: t.clone() for name, t in nano.model.state_dict().items()}
    base, seen = says(nano), []
    with Workbench(nano, trio) as bench:
        for method, weights, args in BLENDS * 2:
            bench.apply(blend(trio, method, weights, **args))
            seen.append(says(nano))
    assert not any(isinstance(m, ExpertLinear) for m in nano.model.modules())
    assert all(torch.equal(before[name], t) for name, t in nano.model.state_dict().items())
    for (method, weights, args), logits in zip(BLENDS * 2, seen, strict=True):
        used = [(e, w) for e, w in zip(trio, weights, strict=True) if w]
        expert = merge([e for e, _ in used], method, [w for _, w in used], **args)
        torch.testing.assert_close(logits, fresh(nano, [expert], Uniform()), atol=1e-4, rtol=1e-4)
        assert (logits - base).abs().max() > 0.01, "and it changes the answers"


def test_a_merged_bank_answers_bit_for_bit(nano, trio):
    with Workbench(nano, trio) as bench:
        bench.apply(blend(trio, "svd", (0.5, 0.2, 0.3), rank=4))
        logits = says(nano)
    assert torch.equal(logits, fresh(nano, [merge(trio, "svd", [0.5, 0.2, 0.3], rank=4)], Uniform()))


def test_an_expert_alone_is_that_expert_by_every_method(nano, trio):
    wanted = fresh(nano, trio[1:2], Uniform())
    for method in ("cat", "svd", "linear"):
        with Workbench(nano, trio) as bench:
            bench.apply(blend(trio, method, (0.0, 1.0, 0.0)))
            torch.testing.assert_close(says(nano), wanted, atol=1e-4, rtol=1e-4)


def test_all_zero_is_the_base_bit_for_bit(nano, trio):
    base = says(nano)
    with Workbench(nano, trio) as bench:
        for method, weights, args in BLENDS:  # also after something else
            bench.apply(blend(trio, method, weights, **args))
            bench.apply(blend(trio, method, (0.0, 0.0, 0.0), **args))
            assert torch.equal(says(nano), base), method


@pytest.mark.parametrize("method", ["cat", "svd"])
def test_groups_of_layers_have_weights_of_their_own(nano, trio, method):
    groups = groups_of(trio, 2, by_type=True)
    weights = (0.5, 0.2, 0.1), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.3, 0.3, 0.3)
    arm = blend(trio, method, weights, groups)
    folded = fold(arm, "x")
    for layer, g in groups.items():
        wanted = sum(w * e.delta(layer) for w, e in zip(weights[g], trio, strict=True))
        if method == "cat" and wanted.any():
            torch.testing.assert_close(folded.delta(layer), wanted, atol=1e-5, rtol=1e-4)
        assert (layer in folded.factors) == bool(wanted.any())
    with Workbench(nano, trio) as bench:
        bench.apply(blend(trio, method, ((1.0, 1.0, 1.0),) * 4, groups))
        bench.apply(arm)
        logits = says(nano)
    torch.testing.assert_close(logits, fresh(nano, [folded], Uniform()), atol=1e-4, rtol=1e-4)
    with arm.attached(nano):
        torch.testing.assert_close(logits, says(nano), atol=1e-4, rtol=1e-4)


def test_a_sum_writes_one_small_tensor_and_nothing_is_attached_again(nano, trio):
    groups = groups_of(trio, 2)
    with Workbench(nano, trio) as bench:
        banks = bench.apply(blend(trio, "cat", ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), groups))
        places = {layer.router.w_HE.untyped_storage().data_ptr() for layer in banks.layers.values()}
        kept = {name: bank.A_ERI.data_ptr() for name, bank in banks.items()}
        assert len(places) == 1, "views of one tensor"
        assert bench.apply(blend(trio, "cat", ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), groups)) is banks
        assert {name: bank.A_ERI.data_ptr() for name, bank in banks.items()} == kept
        seen = {tuple(round(w, 3) for w in layer.router.w_HE[0].tolist()) for layer in banks.layers.values()}
        assert seen == {(0.1, 0.2, 0.3), (0.4, 0.5, 0.6)}


def test_router_arguments_answer_as_a_fresh_router(nano, trio):
    given, seen = [(1, 1.0), (3, 5.0), (2, 0.5), (1, 1.0)], []
    with Workbench(nano, trio) as bench:
        for top_k, temperature in given:
            if len(seen) == 3:
                bench.apply(blend(trio, "cat", (0.7, 0.0, -0.4)))  # and a blend in between
            bench.apply(Arm("x", trio, "arrow", {"top_k": top_k, "temperature": temperature}))
            seen.append(says(nano))
    for (top_k, temperature), logits in zip(given, seen, strict=True):
        assert torch.equal(logits, fresh(nano, trio, Arrow(top_k, temperature)))


def test_what_a_router_learnt_is_loaded_in_every_trial(nano, trio):
    from yosegi.routers.centroid import Centroid

    banks = attach(nano.model, trio, Centroid())
    for layer in banks.layers.values():
        layer.router.fit(torch.randn(3, layer.in_features))
    state = {key: value.clone() for key, value in banks.router_state().items()}
    banks.detach()
    arm = Arm("x", trio, "centroid", {"top_k": 2, "temperature": 0.1}, state)
    with arm.attached(nano):
        wanted = says(nano)
    with Workbench(nano, trio) as bench:
        bench.apply(replace(arm, router_args={"top_k": 1}))
        bench.apply(arm)
        assert torch.equal(says(nano), wanted)


def test_factors_are_blended_as_a_fresh_arm_blends_them(nano, trio):
    weights = (0.5, 0.25, 0.25)
    with Arm.weighted("w", trio, weights, mix="factors").attached(nano):
        wanted = says(nano)
    with Workbench(nano, trio) as bench:
        bench.apply(blend(trio, "cat", weights))
        bench.apply(Arm.weighted("w", trio, weights, mix="factors"))
        torch.testing.assert_close(says(nano), wanted, atol=1e-5, rtol=1e-5)


def test_only_plain_sums_are_written_as_weights(trio):
    assert summed(blend(trio, "cat", (1.0, 1.0, 1.0))) and summed(blend(trio, "task_arithmetic", (0.0, 1.0, 1.0)))
    assert not summed(blend(trio, "svd", (1.0, 1.0, 1.0))) and not summed(Arm("x", trio, "arrow"))
    assert not summed(Arm("x", trio, merge="cat")), "whose weights are the method's own"
