"""GRPO: every expert learns as it would alone, from its own start."""

import math

import pytest
import torch

from tests.training.conftest import Sums, flat, sums, tiny_base, tiny_t5
from yosegi import files
from yosegi.errors import Diverged, Invalid
from yosegi.inits import fresh
from yosegi.masks.random import random
from yosegi.run import Run
from yosegi.tasks import Score
from yosegi.training import grpo as module
from yosegi.training.fleet import fleet
from yosegi.training.grpo import grpo, questions
from yosegi.training.settings import GrpoSettings, Settings

QUICK = GrpoSettings(
    max_steps=4, per_device_train_batch_size=3, num_generations=4, learning_rate=5e-3, max_grad_norm=1.0, save_steps=2,
    lr_scheduler_type="constant", max_completion_length=6,
)  # fmt: skip


def start(base, *names, seed=0):
    made = [fresh(base.model, name, rank=3, alpha=6, seed=seed, task=("sums",)) for name in names]
    for expert in made:
        for n, factors in enumerate(expert.factors.values()):
            factors.B_OR.copy_(torch.randn(factors.B_OR.shape, generator=torch.Generator().manual_seed(n)) * 0.02)
    return made


def reinforce(folder, settings=QUICK, names=("a", "b"), base=None, **more):
    base = base or tiny_base()
    asked = {"a": questions(Sums(), sums()[:20]), "b": questions(Sums(), sums()[20:50])}
    return {e.name: e for e in grpo(base, start(base, *names), asked, Run(folder), settings, **more)}


def rows(folder):
    return files.read_jsonl(folder / "metrics.jsonl")


@pytest.mark.parametrize(
    "change", [{}, {"loss_type": "bnpo", "num_iterations": 2}, {"kl_coef": 0.0, "scale_rewards": False}]
)
def test_each_is_what_it_would_be_alone(tmp_path, change):
    how = QUICK.model_copy(update=change)
    both = reinforce(tmp_path / "both", how)
    for name in both:
        alone = reinforce(tmp_path / name, how, (name,))[name]
        torch.testing.assert_close(flat(both[name]), flat(alone), rtol=1e-3, atol=1e-5)
        own = [row for row in rows(tmp_path / "both") if row["expert"] == name]
        for one, other in zip(own, rows(tmp_path / name), strict=True):
            assert one["reward"] == pytest.approx(other["reward"]) and one["length"] == other["length"]
            assert one["kl"] == pytest.approx(other["kl"], abs=1e-5)


def test_the_reward_rises(tmp_path):
    how = QUICK.model_copy(
        update={
            "max_steps": 30,
            "per_device_train_batch_size": 6,
            "num_generations": 8,
            "learning_rate": 3e-2,
            "seed": 2,
        }
    )
    expert = reinforce(tmp_path, how, ("a",))["a"]
    reward = [row["reward"] for row in rows(tmp_path)]
    assert sum(reward[-8:]) > sum(reward[:8]) + 8 * 0.015  # a random head allows little more
    assert expert.card["parents"] == ["a"] and expert.card["training"]["kl_coef"] == 0.04


def test_it_begins_at_its_reference_and_the_base_is_as_it_was(tmp_path):
    base = tiny_base()
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    reinforce(tmp_path, base=base)
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())
    first, *others = [row["kl"] for row in rows(tmp_path) if row["expert"] == "a"]
    assert first == pytest.approx(0, abs=1e-7) and all(
        kl > 1e-6 for kl in others
    )  # not the base: the start has a delta
    one = rows(tmp_path)[0]
    assert {"reward", "reward_std", "reward_correct", "length", "truncated", "no_variance", "drawing"} <= one.keys()
    assert 0 <= one["no_variance"] <= 1 and 0 < one["drawing"] < 1


def test_a_pull_to_the_reference_keeps_near(tmp_path):
    far, near = (
        reinforce(tmp_path / str(kl), QUICK.model_copy(update={"kl_coef": kl, "max_steps": 10}), ("a",))
        for kl in (0.0, 5.0)
    )
    begun = flat(start(tiny_base(), "a")[0])
    assert (flat(near["a"]) - begun).norm() < (flat(far["a"]) - begun).norm()


