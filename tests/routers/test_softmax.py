"""A linear map of each token and its softmax."""

import pytest
import torch

from tests.conftest import each
from tests.routers.test_uniform import make
from yosegi.core.context import Context
from yosegi.errors import Invalid, UnknownName
from yosegi.routers.softmax import Softmax


def bound(present=(1, 1, 1), **how):
    router = Softmax(**how)
    router.bind(make(list(present)))
    return router


def test_it_begins_even():
    w = bound([1, 0, 1])(torch.randn(2, 5, 6), Context())
    assert w.shape == (2, 5, 1, 3)
    torch.testing.assert_close(w, torch.tensor([0.5, 0, 0.5]).expand_as(w))


def test_it_may_begin_at_random_as_the_authors_do():
    row_EI = bound(start="random").row_EI
    assert row_EI.abs().max() <= row_EI.shape[1] ** -0.5 and row_EI.std() > 0.1
    with pytest.raises(UnknownName, match="start of softmax"):
        bound(start="one")


@each("temperature", [0.5, 2.0])
def test_token_by_token(temperature):
    router, x = bound(temperature=temperature), torch.randn(2, 5, 6)
    with torch.no_grad():
        router.row_EI.normal_()
    want = torch.stack([torch.softmax(router.row_EI @ t / temperature, 0) for t in x.flatten(0, 1)]).view(2, 5, 1, 3)
    torch.testing.assert_close(router(x, Context()), want)


def test_the_best_share_w():
    router, x = bound(top_k=2), torch.randn(2, 5, 6)
    with torch.no_grad():
        router.row_EI.normal_()
    w, score = router(x, Context())[..., 0, :], x @ router.row_EI.T
    assert ((w > 0).sum(-1) == 2).all() and not w.gather(-1, score.argmin(-1, keepdim=True)).any()
    torch.testing.assert_close(w.sum(-1), torch.ones(2, 5))
    assert bound(top_k=9)(x, Context()).shape == (2, 5, 1, 3)


@each("wrong", [{"top_k": 0}, {"temperature": 0.0}])
def test_wrong_arguments(wrong):
    with pytest.raises(Invalid):
        Softmax(**wrong)


BLOCK = ["mlp.gate", "mlp.up", "mlp.down", "other.up"]


def block_of(scope="ffn", names=BLOCK):
    routers = {}
    for name in names:
        routers[name] = Softmax(scope=scope)
        routers[name].place(name, names)
        routers[name].bind(make([1, 1, 1]))
        for parameter in routers[name].parameters():
            torch.nn.init.normal_(parameter)
    return routers


def test_the_first_of_a_block_decides_for_all():
    routers, context = block_of(), Context()
    assert [name for name, router in routers.items() if router.follows] == ["mlp.up", "mlp.down"]
    assert not list(routers["mlp.up"].parameters()) and not routers["mlp.down"].state_dict()
    x = {name: torch.randn(2, 5, 6) for name in BLOCK}
    w = {name: routers[name](x[name], context) for name in BLOCK}
    assert torch.equal(w["mlp.down"], w["mlp.gate"]) and torch.equal(w["mlp.up"], w["mlp.gate"])
    assert not torch.allclose(w["other.up"], w["mlp.gate"])
    torch.testing.assert_close(w["mlp.gate"][..., 0, :], (x["mlp.gate"] @ routers["mlp.gate"].row_EI.T).softmax(-1))
    again = routers["mlp.gate"](x["other.up"], context)
    assert torch.equal(routers["mlp.down"](x["mlp.down"], context), again), "always what was decided last"


def test_a_scope_that_is_none():
    with pytest.raises(UnknownName, match="Did you mean 'ffn'"):
        Softmax(scope="fnn")


def test_each_projection_for_itself():
    routers = block_of("projection")
    assert not any(router.follows for router in routers.values()) and not Context().blocks


def test_other_tokens_cannot_be_followed():
    routers, context = block_of(), Context()
    with pytest.raises(Invalid, match="mlp.down cannot follow"):
        routers["mlp.down"](torch.randn(2, 5, 6), context)
    routers["mlp.gate"](torch.randn(2, 4, 6), context)
    with pytest.raises(Invalid, match="scope=projection"):
        routers["mlp.down"](torch.randn(2, 5, 6), context)


def test_the_keys_and_values_of_cross_attention_read_other_tokens():
    """They have a router of their own, also where the encoder's text is as long as the decoder's."""
    names = [f"decoder.layer.1.EncDecAttention.{part}" for part in "qkvo"]
    routers, context = block_of(names=names), Context()
    assert [name[-1] for name, router in routers.items() if router.follows] == ["v", "o"]
    x = {"q": torch.randn(2, 5, 6), "k": torch.randn(2, 5, 6)}
    w = {name[-1]: routers[name](x.get(name[-1], x["k"]), context) for name in names}
    assert torch.equal(w["o"], w["q"]) and torch.equal(w["v"], w["k"]) and not torch.allclose(w["k"], w["q"])
