"""Batched answers are the answers one gets one by one."""

import pytest
import torch

from tests.engine.conftest import one_by_one
from yosegi.core.model import attach
from yosegi.engine.generate import Answer, generate, loop_of, sample, why_not_paged
from yosegi.engine.rows import context_length
from yosegi.routers.arrow import Arrow
from yosegi.routers.oracle import Oracle
from yosegi.tasks import load


def prompts():
    return [e.prompt for name in ("add", "reverse", "capital") for e in load(f"skills/{name}").examples("test")[:4]]


def texts(base, prompts, **how):
    return [answer.text for answer in generate(base, prompts, **how)]


def plainly(base, prompt, steps):
    ids, _ = one_by_one(base, base.tokenizer(prompt).input_ids, steps)
    return base.tokenizer.decode(ids, skip_special_tokens=True)


def test_a_batch_is_the_loop(nano):
    expected = [plainly(nano, prompt, 12) for prompt in prompts()]
    assert texts(nano, prompts(), max_new_tokens=12, rows=5) == expected
    assert len(set(expected)) > 6


def test_with_experts_too(nano, pair):
    banks = attach(nano.model, pair, Arrow(top_k=1))
    nano.model.eval()
    try:
        expected = [plainly(nano, prompt, 8) for prompt in prompts()]
        assert texts(nano, prompts(), max_new_tokens=8, banks=banks, rows=5) == expected
    finally:
        banks.detach()
    assert texts(nano, prompts(), max_new_tokens=8) != expected


def test_each_sequence_keeps_its_task_when_prompts_are_sorted(nano, pair):
    tasks = ["skills/add", "skills/reverse"] * 6
    mixed = {}
    banks = attach(nano.model, pair, Oracle())
    nano.model.eval()
    try:
        together = texts(nano, prompts(), max_new_tokens=8, banks=banks, known={"tasks": tasks}, rows=5)
        for task in set(tasks):
            mixed[task] = texts(nano, prompts(), max_new_tokens=8, banks=banks, known={"tasks": [task] * 12})
    finally:
        banks.detach()
    assert together == [mixed[task][i] for i, task in enumerate(tasks)]
    assert mixed["skills/add"] != mixed["skills/reverse"]


def test_a_prompt_longer_than_the_model_can_look_keeps_its_end(nano):
    long = "add " * 400 + prompts()[0]
    (answer,) = texts(nano, [long], max_new_tokens=4)
    assert isinstance(answer, str) and context_length(nano) < len(nano.tokenizer(long).input_ids)


def test_what_the_limit_cut_off_is_known_for_what_it_is(nano):
    whole = generate(nano, prompts(), max_new_tokens=24)
    assert [a.text for a in whole] == texts(nano, prompts(), max_new_tokens=24, rows=5)
    assert not any(a.truncated for a in whole)
    for limit in (1, 3):
        for short, long in zip(generate(nano, prompts(), max_new_tokens=limit, rows=5), whole, strict=True):
            assert short.truncated == (len(nano.tokenizer(long.text).input_ids) >= limit), (limit, short, long)
    stopped = generate(nano, prompts(), max_new_tokens=1, stop=[whole[0].text[0]])
    assert stopped[0] == Answer("", False)


def test_draws_are_their_own_whoever_is_beside(nano):
    ids = nano.tokenizer(prompts()).input_ids
    seeds = [3, 3, 5, 5, 7, 7, "a/1", "a/1", 9, 9, 9, 9]
    together = sample(nano, ids, seeds, n=2, max_new_tokens=8)
    assert sample(nano, ids, seeds, n=2, max_new_tokens=8, rows=5) == together
    for i in range(12):
        assert sample(nano, [ids[i]], [seeds[i]], n=2, max_new_tokens=8) == together[2 * i : 2 * i + 2]
    assert [row[:1] for row in sample(nano, ids, seeds, n=1, max_new_tokens=8)] == [row[:1] for row in together[::2]]
    assert sample(nano, ids, [4, *seeds[1:]], n=2, max_new_tokens=8)[2:] == together[2:]
    eos = nano.tokenizer.eos_token_id
    assert all(eos not in row[:-1] for row in together) and any(row[-1] == eos for row in together)
    assert together[::2] != together[1::2]  # two draws of one prompt are two draws


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_are_from_the_softmax(nano, temperature):
    row = nano.tokenizer("sort 3142:").input_ids
    drawn = sample(nano, [row], [0], n=4000, max_new_tokens=1, temperature=temperature)
    with torch.no_grad():
        p_V = (nano.model(torch.tensor([row])).logits[0, -1] / temperature).softmax(-1)
    share_V = torch.bincount(torch.tensor(drawn)[:, 0], minlength=len(p_V)) / len(drawn)
    error_V = (p_V * (1 - p_V) / len(drawn)).sqrt()
    assert ((share_V - p_V).abs() <= 4.5 * error_V + 1e-3).all()


