"""Whole weights: the base comes back bit for bit, the expert is the change, and no way of cutting a training changes it."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import rows_of, sums, tiny_base, tiny_t5
from yosegi.core.expert import Expert
from yosegi.core.model import attach, linears, weight
from yosegi.engine.arm import Arm
from yosegi.errors import Diverged, Invalid, UnknownName
from yosegi.routers.uniform import Uniform
from yosegi.run import Run
from yosegi.training import dense, loop
from yosegi.training.data import read
from yosegi.training.dense import opened, train
from yosegi.training.settings import DenseSettings, GaloreSettings
from yosegi.training.validation import Validation, mean_loss

QUICK = GaloreSettings(
    max_steps=12, per_device_train_batch_size=8, learning_rate=5e-2, save_steps=5, rank=0,
    optimizer_args={"rank": 4, "update_gap": 3},
)  # fmt: skip
FULL = DenseSettings(
    max_steps=12, per_device_train_batch_size=8, learning_rate=5e-3, save_steps=5, rank=0, optimizer="adamw"
)


def losses(run: Run) -> list[float]:
    return [row["loss"] for row in rows_of(run)]


def flat(expert: Expert) -> torch.Tensor:
    return torch.cat([f.dense().flatten() for f in expert.factors.values()])


def changed(settings, **more):
    return settings.model_copy(update=more)


@pytest.mark.parametrize("settings", [QUICK, FULL], ids=["galore", "full"])
def test_it_learns_and_puts_the_base_back(base, tmp_path, settings):
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    grads = [p.requires_grad for p in base.model.parameters()]
    run = Run(tmp_path)
    expert = train(base, sums(), "sums", run, settings, task="sums")
    after = base.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert grads == [p.requires_grad for p in base.model.parameters()] and not base.model.training
    assert all(p.grad is None for p in base.model.parameters())
    assert losses(run)[-1] < losses(run)[0] - 0.1 and len(losses(run)) == 12
    assert set(expert.factors) == set(linears(base.model))
    card = expert.card
    assert card["base_hash"] == base.hash and card["task"] == ["sums"] and card["init"] is None
    assert card["training"] == settings.model_dump() and card["metrics"]["steps"] == 12
    assert card["relative_error"] < 1e-3 and card["metrics"]["energy_kept"] == pytest.approx(1, abs=1e-5)
    assert card["metrics"]["trainable_params"] == sum(weight(m).numel() for m in chosen(base).values())


def test_a_base_in_bf16_is_trained_in_fp32_and_comes_back_in_bf16(base, tmp_path):
    base.model.to(torch.bfloat16)
    base = replace(base, dtype="bf16")
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    small = changed(FULL, learning_rate=1e-5, max_steps=2)  # steps that bf16 would round away
    expert = train(base, sums(), "sums", Run(tmp_path), small)
    assert (flat(expert) != 0).float().mean() > 0.5 and flat(expert).abs().max() < 1e-4
    after = base.model.state_dict()
    assert all(tensor.dtype == torch.bfloat16 and torch.equal(tensor, after[name]) for name, tensor in before.items())
    with pytest.raises(Invalid, match="--dtype fp32"):
        train(base, sums(), "sums", Run(tmp_path / "b"), changed(FULL, precision="fp32"))


def chosen(base):
    modules = dict(base.model.named_modules())
    return {name: modules[name] for name in linears(base.model)}


@pytest.mark.parametrize("make", [tiny_base, tiny_t5])
def test_the_expert_beside_the_base_says_what_the_trained_weights_said(make, tmp_path, monkeypatch):
    """Taken at the moment when the trained weights are still in the model."""
    base, ids = make(), torch.tensor([[4, 5, 6, 14]])
    inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if base.seq2seq else {})}
    said, train_loop = [], dense.train_loop

    def watched(*arguments, **more):
        outcome = train_loop(*arguments, **more)
        base.model.eval()
        with torch.no_grad():
            said.append(base.model(**inputs).logits)
        return outcome

    monkeypatch.setattr(dense, "train_loop", watched)
    expert = train(base, sums(), "sums", Run(tmp_path), QUICK)
    with torch.no_grad():
        alone = base.model(**inputs).logits
        attach(base.model, [expert], Uniform())
        together = base.model(**inputs).logits
    torch.testing.assert_close(together, said[0], atol=1e-4, rtol=1e-4)
    assert (together - alone).abs().max() > 0.05


@pytest.mark.parametrize("settings", [changed(QUICK, rank=1), changed(FULL, rank=1)], ids=["galore", "full"])
def test_the_trained_weights_are_an_arm_of_their_own(base, tmp_path, settings):
    """What was cut to rank 1 has forgotten much; the arm answers as the trained model did."""
    run = Run(tmp_path)
    validation = Validation({"sums": sums()}, eval_steps=50)
    expert = train(base, sums(), "sums", run, settings, weights_to=run.path / "weights" / "sums", validation=validation)
    trained = [row["validation_loss"] for row in rows_of(run) if "validation_loss" in row][-1]
    rows = read(base, sums(), settings).rows
    whole, losses = Arm("whole", base_delta=tmp_path / "weights" / "sums"), {}
    for arm in (Arm("base"), whole, Arm("cut", [expert])):
        with arm.attached(base):
            losses[arm.name] = mean_loss(base, rows, settings)
    assert losses["whole"] == pytest.approx(trained, rel=1e-5) and abs(losses["cut"] - trained) > 1e-3
    assert (
        losses["base"] > trained + 0.1
        and whole.describe()["trainable_params"] == expert.card["metrics"]["trainable_params"]
    )


def test_the_transposed_linears_of_gpt2(gpt2):
    before = {name: p.clone() for name, p in gpt2.state_dict().items()}
    with opened(gpt2, linears(gpt2)) as weights, torch.no_grad():
        moved = {}
        for layer, module in weights.layers.items():
            moved[layer] = torch.randn_like(module.weight)
            module.weight += moved[layer]
        for layer, delta in weights.items():
            torch.testing.assert_close(delta, moved[layer].mT, atol=1e-5, rtol=0)
    assert all(torch.equal(p, before[name]) for name, p in gpt2.state_dict().items())


def test_a_cut_is_the_best_of_its_rank_and_says_what_it_kept(base, tmp_path):
    whole = train(base, sums(), "sums", Run(tmp_path), QUICK)
    cut = train(base, sums(), "sums", Run(tmp_path / "cut"), changed(QUICK, rank=2))
    lost = total = 0.0
    for layer, f in cut.factors.items():
        S = torch.linalg.svdvals(whole.delta(layer).double()).square()
        assert f.rank == 2
        assert cut.card["energy_kept"][layer] == pytest.approx(float(S[:2].sum() / S.sum()), abs=1e-4)
        torch.testing.assert_close(
            (whole.delta(layer) - f.dense()).square().sum().double(), S[2:].sum(), rtol=1e-2, atol=1e-5
        )
        lost, total = lost + float(S[2:].sum()), total + float(S.sum())
    assert cut.card["metrics"]["energy_kept"] == pytest.approx(1 - lost / total, abs=1e-4)
    assert 0.3 < cut.card["metrics"]["energy_kept"] < 0.999


def test_rows_say_what_the_refresh_cost(base, tmp_path):
    run = Run(tmp_path)
    train(base, sums(), "sums", run, QUICK)
    rows = rows_of(run)
    wanted = {"step", "stage", "expert", "loss", "lr", "grad_norm", "tokens", "tokens_per_s", "wall_s", "refresh_s"}
    assert all(set(row) - {"captured"} == wanted for row in rows)
    for row in rows:
        looked = row["step"] in (1, 4, 7, 10)
        assert looked == (row["refresh_s"] > 0) == ("captured" in row) and 0 < row.get("captured", 1) <= 1


def test_only_the_targets_move(base, tmp_path):
    expert = train(base, sums(), "sums", Run(tmp_path), changed(QUICK, targets="q_proj", max_steps=2))
    assert set(expert.factors) == {f"model.layers.{i}.self_attn.q_proj" for i in range(2)}


def test_the_other_objective(base, tmp_path):
    lm, sft = Run(tmp_path / "lm"), Run(tmp_path / "sft")
    train(base, sums(), "sums", lm, changed(QUICK, objective="lm"))
    train(base, sums(), "sums", sft, QUICK)
    assert losses(lm) != losses(sft) and losses(lm)[-1] < losses(lm)[0]


@pytest.mark.parametrize("clip", [0.0, 0.1])
def test_micro_batches_make_the_same_step(base, tmp_path, clip):
    once = changed(QUICK, max_grad_norm=clip)
    cut = changed(once, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    a, b = Run(tmp_path / "a"), Run(tmp_path / "b")
    train(base, sums(), "sums", a, once)
    train(base, sums(), "sums", b, cut)
    torch.testing.assert_close(losses(a), losses(b), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pieces", [1, 4])
def test_layer_by_layer_is_the_same_where_nothing_is_clipped(base, tmp_path, pieces):
    once = changed(
        QUICK, max_grad_norm=0.0, per_device_train_batch_size=8 // pieces, gradient_accumulation_steps=pieces
    )
    layered = changed(once, optimizer_args={**QUICK.optimizer_args, "per_layer": True})
    a, b = Run(tmp_path / "a"), Run(tmp_path / "b")
    whole, parts = train(base, sums(), "sums", a, once), train(base, sums(), "sums", b, layered)
    assert torch.equal(flat(whole), flat(parts)) and losses(a) == losses(b)
    rows = rows_of(b)
    assert all(row["grad_norm"] is None for row in rows)
    base.model(input_ids=torch.tensor([[4, 5]])).logits.sum().backward()
    assert any(p.grad is not None for p in base.model.parameters()), "its hooks are gone"


@pytest.mark.parametrize("per_layer", [False, True])
def test_a_training_that_diverges_spares_the_base_and_the_checkpoint(base, tmp_path, monkeypatch, per_layer):
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    settings = changed(QUICK, max_grad_norm=0.0, optimizer_args={**QUICK.optimizer_args, "per_layer": per_layer})
    find, calls = loop.registry.find, []

    def poisoned(kind, name):
        method = find(kind, name)
        if kind != "objectives":
            return method

        def objective(model, batch, tokens):
            calls.append(1)
            loss = method(model, batch, tokens)
            return loss + (loss - loss.detach()) * (float("inf") if len(calls) == 10 else 0)  # the loss itself is well

        return objective

    monkeypatch.setattr(loop.registry, "find", poisoned)
    with pytest.raises((Diverged, torch.linalg.LinAlgError)):
        train(base, sums(), "sums", Run(tmp_path), settings)
    assert all(torch.equal(before[name], tensor) for name, tensor in base.model.state_dict().items())
    kept = load_file(tmp_path / "checkpoint" / "sums" / "state.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in kept.values() if tensor.is_floating_point())


def test_an_error_on_the_way_puts_the_base_back(base):
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    with pytest.raises(RuntimeError, match="on the way"), opened(base.model, linears(base.model)) as weights:
        assert sum(p.requires_grad for p in base.model.parameters()) == len(weights)
        with torch.no_grad():
            for parameter in weights.parameters().values():
                parameter.mul_(3)
        raise RuntimeError("on the way")
    assert all(torch.equal(before[name], tensor) for name, tensor in base.model.state_dict().items())
    assert all(p.requires_grad for p in base.model.parameters())


def test_what_cannot_be_trained_whole_is_refused(base, experts):
    with pytest.raises(Invalid, match="no linear"), opened(base.model, []):
        pass
    first, second, *_ = linears(base.model)
    modules = dict(base.model.named_modules())
    own = modules[second].weight
    modules[second].weight = modules[first].weight
    with pytest.raises(Invalid, match="is also that of"), opened(base.model, [first]):
        pass
    modules[second].weight = own
    banks = attach(base.model, experts(base.model, 1), Uniform())
    with pytest.raises(Invalid, match="has experts in it"), opened(base.model, [first]):
        pass
    banks.detach()
    modules[first].weight = torch.nn.Parameter(torch.zeros(32, 32, dtype=torch.int8), requires_grad=False)
    with pytest.raises(Invalid, match="quantised"), opened(base.model, [first]):
        pass


def test_bad_arguments_of_the_optimizer(base, tmp_path):
    with pytest.raises(UnknownName, match="No argument of galore is called 'gap'"):
        train(base, sums(), "sums", Run(tmp_path), changed(QUICK, optimizer_args={"gap": 3}))
