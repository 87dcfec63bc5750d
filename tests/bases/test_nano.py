"""The base in the package: loads with no network, is what its card says, and is as skilled as experiments need it."""

import hashlib

import pytest
import torch

from yosegi.bases import Base, nano
from yosegi.engine.generate import generate
from yosegi.tasks.skills import Skills


def measure(model, tokenizer, task, size):
    """Greedy accuracy on the first test examples."""
    examples = task.examples("test")[:size]
    answers = generate(Base("nano", "", model, tokenizer), [example.prompt for example in examples], max_new_tokens=24)
    return sum(task.score(e, a.text).value for e, a in zip(examples, answers, strict=True)) / len(examples)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(nano.folder(), local_files_only=True)


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(nano.folder(), dtype=torch.float32, local_files_only=True)


def test_it_is_small_and_is_the_one_in_its_card():
    weights = nano.folder() / "model.safetensors"
    assert weights.stat().st_size <= 2_000_000
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in (nano.folder() / "README.md").read_text()


def test_every_text_comes_back_and_the_prompt_ends_where_a_token_ends(tokenizer):
    for part in Skills.parts():
        for example in Skills(part).examples("test"):
            apart = tokenizer(example.prompt).input_ids + tokenizer(example.target).input_ids
            assert apart == tokenizer(example.prompt + example.target).input_ids
            assert tokenizer.decode(apart) == example.prompt + example.target
            assert tokenizer.unk_token_id not in apart


def test_words_are_whole_and_letters_are_single(tokenizer):
    assert tokenizer.tokenize("capital of Japan:") == ["capital", " of", " Japan", ":"]
    assert tokenizer.tokenize("copy tenx:") == ["copy", " ", "t", "e", "n", "x", ":"]
    assert tokenizer.tokenize("りんごが3個") == ["りんごが", "3", "個"]
    assert tokenizer.eos_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id


@pytest.mark.parametrize("part", ["add", "copy", "capital"])
def test_it_is_good_at_its_skills(model, tokenizer, part):
    assert measure(model, tokenizer, Skills(part), 50) >= 0.9


@pytest.mark.parametrize("part", ["reverse", "sort", "shift"])
def test_it_has_something_to_learn(model, tokenizer, part):
    assert measure(model, tokenizer, Skills(part), 50) <= 0.6
