"""What is counted is exact; activations are within a stated share of what torch really keeps."""

import dataclasses

import pytest
import torch

from tests.conftest import each
from tests.estimate.conftest import config, kept
from yosegi.errors import Invalid, UnknownName
from yosegi.estimate.memory import COPIES, Job, activations, held, moving, moving_params, nf4, predict
from yosegi.estimate.shapes import of_config, preset
from yosegi.optimizers.adamw import adamw

WITHIN = 0.04
TINY = {"rank": 4, "batch": 4, "length": 48}
JOBS = [
    Job("full", **TINY),
    Job("full", bf16=True, **TINY),
    Job("full", embeddings=True, **TINY),
    Job("full", embeddings=True, bf16=True, **TINY),
    Job("full", embeddings=True, dtype="bf16", bf16=True, **TINY),
    Job("lora", **TINY),
    Job("lora", dropout=0, **TINY),
    Job("lora", targets="ffn", **TINY),
    Job("lora", targets="attention", dropout=0, **TINY),
    Job("lora", bf16=True, **TINY),
    Job("lora", dtype="bf16", bf16=True, **TINY),
    Job("loramoe", experts=5, **TINY),
    Job("loramoe", experts=5, targets="ffn", dropout=0, **TINY),
    Job("loramoe", experts=5, bf16=True, **TINY),
    Job("fleet", experts=4, **TINY | {"batch": 1}),
]


def called(job):
    return f"{job.method}{'-all' * job.embeddings}-{job.targets}-{job.dtype}-{'bf16' if job.bf16 else 'fp32'}-{job.dropout}"