def test_what_a_mask_holds_stays_to_the_bit(tmp_path):
    base = tiny_base()
    begun = start(base, "a")[0]
    entries = {f"{n}|{k}": t for n, f in begun.factors.items() for k, t in (("A", f.A_RI), ("B", f.B_OR))}
    moves = random(entries, 0.3)
    narrow = {name: m[:2] if name.endswith("A") else m[:, :2] for name, m in moves.items()}  # the third rank is still
    for mask, rank in ((moves, 3), (narrow, 2)):
        found = reinforce(tmp_path / str(rank), names=("a",), masks={"a": mask})["a"]
        for layer, f in found.factors.items():
            still = ~torch.nn.functional.pad(mask[f"{layer}|A"], (0, 0, 0, 3 - rank))
            assert torch.equal(f.A_RI[still], begun.factors[layer].A_RI[still])
        assert (flat(found) != flat(begun)).any()


def test_one_that_diverges_does_not_drag_the_other_down(tmp_path, monkeypatch):
    alone = reinforce(tmp_path / "alone", names=("a",))["a"]
    base, kept, plain = tiny_base(), [], module.clipped
    poison = base.tokenizer("9").input_ids[0]

    def poisoned(logp_BT, batch, tokens, *rest):
        loss_B = plain(logp_BT, batch, tokens, *rest)
        return loss_B * torch.where(batch["input_ids"][:, 0] == poison, math.inf, 1.0)  # prompts that begin with a 9

    monkeypatch.setattr(module, "clipped", poisoned)
    asked = {"a": questions(Sums(), sums()[:20]), "b": questions(Sums(), sums()[90:])}
    with pytest.raises(Diverged, match=r"1 of 2 experts diverged \('b': the loss is nan at step 1"):
        grpo(base, start(base, "a", "b"), asked, Run(tmp_path / "both"), QUICK, keep=kept.append)
    assert [expert.name for expert in kept] == ["a"]
    torch.testing.assert_close(flat(kept[0]), flat(alone), rtol=1e-3, atol=1e-5)


def test_questions_of_two_tasks(tmp_path):
    """Each answer is scored by the task of its question."""

    class Never(Sums):
        name = "never"

        def score(self, example, prediction):
            return Score(0.0, prediction)

    base, some = tiny_base(), sums()[:20]
    rewards = []
    for asked in (
        questions(Sums(), some),
        questions(Never(), some),
        [*questions(Sums(), some[:10]), *questions(Never(), some[10:])],
    ):
        run = Run(tmp_path / str(len(rewards)))
        how = QUICK.model_copy(update={"max_steps": 1, "per_device_train_batch_size": 20})
        grpo(base, start(base, "a"), {"a": asked}, run, how)
        rewards.append(rows(run.path)[0]["reward"])
    assert rewards[1] == 0 < rewards[2] < rewards[0]


def test_no_questions(tmp_path):
    base = tiny_base()
    with pytest.raises(Invalid, match="'a' has no questions"):
        grpo(base, start(base, "a"), {"a": questions(Sums(), [])}, Run(tmp_path), QUICK)
    with pytest.raises(Invalid, match="'a' has no questions"):
        grpo(base, start(base, "a"), {}, Run(tmp_path), QUICK)


def test_it_goes_on_from_what_a_fleet_has_learnt(tmp_path):
    base = tiny_base()
    how = Settings(max_steps=3, per_device_train_batch_size=4, learning_rate=5e-3, rank=3, init="pissa", dropout=0)
    begun = fleet(base, {"a": sums()[:20]}, Run(tmp_path / "sft"), how, tasks={"a": ("sums",)})[0]
    assert begun.rank == 6  # its origin is folded in
    found = grpo(base, [begun], {"a": questions(Sums(), sums()[:20])}, Run(tmp_path / "rl"), QUICK)[0]
    assert found.card["init"] == "pissa" and (flat(found) != flat(begun)).any()


def test_an_encoder_decoder_learns_too(tmp_path):
    how = QUICK.model_copy(
        update={"max_steps": 12, "per_device_train_batch_size": 6, "num_generations": 8, "learning_rate": 2e-2}
    )
    base = tiny_t5()
    both = reinforce(tmp_path / "both", how, base=base)
    alone = reinforce(tmp_path / "alone", how, ("a",), base=base)["a"]
    torch.testing.assert_close(flat(both["a"]), flat(alone), rtol=1e-2, atol=1e-4)
    own = [row for row in rows(tmp_path / "both") if row["expert"] == "a"]
    assert own[0]["kl"] == pytest.approx(0, abs=1e-6) and own[-1]["kl"] > 1e-5
    assert max(row["reward"] for row in own[-4:]) > own[0]["reward"]
