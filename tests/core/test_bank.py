"""The stack of one layer: what goes in comes out, padding stays zero, nothing is copied on the way up."""

import copy

import pytest
import torch

from tests.conftest import each
from yosegi.core.bank import Bank
from yosegi.core.expert import Factors
from yosegi.errors import Invalid

O, I = 6, 5
RANKS = (2, None, 3)  # None: this expert does not touch the layer


def factors(rank, scale=0.5):
    return Factors(torch.randn(rank, I), torch.randn(O, rank), scale)


@pytest.fixture
def given():
    return [None if rank is None else factors(rank, 1 / rank) for rank in RANKS]


@pytest.fixture
def bank(given):
    return Bank("abc", [("x",), ("y", "x"), ()], given, (O, I))


def test_stacks_and_pads_with_zeros(bank, given):
    assert bank.A_ERI.shape == (3, 3, I) and bank.B_EOR.shape == (3, O, 3)
    assert bank.names == ("a", "b", "c") and bank.rank_E == (2, 0, 3)
    assert bank.present_E.tolist() == [True, False, True]
    assert bank.scale_E.tolist() == pytest.approx([1 / 2, 0, 1 / 3])
    for e, f in enumerate(given):
        R = bank.rank_E[e]
        assert not bank.A_ERI[e, R:].any() and not bank.B_EOR[e, :, R:].any()
        if f is not None:
            assert torch.equal(bank.A_ERI[e, :R], f.A_RI) and torch.equal(bank.B_EOR[e, :, :R], f.B_OR)


def test_tasks_are_sorted_and_distinct(bank):
    assert bank.tasks == ["x", "y"]


def test_factors_come_out_as_they_went_in(bank, given):
    for e, f in enumerate(given):
        out = bank.factors(e)
        if f is None:
            assert out is None
        else:
            assert torch.equal(out.A_RI, f.A_RI) and torch.equal(out.B_OR, f.B_OR)
            assert out.scale == pytest.approx(f.scale) and not out.A_RI.requires_grad


def test_factors_are_detached_from_the_stack(bank):
    out = bank.factors(0)
    before = out.A_RI.clone()
    with torch.no_grad():
        bank.A_ERI.zero_()
    assert torch.equal(out.A_RI, before)


@pytest.mark.parametrize("changed", [lambda b: b, copy.deepcopy, lambda b: b.double(), lambda b: b.bfloat16()])
def test_up_reads_b_without_a_copy(bank, changed):
    bank = changed(bank)
    B_EOR = bank.stacked()[1].detach()
    up = B_EOR.mT.flatten(0, 1)
    assert up.data_ptr() == bank.B_EOR.data_ptr() and up.is_contiguous()


def test_the_layout_survives_a_saved_and_reloaded_state(bank):
    state = {name: tensor.contiguous() for name, tensor in bank.state_dict().items()}  # as safetensors would have it
    before = bank.B_EOR.detach().clone()
    bank.load_state_dict(state)
    assert torch.equal(bank.B_EOR, before) and bank.B_EOR.mT.is_contiguous()


def test_the_gradient_lies_in_memory_as_b_does(bank):
    (bank.B_EOR * torch.randn(3, O, 3)).sum().backward()
    assert bank.B_EOR.grad.stride() == bank.B_EOR.stride()


def test_a_wider_stack(given):
    bank = Bank("abc", [(), (), ()], given, (O, I), rank=7)
    assert bank.A_ERI.shape == (3, 7, I)
    assert bank.factors(0).rank == 2


def test_a_narrower_stack_is_refused(given):
    with pytest.raises(Invalid, match="rank 2 is too narrow for an expert of rank 3"):
        Bank("abc", [(), (), ()], given, (O, I), rank=2)


@each("bad", [Factors(torch.zeros(2, I + 1), torch.zeros(O, 2)), Factors(torch.zeros(2, I), torch.zeros(O, 3))])
def test_factors_that_do_not_fit(bad):
    with pytest.raises(Invalid, match="Expert 'b': .* do not fit a linear of 5 inputs and 6 outputs"):
        Bank("ab", [(), ()], [factors(2), bad], (O, I))


def test_no_origin_where_b_is_zero():
    bank = Bank("a", [()], [Factors(torch.randn(2, I), torch.zeros(O, 2))], (O, I))
    bank.set_origin()
    assert bank.A0_ERI is None and bank.stacked()[0] is bank.A_ERI


def test_the_origin_is_subtracted_and_folded_into_rank_2r(bank):
    A0, B0 = bank.A_ERI.detach().clone(), bank.B_EOR.detach().clone()
    bank.set_origin()
    A, B = bank.stacked()
    for e in range(3):
        assert (B[e] @ A[e]).abs().max() < 1e-6
    with torch.no_grad():
        bank.A_ERI.add_(torch.randn_like(bank.A_ERI))
        bank.B_EOR.add_(torch.randn_like(bank.B_EOR))
    A, B = bank.stacked()
    for e, R in enumerate(bank.rank_E):
        if not R:
            assert bank.factors(e) is None
            continue
        A1, B1 = bank.A_ERI[e].detach(), bank.B_EOR[e].detach()
        torch.testing.assert_close(B[e] @ A[e], B1 @ A1 - B0[e] @ A0[e], atol=1e-5, rtol=0)
        out = bank.factors(e)
        assert out.rank == 2 * R
        want = float(bank.scale_E[e]) * (B1[:, :R] @ A1[:R] - B0[e, :, :R] @ A0[e, :R])
        torch.testing.assert_close(out.dense(), want, atol=1e-5, rtol=0)


def test_the_origin_does_not_train(bank):
    bank.set_origin()
    assert {name for name, _ in bank.named_parameters()} == {"A_ERI", "B_EOR"}
    A, B = bank.stacked()
    (A.square().sum() + B.square().sum()).backward()
    assert bank.A_ERI.grad is not None and bank.A0_ERI.grad is None
    assert {"A0_ERI", "B0_EOR"} <= set(bank.state_dict())