def logp(shape, job):
    """What the loss keeps: log p of every word, of all tokens but each row's first."""
    return (job.at_once - job.at_once // job.length) * shape.vocab * 4


@pytest.mark.parametrize("job", JOBS, ids=called)
def test_activations_are_those_that_torch_keeps(measured, job):
    shape = of_config("tiny", config())
    _, _, really, _ = measured(job)
    assert activations(shape, job)[0] + logp(shape, job) == pytest.approx(really, rel=WITHIN)


@pytest.mark.parametrize(("changes", "factor"), [({"hidden_size": 192}, 1.5), ({"num_hidden_layers": 6}, 1.7)])
def test_they_grow_as_torch_s_do(measured, changes, factor):
    job = Job("lora", **TINY)
    small, large = (of_config("tiny", config(**c)) for c in ({}, changes))
    really = [measured(job, **c)[2] for c in ({}, changes)]
    assert really[1] > factor * really[0]
    guessed = [activations(shape, job)[0] + logp(shape, job) for shape in (small, large)]
    assert guessed[1] / guessed[0] == pytest.approx(really[1] / really[0], rel=WITHIN)


def test_checkpointing_keeps_the_blocks_inputs(measured):
    job = Job("lora", checkpointing=True, **TINY)
    shape = of_config("tiny", config())
    model, batch, _, _ = measured(dataclasses.replace(job, checkpointing=False))
    model.gradient_checkpointing_enable({"use_reentrant": False})
    really, _ = kept(model, batch, False)
    every, one = activations(shape, job)
    assert every - one + logp(shape, job) == pytest.approx(really, rel=0.1)
    assert every < 0.6 * activations(shape, dataclasses.replace(job, checkpointing=False))[0]


@pytest.mark.parametrize("job", JOBS, ids=called)
def test_weights_gradients_and_state_are_exact(measured, job):
    shape = of_config("tiny", config())
    model, _, _, loss = measured(job)
    moves = [p for p in model.parameters() if p.requires_grad]
    optimizer = adamw(moves, 1e-3)
    loss.backward()
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    if job.method == "full" and not job.embeddings:  # they are put back
        weights += sum(p.numel() * p.element_size() for p in moves)
    gradients = sum(p.grad.numel() * p.grad.element_size() for p in moves)
    optimizer.step()
    state = sum(v.numel() * v.element_size() for s in optimizer.state.values() for v in s.values())
    assert held(shape, job) == (weights, gradients, state)
    assert moving_params(shape, job) == sum(p.numel() for p in moves)


def test_four_bits_are_counted_to_the_byte():
    bnb = pytest.importorskip("bitsandbytes", reason="bitsandbytes comes with yosegi-lora[quant] and yosegi-lora[dev]")
    for O, I in ((128, 320), (64, 64), (96, 1000)):
        packed = bnb.nn.Params4bit(torch.randn(O, I), quant_type="nf4", compress_statistics=True).to("cpu")
        q = packed.quant_state
        parts = [packed.data, q.absmax, q.code, q.offset, q.state2.absmax, q.state2.code]
        assert nf4(O * I) == sum(t.numel() * t.element_size() for t in parts)


def test_galore_keeps_a_projector_and_two_small_moments():
    """m r + 2 r n of an m x n linear, m <= n (arXiv:2403.03507, table 1), by hand."""
    shape = preset("60m")
    weights, gradients, state = held(shape, Job("galore", embeddings=True, rank=128, dtype="bf16"))
    square, wide = 512 * 128 + 2 * 128 * 512, 512 * 128 + 2 * 128 * 1376
    rest = 2 * 32000 * 512 + 17 * 512
    assert state == 2 * (8 * (4 * square + 3 * wide) + 2 * rest)
    assert weights == gradients == 2 * shape.params
    per_layer = held(shape, Job("galore-per-layer", embeddings=True, rank=128, dtype="bf16"))
    assert per_layer == (weights, 2 * 32000 * 512, state)  # one gradient at a time: the largest


def test_apollo_keeps_no_projector():
    """2 r n of an m x n linear in fp32 and a length; two moments of all else; a count of every tensor."""
    shape = preset("60m")
    weights, gradients, state = held(shape, Job("apollo", embeddings=True, rank=32, dtype="bf16"))
    linears = 8 * (4 * 2 * 32 * 512 + 3 * 2 * 32 * 1376)
    assert state == 4 * (linears + 2 * (2 * 32000 * 512 + 17 * 512) + 8 * 7 + shape.tensors)
    assert weights == gradients == 2 * shape.params


def test_full_rank_galore_is_no_saving():
    shape = preset("60m")
    assert held(shape, Job("galore", embeddings=True, rank=10**6))[2] > held(shape, Job("full", embeddings=True))[2]


def test_the_peak_is_the_worst_moment_and_no_sum():
    shape = preset("350m")
    full = predict(shape, Job("full", embeddings=True, batch=1, length=128))
    assert full.peak < sum(v for k, v in vars(full).items() if k != "peak")
    assert full.peak >= full.weights + full.optimizer + full.gradients
    many = predict(shape, Job("full", embeddings=True, batch=32, length=1024, tokens_per_pass=32 * 1024))
    assert many.peak == many.weights + many.optimizer + many.activations + many.logits


def test_passes_bound_what_a_fleet_keeps():
    shape = preset("130m")
    few, many = (predict(shape, Job("fleet", experts=n, batch=4, length=256)) for n in (4, 64))
    assert few.activations == many.activations and many.weights > few.weights


@each(
    "wrong, error",
    [
        ({"method": "lorra"}, UnknownName),
        ({"dtype": "8bit"}, UnknownName),
        ({"method": "full", "dtype": "4bit"}, Invalid),
        ({"rank": 0}, Invalid),
        ({"answers": 0.0}, Invalid),
    ],
)
def test_what_cannot_be_is_refused(wrong, error):
    with pytest.raises(error):
        Job(**wrong)


def test_an_evaluation_keeps_one_block_and_the_logits_of_a_pass():
    shape = preset("60m")
    few, many = (predict(shape, Job("eval", batch=n, length=64, experts=4, answers=0.5)) for n in (1, 64))
    assert few.gradients == few.optimizer == 0 and few.weights == many.weights
    assert many.peak == many.weights + many.activations + many.logits and many.logits == 64 * few.logits


def test_what_a_cpu_s_allocator_loses_does_not_depend_on_checkpointing():
    shape = preset("60m")
    plain, again = (predict(shape, Job("lora", batch=4, length=64, checkpointing=c)) for c in (False, True))
    assert plain.gaps == again.gaps > 0 and predict(shape, Job("lora", device="cuda")).gaps == 0


def test_a_pass_is_as_large_as_it_is_said():
    shape = preset("60m")
    whole, cut = (predict(shape, Job("lora", batch=16, length=64, tokens_per_pass=n)) for n in (1024, 256))
    assert cut.activations == pytest.approx(whole.activations / 4, rel=0.01) and cut.weights == whole.weights


def test_grpo_holds_the_keys_and_values_of_all_answers():
    shape = preset("60m")
    job = Job("grpo", batch=2, generations=4, length=64)
    assert predict(shape, job).cache == 8 * 64 * 8 * 2 * 512 * 4


def test_a_fleet_counts_with_the_same_copies():
    assert moving(10) == 10 * 4 * COPIES
