"""A pass fits the free memory, or the training says before it begins what would; what is learnt is the same."""

from types import SimpleNamespace

import pytest
import torch

from tests.training.conftest import Sums, flat, sums, tiny_base, tiny_t5
from yosegi import files
from yosegi.errors import Invalid
from yosegi.estimate import memory
from yosegi.estimate.shapes import of_config
from yosegi.run import Run
from yosegi.training import fit as fits
from yosegi.training import fleet as fleets
from yosegi.training.fit import beyond, fit, plan, ways
from yosegi.training.fleet import fleet
from yosegi.training.grpo import grpo, questions
from yosegi.training.job import Job
from yosegi.training.settings import GrpoSettings, Settings

QUICK = Settings(rank=2, max_steps=3, learning_rate=1e-2, dropout=0)
ROWS = [{"input_ids": [1] * 100, "labels": [-100] * 50 + [1] * 50}] * 64


def smollm2(tmp_path, **settings):
    """A job beside a model of SmolLM2's sizes, without the model."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True,
    )  # fmt: skip
    job = Job(tiny_base(), Run(tmp_path), Settings(precision="fp32", **settings))
    job.base = SimpleNamespace(name="smollm2", model=SimpleNamespace(config=config), dtype="fp32", seq2seq=False)
    return job, of_config("smollm2", config)


def test_five_experts_with_eight_rows_each_fit_whatever_is_free(tmp_path, capsys):
    """5 x 8 rows of 102 tokens ended a process."""
    job, shape = smollm2(tmp_path)
    rows = [{"input_ids": [1] * 102, "labels": [-100] * 72 + [1] * 30}] * 40
    known = plan(job, rows, 8, method="fleet", rank=8, experts=5)
    chosen = []
    for gigabytes in (32, 8, 4, 1.5, 0.5):
        job, _ = smollm2(tmp_path)
        fit(job, known, int(gigabytes * 2**30))
        said = capsys.readouterr().err
        chosen.append((job.budget, job.checkpointing))
        taken = beyond(shape, fits.replace(known, tokens_per_pass=job.budget, checkpointing=job.checkpointing))
        assert taken <= gigabytes * 2**30
        assert said == "" if chosen[-1] == (4096, False) else said.count("\n") == 1 and f"{job.budget:,} tokens" in said
        assert ("computed again" in said) == job.checkpointing
    assert chosen == sorted(chosen, key=lambda way: (way[1], -way[0])) and len(set(chosen)) >= 4, "less and less"
    assert chosen[0] == (4096, False) and chosen[-1][1]
    with pytest.raises(Invalid, match=r"needs .* GB beside the base, and 0.1 GB are free"):
        fit(job, known, 2**30 // 10)


def test_what_is_asked_for_is_not_changed(tmp_path):
    for settings, some in (
        ({"tokens_per_pass": 700}, (700, True)),
        ({"activation_checkpointing": False}, (100, False)),
    ):
        job, _ = smollm2(tmp_path, **settings)
        tried = list(ways(job, memory.Job("lora", batch=64, length=100)))
        assert some in tried and all(
            len({way[n] for way in tried}) == 1 for n in (0, 1) if some[n] in settings.values()
        )


def test_a_shorter_length_is_advised_where_it_would_fit(tmp_path):
    job, shape = smollm2(tmp_path)
    known = plan(job, ROWS, 8, method="fleet", rank=8)
    half = beyond(shape, fits.replace(known, length=50, tokens_per_pass=1, checkpointing=True))
    with pytest.raises(Invalid, match="--max-length 50 would fit"):
        fit(job, known, half + 1)


def test_a_model_that_the_estimate_does_not_know_is_trained_as_asked(tmp_path):
    base = tiny_t5()
    assert plan(Job(base, Run(tmp_path), QUICK), ROWS, 8, method="fleet") is None


def test_a_small_pass_learns_the_same_and_says_so(tmp_path, monkeypatch, capsys):
    whole = fleet(tiny_base(), {"sums": sums()}, Run(tmp_path / "a"), QUICK)
    assert "tokens go through" not in capsys.readouterr().err
    least = []
    monkeypatch.setattr(fits, "free_memory", lambda _: 200_000)
    monkeypatch.setattr(fleets, "free_memory", lambda _: 10**9)
    fit_before = fits.fit
    monkeypatch.setattr(
        "yosegi.training.loop.fit", lambda job, known: (fit_before(job, known), least.append(job.budget))
    )
    cut = fleet(tiny_base(), {"sums": sums()}, Run(tmp_path / "b"), QUICK)
    assert least[0] < 100 and f"{least[0]} tokens go through the base at a time" in capsys.readouterr().err
    torch.testing.assert_close(flat(whole[0]), flat(cut[0]), rtol=1e-3, atol=1e-6)


def test_a_training_goes_on_with_the_pass_that_it_began_with(tmp_path):
    job, _ = smollm2(tmp_path)
    job.folder.mkdir(parents=True)
    files.write_json(
        job.folder / "state.json", {"identity": {}, "progress": {"tokens_per_pass": 96, "checkpointing": True}}
    )
    fit(job, memory.Job("lora", batch=64, length=100), 2**40)
    assert (job.budget, job.checkpointing) == (96, True)


def test_grpo_fits_too_and_never_computes_again(tmp_path, monkeypatch, base):
    settings = GrpoSettings(max_steps=1, num_generations=2, per_device_train_batch_size=1, max_completion_length=4)
    start = fleets.fresh_expert(base, settings, "e")
    monkeypatch.setattr(fits, "free_memory", lambda _: 1000)
    with pytest.raises(Invalid, match="This training needs"):
        grpo(base, [start], {"e": questions(Sums(), sums()[:2])}, Run(tmp_path), settings)
    job, _ = smollm2(tmp_path)
    assert not any(again for _, again in ways(job, memory.Job("grpo", length=100)))
