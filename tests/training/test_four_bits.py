"""Experts learn beside a base in four bits: it stays as it is, they stay whole, and both say so."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import train
from yosegi import bases
from yosegi.core.model import attach, linears, weight
from yosegi.engine.rows import collate, tokenise
from yosegi.engine.score import score_answers
from yosegi.inits import fresh
from yosegi.library.store import Library
from yosegi.routers.uniform import Uniform
from yosegi.run import Run
from yosegi.tasks import load
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings

pytestmark = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes comes with yosegi-lora[quant] and yosegi-lora[dev]"
)

QUICK = Settings(max_steps=6, per_device_train_batch_size=8, learning_rate=1e-2, dropout=0, load_in_4bit=True, limit=40)


@pytest.fixture(scope="module")
def nano():
    return bases.load("nano", load_in_4bit=True, device="cpu")


@pytest.fixture(scope="module")
def examples():
    return load("skills/reverse").examples("train")[:40]


def packed(base):
    return {name: value.clone() for name, value in base.model.state_dict().items()}


def test_it_learns_and_the_base_does_not_move(nano, examples, tmp_path):
    before, alone = packed(nano), sum(score_answers(nano, examples, batch_size=40))
    expert = train(nano, examples, "reverse", Run(tmp_path), QUICK)
    after = packed(nano)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert nano.model.is_quantized and nano.model.is_loaded_in_4bit
    banks = attach(nano.model, [expert], Uniform())
    try:
        assert sum(score_answers(nano, examples, banks=banks, batch_size=40)) > alone + 1
    finally:
        banks.detach()


def test_an_evaluation_beforehand_changes_neither_the_weights_nor_the_training(nano, examples, tmp_path):
    """bitsandbytes repacks weights in place, on CPUs with AVX512-BF16, for a kernel without a gradient."""
    untouched, evaluated = (
        bases.load("nano", load_in_4bit=True, device="cpu"),
        bases.load("nano", load_in_4bit=True, device="cpu"),
    )
    first = score_answers(evaluated, examples[:8])
    before, after = packed(untouched), packed(evaluated)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    for kind in ("alone", "fleet"):
        experts = []
        for base in (untouched, evaluated):
            run = Run(tmp_path / kind / str(base is evaluated))
            if kind == "alone":
                experts.append(train(base, examples, "reverse", run, QUICK))
            else:
                experts.append(fleet(base, {"reverse": examples}, run, QUICK)[0])
        for layer, f in experts[0].factors.items():
            assert torch.equal(f.A_RI, experts[1].factors[layer].A_RI), kind
            assert torch.equal(f.B_OR, experts[1].factors[layer].B_OR) and f.B_OR.any(), kind
        assert torch.equal(torch.tensor(score_answers(evaluated, examples[:8])), torch.tensor(first))


def test_every_packed_linear_hands_back_the_gradient_after_a_forward_without_one(nano):
    for name in linears(nano.model):
        linear = nano.model.get_submodule(name)
        x_BI = torch.randn(3, linear.in_features, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            plain_BO = linear(x_BI)
        x_BI.requires_grad_()
        y_BO = linear(x_BI)
        y_BO.sum().backward()
        assert torch.equal(y_BO, plain_BO)
        torch.testing.assert_close(x_BI.grad, weight(linear).sum(0).expand(3, -1), atol=1e-4, rtol=1e-4)


def test_a_linear_that_was_never_asked_to_keep_its_layout_keeps_it_when_its_weight_is_read():
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    linear = Linear4bit(64, 96, bias=True, quant_type="nf4", compute_dtype=torch.float32)
    linear.load_state_dict({"weight": torch.randn(96, 64), "bias": torch.randn(96)})
    linear = linear.to("cpu").eval()
    stored, W_OI = linear.weight.data.clone(), dequantize_4bit(linear.weight.data, linear.weight.quant_state)
    torch.testing.assert_close(weight(linear), W_OI, atol=1e-5, rtol=1e-5)
    assert torch.equal(linear.weight.data, stored)
    with torch.no_grad():
        linear(torch.zeros(1, 64))  # on some CPUs it is packed for another kernel now
    torch.testing.assert_close(weight(linear), W_OI, atol=2e-2, rtol=1e-2)


def test_an_expert_is_not_rounded(nano, examples, tmp_path):
    """TRL turns all that trains beside a quantised model into bf16."""
    expert = train(nano, examples, "reverse", Run(tmp_path), QUICK)
    A_RI = next(iter(expert.factors.values())).A_RI
    assert A_RI.dtype == torch.float32 and not torch.equal(A_RI, A_RI.bfloat16().float())


def test_alone_and_in_a_fleet_are_one(nano, examples, tmp_path):
    alone = train(nano, examples, "reverse", Run(tmp_path / "a"), QUICK)
    (one,) = fleet(nano, {"reverse": examples}, Run(tmp_path / "b"), QUICK)
    for layer, f in alone.factors.items():
        torch.testing.assert_close(one.factors[layer].dense(), f.dense(), atol=1e-4, rtol=1e-3)


def test_the_card_says_so_and_the_hash_is_that_of_the_files(nano, examples, tmp_path):
    expert = train(nano, examples, "reverse", Run(tmp_path), QUICK, task="skills/reverse")
    shelf = Library(tmp_path / "library", nano.hash, nano.name)
    shelf.add(expert)
    whole = bases.load("nano", device="cpu")
    card = Library(tmp_path / "library", whole.hash, whole.name).load()[0].card  # the whole base takes it in
    assert (card["dtype"], card["base_hash"]) == ("4bit", whole.hash)
    assert "| precision of the base | 4bit |" in (tmp_path / "library" / "reverse" / "README.md").read_text()
    stored = load_file(tmp_path / "library" / "reverse" / "adapter_model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float32}
    beside_the_whole = train(whole, examples, "other", Run(tmp_path), QUICK.model_copy(update={"load_in_4bit": False}))
    assert "dtype" not in beside_the_whole.card


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_an_init_that_looks_at_the_base_sees_what_it_computes_with(nano, examples, init):
    start = fresh(nano.model, "new", rank=4, alpha=4, init=init)
    layer = linears(nano.model)[0]
    W_OI = weight(nano.model.get_submodule(layer))
    A_RI, B_OR = start.factors[layer].A_RI, start.factors[layer].B_OR
    left = torch.linalg.matrix_norm(W_OI - B_OR @ A_RI) / torch.linalg.matrix_norm(W_OI)
    assert left < 1
    if init == "pissa":  # nothing of rank 4 is closer
        S_K = torch.linalg.svdvals(W_OI)
        assert left == pytest.approx(float(S_K[4:].norm() / S_K.norm()), rel=1e-4)
    rows = tokenise(nano, examples[:4], 64)
    batch = collate(nano.tokenizer.pad_token_id)(rows)
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    with torch.no_grad():
        alone = nano.model(**inputs).logits
        banks = attach(nano.model, [start], Uniform())
        for bank in banks.values():
            bank.set_origin()
        beside = nano.model(**inputs).logits
        banks.detach()
    torch.testing.assert_close(beside, alone, atol=2e-3, rtol=1e-3)


def test_bitsandbytes_warns_nobody_of_a_kernel_that_is_never_used():
    script = "import yosegi.bases, bitsandbytes"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
