"""CAT: α learns, nothing else does, and it goes where the data says."""

from dataclasses import replace

import pytest
import torch

from tests.training.conftest import flat, sums, tiny_base
from yosegi.core.expert import Expert, Factors
from yosegi.engine.fold import static_weights
from yosegi.errors import Invalid, UnknownName
from yosegi.routers.softmax import Softmax
from yosegi.routers.static import Static
from yosegi.run import Run
from yosegi.training.fleet import fleet
from yosegi.training.joint import begin, group, joint
from yosegi.training.settings import Settings

QUICK = Settings(max_steps=30, per_device_train_batch_size=8, learning_rate=5e-3, dropout=0, rank=4)
SLOW = QUICK.model_copy(update={"max_steps": 12, "learning_rate": 0.1, "save_steps": 4})
DATA = {"sums": sums()[:40]}


def cat(base, experts, router, *rest, **options):
    return joint(base, experts, router, *rest, name="cat", mix="outputs", router_only=True, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A trained expert, and one of the same size that says nothing but noise."""
    base = tiny_base()
    good = fleet(base, {"good": DATA["sums"]}, Run(tmp_path_factory.mktemp("cat")), QUICK, tasks={"good": ("sums",)})[0]
    torch.manual_seed(0)
    noise = {n: Factors(f.A_RI, torch.randn_like(f.B_OR) * f.B_OR.std(), f.scale) for n, f in good.factors.items()}
    return base, [good, Expert("bad", noise, {**good.card, "task": ["noise"]})]


@pytest.mark.parametrize("constraint", ["softmax", "free", "sigmoid", "nonneg"])
def test_it_hears_the_one_that_helps(made, tmp_path, constraint):
    base, experts = made
    before = [flat(e).clone() for e in experts]
    arm = cat(base, experts, Static(constraint), DATA, Run(tmp_path), SLOW)
    weights, learnt = torch.tensor(list(static_weights(arm).values())), arm.router_state
    assert weights[:, 0].mean() > weights[:, 1].mean() + 0.1
    assert all(torch.equal(flat(e), b) for e, b in zip(experts, before, strict=True))
    start = begin(base, experts, Static(constraint))
    assert start.keys() == learnt.keys()
    squares = torch.stack([(learnt[key] - start[key]).square() for key in start])
    assert (
        arm.training["moved"] == pytest.approx(squares.mean().sqrt().item(), abs=1e-5) and arm.training["moved"] > 0.1
    )


@pytest.mark.parametrize(("granularity", "numbers"), [("module", 14), ("layer", 2), ("block", 2), ("global", 1)])
def test_who_shares_a_weight(made, tmp_path, granularity, numbers):
    base, experts = made
    arm = cat(base, experts, Static(), DATA, Run(tmp_path), SLOW, granularity=granularity)
    found, learnt = static_weights(arm), arm.router_state
    assert (
        arm.training["moved"] > 0.01 and learnt.keys() == begin(base, experts, Static(), granularity=granularity).keys()
    )
    assert len(found) == 14 and len({tuple(round(w, 6) for w in w_E) for w_E in found.values()}) == numbers


def test_the_names_of_the_groups():
    llama, t5 = "model.layers.3.mlp.up_proj", "encoder.block.0.layer.1.DenseReluDense.wi"
    assert [group(llama, g) for g in ("module", "layer", "block", "global")] == [llama, "model.layers.3", "mlp", ""]
    assert [group(t5, g) for g in ("layer", "block")] == ["encoder.block.0", "DenseReluDense"]
    assert group("lm_head", "layer") == group("lm_head", "block") == "lm_head"


def test_a_token_router_learns_beside_them_too(made, tmp_path):
    base, experts = made
    assert cat(base, experts, Softmax(), DATA, Run(tmp_path), SLOW).training["moved"] > 0.01


def test_an_unknown_granularity(made, tmp_path):
    with pytest.raises(UnknownName, match="granularity"):
        cat(*made, Static(), DATA, Run(tmp_path), SLOW, granularity="word")


@pytest.mark.parametrize(
    ("granularity", "shares"), [("module", [1 / 2, 1 / 3]), ("layer", [1 / 3, 1 / 3]), ("global", [1 / 3, 1 / 3])]
)
def test_a_group_begins_even_over_all_its_experts_whatever_layers_they_have(made, tmp_path, granularity, shares):
    """Two of three experts have the attention; the first layer of a group knows these two alone."""
    base, (good, bad) = made
    third = replace(good, name="third", factors={n: f for n, f in good.factors.items() if "mlp" in n})
    experts, router = [good, bad, third], Static("free")
    start = begin(base, experts, router, granularity=granularity)
    for layer, share in zip(("self_attn.q_proj", "mlp.up_proj"), shares, strict=True):
        key = f"model.layers.1.{layer}|a_E"
        torch.testing.assert_close(start.get(key, start.get("|a_E")), torch.full((3,), share))
    still = SLOW.model_copy(update={"learning_rate": 1e-12, "max_steps": 1})
    arm = cat(base, experts, router, DATA, Run(tmp_path / "a"), still, granularity=granularity)
    assert arm.router_state.keys() == start.keys() and arm.training["moved"] == 0, "so does the training"
    apart = begin(base, experts, router)
    if granularity == "module":
        cat(base, experts, router, DATA, Run(tmp_path / "b"), still, state=apart)
    else:
        with pytest.raises(Invalid, match="shares its a_E with other layers"):
            cat(base, experts, router, DATA, Run(tmp_path / "b"), still, granularity=granularity, state=apart)


def test_layers_of_different_widths_cannot_share_what_looks_at_tokens(made, tmp_path):
    with pytest.raises(Invalid, match="cannot share the row_EI"):
        cat(*made, Softmax(), DATA, Run(tmp_path), SLOW, granularity="layer")
