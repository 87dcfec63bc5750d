"""Importance from one pass is importance from one example at a time; and a masked fleet moves what it may."""

import pytest
import torch

from tests.training.conftest import sums, tiny_base, tiny_t5
from yosegi.core.model import attach
from yosegi.engine.rows import collate, tokenise
from yosegi.errors import Invalid, UnknownName
from yosegi.inits import fresh
from yosegi.masks.importance import importance as keep
from yosegi.masks.importance import regions
from yosegi.objectives import IGNORED
from yosegi.objectives.sft import sft
from yosegi.routers.uniform import Uniform
from yosegi.run import Run
from yosegi.training.fleet import fleet
from yosegi.training.importance import importance, null
from yosegi.training.settings import Settings

SOME = sums()[:11]


def start(base, init="normal"):
    return fresh(base.model, "e", rank=3, alpha=6, init=init, seed=1)


def loop(base, expert, order, origin=True):
    """One example at a time."""
    banks = attach(base.model, [expert], Uniform())
    if origin:
        for bank in banks.values():
            bank.set_origin()
    base.model.eval()
    phi = {f"{n}|{k}": p[0].detach() for n, b in banks.items() for k, p in (("A", b.A_ERI), ("B", b.B_EOR))}
    g = {name: torch.zeros_like(p) for name, p in phi.items()}
    F = {name: torch.zeros_like(p) for name, p in phi.items()}
    for row in tokenise(base, SOME, 64):
        batch = collate(base.tokenizer.pad_token_id)([row])
        base.model.zero_grad()
        sft(base.model, batch, int((batch["labels"][:, 0 if base.seq2seq else 1 :] != IGNORED).sum())).backward()
        for n, b in banks.items():
            for k, p in (("A", b.A_ERI), ("B", b.B_EOR)):
                g[f"{n}|{k}"] += p.grad[0] / len(SOME)
                F[f"{n}|{k}"] += p.grad[0].square() / len(SOME)
    banks.detach()
    if order == "product":
        return {n: g[n].abs() * F[n] for n in phi}
    half = 0.5 if order == "second" else 0.0
    return {n: (g[n] * phi[n] - half * F[n] * phi[n].square()).abs() for n in phi}


@pytest.mark.parametrize("order", ["second", "first", "product"])
@pytest.mark.parametrize(("init", "origin"), [("normal", True), ("normal", False), ("pissa", True)])
def test_it_is_that_of_the_loop(order, init, origin):
    base = tiny_base()
    expert = start(base, init)
    found, want = importance(base, expert, SOME, order=order, chunk=4, origin=origin), loop(base, expert, order, origin)
    assert found.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(found[name], want[name], rtol=2e-3, atol=1e-5 * float(want[name].max()))


def test_an_encoder_decoder_too():
    base = tiny_t5()
    expert = start(base)
    found, want = importance(base, expert, SOME, chunk=4), loop(base, expert, "second")
    for name in want:
        torch.testing.assert_close(found[name], want[name], rtol=2e-3, atol=1e-5 * float(want[name].max()))


def test_neither_the_order_nor_the_cut_matters():
    base = tiny_base()
    expert = start(base)
    one, other = importance(base, expert, SOME, chunk=32), importance(base, expert, SOME[::-1], chunk=3)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=2e-3, atol=1e-5 * float(one[name].max()))


def test_with_nothing_in_b_nothing_matters():
    base = tiny_base()
    expert = fresh(base.model, "e", rank=3, alpha=6)
    scores = importance(base, expert, SOME)
    assert not any(score.any() for score in scores.values())
    with pytest.raises(Invalid, match="B = 0"):
        keep(scores, scores)


def test_the_null_is_of_two_halves():
    base = tiny_base()
    one, two = null(base, start(base), SOME, chunk=4)
    assert 0 < regions(one, two, 0.9).jaccard < 1


def test_names_and_numbers():
    base = tiny_base()
    with pytest.raises(UnknownName, match="order of importance"):
        importance(base, start(base), SOME, order="third")
    with pytest.raises(Invalid, match="chunk=0"):
        importance(base, start(base), SOME, chunk=0)


def test_a_masked_fleet_is_its_experts_masked_alone(tmp_path):
    base, how = tiny_base(), Settings(max_steps=6, per_device_train_batch_size=4, learning_rate=5e-3, dropout=0, rank=3,
                                      alpha=6, init="normal", init_seed=1, weight_decay=0.1, save_steps=2)  # fmt: skip
    scores = importance(base, start(base), SOME)
    masks = {"half": keep(scores, scores, 0.5), "most": keep(scores, scores, 0.9)}
    data = {"half": SOME, "most": SOME, "all": SOME}
    together = {e.name: e for e in fleet(base, data, Run(tmp_path / "f"), how, masks=masks)}
    for name in data:
        alone = fleet(
            base, {name: SOME}, Run(tmp_path / name), how, masks={name: masks[name]} if name in masks else None
        )[0]
        for layer, f in alone.factors.items():
            torch.testing.assert_close(together[name].factors[layer].A_RI, f.A_RI, rtol=1e-3, atol=1e-6)
    begun = start(base)
    for name, mask in masks.items():
        for layer, f in together[name].factors.items():
            A_RI = f.A_RI[:3]  # the other half is the origin
            moves = mask[f"{layer}|A"]
            assert torch.equal(A_RI[~moves], begun.factors[layer].A_RI[~moves])
            if moves.any():
                assert (A_RI[moves] != begun.factors[layer].A_RI[moves]).float().mean() > 0.9


def test_the_random_mask_of_the_settings_draws_for_each(tmp_path):
    base, how = tiny_base(), Settings(max_steps=3, per_device_train_batch_size=4, learning_rate=5e-3, dropout=0, rank=3,
                                      mask="random", mask_args={"share": 0.2})  # fmt: skip
    two = fleet(base, {"a": SOME, "b": SOME}, Run(tmp_path), how)
    begun = fresh(base.model, "start", rank=3, alpha=16)
    for expert in two:
        moved = sum(
            int((f.A_RI != begun.factors[n].A_RI).sum() + (f.B_OR != 0).sum()) for n, f in expert.factors.items()
        )
        total = sum(f.A_RI.numel() + f.B_OR.numel() for f in expert.factors.values())
        assert 0.1 < moved / total <= 0.2