def test_cold_draws_are_greedy(nano):
    ids = nano.tokenizer(prompts()).input_ids
    cold = sample(nano, ids, range(len(ids)), n=1, max_new_tokens=8, temperature=1e-4)
    assert nano.tokenizer.batch_decode(cold, skip_special_tokens=True) == texts(nano, prompts(), max_new_tokens=8)


HOSTILE = [
    {"no_repeat_ngram_size": 2}, {"encoder_no_repeat_ngram_size": 2}, {"min_new_tokens": 8}, {"min_length": 40},
    {"repetition_penalty": 1.3}, {"encoder_repetition_penalty": 1.5}, {"exponential_decay_length_penalty": [1, 3.0]},
    {"return_dict_in_generate": True, "output_scores": True}, {"stop_strings": ["1", "a", "e"]}, {"max_time": 1e-9},
    {"suppress_tokens": list(range(20, 90, 2))}, {"begin_suppress_tokens": list(range(20, 90))},
    {"bad_words_ids": [[n] for n in range(20, 90, 3)]}, {"sequence_bias": [[[n], 9.0] for n in range(20, 90, 5)]},
    {"forced_bos_token_id": 40}, {"forced_eos_token_id": 41, "max_length": 12}, {"max_length": 3}, {"max_new_tokens": 1},
    {"do_sample": True, "temperature": 9.0}, {"do_sample": True, "top_k": 2}, {"do_sample": True, "top_p": 0.2},
    {"do_sample": True, "min_p": 0.5, "typical_p": 0.3}, {"do_sample": True, "num_return_sequences": 2},
    {"num_beams": 3, "length_penalty": 4.0, "early_stopping": True}, {"guidance_scale": 3.0}, {"renormalize_logits": True},
    {"prompt_lookup_num_tokens": 3}, {"cache_implementation": "static"}, {"use_cache": False}, {"token_healing": True},
]  # fmt: skip
"""What a checkpoint's generation_config.json may say, and what nobody asked for."""


@pytest.mark.parametrize(
    ("family", "temperature"), [("llama", 0.05), ("t5", 0.5)]
)  # where a few tokens have nearly all
def test_whatever_lies_in_the_folder_greedy_is_greedy_and_a_draw_is_from_the_softmax(tiny, family, temperature):
    from transformers import GenerationConfig

    base = tiny(family)
    clean = base.model.generation_config
    ids = base.tokenizer(prompts()).input_ids

    def draw(n=2000):
        return sample(base, ids[:1], [0], n=n, max_new_tokens=1, temperature=temperature)

    greedy, draws = texts(base, prompts(), max_new_tokens=12), draw()
    with torch.no_grad():
        start = {"decoder_input_ids": torch.tensor([[0]])} if base.seq2seq else {}
        p_V = (base.model(torch.tensor(ids[:1]), **start).logits[0, -1] / temperature).softmax(-1)
    share_V = torch.bincount(torch.tensor(draws)[:, 0], minlength=len(p_V)) / len(draws)
    assert (share_V - p_V).abs().sum() / 2 <= 0.05 and p_V.max() < 0.9
    for hostile in HOSTILE:
        base.model.generation_config = GenerationConfig(**{**clean.to_dict(), **hostile})
        assert texts(base, prompts(), max_new_tokens=12) == greedy, hostile
        assert draw(100) == draws[:100], hostile


def test_only_the_tokens_that_end_a_text_are_taken_from_it(tiny):
    base = tiny("llama")
    whole = sample(base, [[5, 6, 7]], [0], n=4, max_new_tokens=12, temperature=1e-3)[0]
    base.model.generation_config.eos_token_id = [1, whole[4]]
    again = sample(base, [[5, 6, 7]], [0], n=4, max_new_tokens=12, temperature=1e-3)[0]
    assert again == whole[: whole.index(whole[4]) + 1] and len(again) < 12


def test_an_empty_prompt_and_no_prompts(nano):
    assert generate(nano, [], max_new_tokens=3) == []
    assert isinstance(generate(nano, [""], max_new_tokens=3)[0].text, str)


def test_which_loop_a_model_has_is_said(tiny):
    assert {family: why_not_paged(tiny(family).model) for family in ("llama", "t5", "mamba", "bloom")} == {
        "llama": "",
        "t5": "it is an encoder-decoder",
        "mamba": "it keeps a state instead of keys and values",
        "bloom": "its attention has no exchangeable part",
    }


def test_the_loop_of_a_folder_is_known_without_its_weights(tiny, tmp_path):
    for family, words in (
        ("llama", "continuous batching"),
        ("mamba", "plain batches: it keeps a state"),
        ("t5", "plain batches: "),
    ):
        tiny(family).model.config.save_pretrained(tmp_path / family)
        assert loop_of(str(tmp_path / family)).startswith(words)
