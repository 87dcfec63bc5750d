"""Batched answers are the answers one gets one by one."""

import pytest
import torch

from tests.evaluation.conftest import nano, pair  # noqa: F401 - fixtures
from yosegi.core.model import attach
from yosegi.engine.generate import Draw, answer, cut, generate, sample
from yosegi.engine.rows import context_length
from yosegi.routers.arrow import Arrow
from yosegi.routers.oracle import Oracle
from yosegi.tasks import load


def one_by_one(base, prompt, steps):
    """The plainest loop: no cache, no padding."""
    ids = base.tokenizer(prompt).input_ids
    start = len(ids)
    with torch.no_grad():
        for _ in range(steps):
            token = int(base.model(torch.tensor([ids])).logits[0, -1].argmax())
            if token == base.tokenizer.eos_token_id:
                break
            ids.append(token)
    return base.tokenizer.decode(ids[start:], skip_special_tokens=True)


def prompts():
    return [e.prompt for name in ("add", "reverse", "capital") for e in load(f"skills/{name}").examples("test")[:4]]


def test_a_batch_is_the_loop(nano):  # noqa: F811
    expected = [one_by_one(nano, prompt, 12) for prompt in prompts()]
    assert generate(nano, prompts(), max_new_tokens=12, batch_size=5) == expected
    assert len(set(expected)) > 6


def test_with_experts_too(nano, pair):  # noqa: F811
    banks = attach(nano.model, pair, Arrow(top_k=1))
    nano.model.eval()
    try:
        expected = [one_by_one(nano, prompt, 8) for prompt in prompts()]
        assert generate(nano, prompts(), max_new_tokens=8, banks=banks, batch_size=5) == expected
    finally:
        banks.detach()
    assert generate(nano, prompts(), max_new_tokens=8) != expected


def test_each_sequence_keeps_its_task_when_prompts_are_sorted(nano, pair):  # noqa: F811
    tasks = ["skills/add", "skills/reverse"] * 6
    mixed = {}
    banks = attach(nano.model, pair, Oracle())
    nano.model.eval()
    try:
        together = generate(nano, prompts(), max_new_tokens=8, banks=banks, known={"tasks": tasks}, batch_size=5)
        for task in set(tasks):
            mixed[task] = generate(nano, prompts(), max_new_tokens=8, banks=banks, known={"tasks": [task] * 12})
    finally:
        banks.detach()
    assert together == [mixed[task][i] for i, task in enumerate(tasks)]
    assert mixed["skills/add"] != mixed["skills/reverse"]


def test_stop_strings_are_cut_off():
    assert cut("42\n\nQuestion: 7", ["\n\n", "Question"]) == "42"
    assert cut("42", []) == "42"


def test_a_prompt_longer_than_the_model_can_look_keeps_its_end(nano):  # noqa: F811
    long = "add " * 400 + prompts()[0]
    (answer,) = generate(nano, [long], max_new_tokens=4)
    assert isinstance(answer, str) and context_length(nano) < len(nano.tokenizer(long).input_ids)


def test_what_the_limit_cut_off_is_known_for_what_it_is(nano):  # noqa: F811
    whole = answer(nano, prompts(), max_new_tokens=24)
    assert [a.text for a in whole] == generate(nano, prompts(), max_new_tokens=24, batch_size=5)
    assert not any(a.truncated for a in whole)
    for limit in (1, 3):
        for short, long in zip(answer(nano, prompts(), max_new_tokens=limit, batch_size=5), whole, strict=True):
            assert short.truncated == (len(nano.tokenizer(long.text).input_ids) >= limit), (limit, short, long)
    stopped = answer(nano, prompts(), max_new_tokens=1, stop=[whole[0].text[0]])
    assert stopped[0] == ("", False)


def test_draws_are_their_own_whoever_is_beside(nano):  # noqa: F811
    ids = nano.tokenizer(prompts()).input_ids
    draws = [Draw(3, 4), Draw(5, 4), Draw(7, 4)]
    together = sample(nano, ids, draws, max_new_tokens=8)
    for n, draw in enumerate(draws):
        assert sample(nano, ids[4 * n : 4 * n + 4], [draw], max_new_tokens=8) == together[4 * n : 4 * n + 4]
    assert sample(nano, ids, draws, max_new_tokens=8, batch_size=5) == together
    assert sample(nano, ids, [Draw(4, 4), *draws[1:]], max_new_tokens=8)[4:] == together[4:]
    eos = nano.tokenizer.eos_token_id
    assert all(eos not in row[:-1] for row in together) and any(row[-1] == eos for row in together)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_are_from_the_softmax(nano, temperature):  # noqa: F811
    row = nano.tokenizer("sort 3142:").input_ids
    drawn = torch.tensor(sample(nano, [row] * 4000, [Draw(0, 4000)], max_new_tokens=1, temperature=temperature))[:, 0]
    with torch.no_grad():
        p_V = (nano.model(torch.tensor([row])).logits[0, -1] / temperature).softmax(-1)
    share_V = torch.bincount(drawn, minlength=len(p_V)) / len(drawn)
    error_V = (p_V * (1 - p_V) / len(drawn)).sqrt()
    assert ((share_V - p_V).abs() <= 4.5 * error_V + 1e-3).all()


def test_cold_draws_are_greedy(nano):  # noqa: F811
    ids = nano.tokenizer(prompts()).input_ids
    cold = sample(nano, ids, [Draw(0, len(ids))], max_new_tokens=8, temperature=1e-4)
    assert nano.tokenizer.batch_decode(cold, skip_special_tokens=True) == generate(nano, prompts(), max_new_tokens=8)
