"""The public way to ask: one arm or many, at once or piece by piece."""

import pytest
import torch

import yosegi
from tests.engine.test_switch import library
from yosegi.engine.arm import Arm
from yosegi.engine.engine import Engine
from yosegi.engine.generate import Answer, generate
from yosegi.errors import Invalid

PROMPTS = ["add 12 and 34:", "reverse abc:", "sort 312:", "a"]


def arms(experts):
    a, b, c, d = experts
    return [
        Arm("base"), Arm("a", [a]), Arm("arrow", [a, b, d], "arrow", {"top_k": 1}), Arm("merged", [a, b], merge="ties"),
        Arm("oracle", [a, b], "oracle"), Arm("factors", [b, c], mix="factors"),
    ]  # fmt: skip


def one_arm(base, arm, prompts, task="task_0", **how):
    """As evaluation asks: nobody but this arm in the model."""
    with arm.attached(base) as banks:
        known = arm.known(base, banks, task, prompts)
        return generate(base, prompts, banks=banks, known=known, max_new_tokens=9, **how)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_an_arm_for_each_prompt(tiny, family):
    base = tiny(family)
    modules = dict(base.model.named_modules())
    asked = [(arm, prompt) for prompt in PROMPTS[:2] for arm in arms(library(base.model))]
    for how in ({}, {"temperature": 1.0, "seed": 3, "n": 2}):
        got = Engine(base).generate(
            [arm for arm, _ in asked], [prompt for _, prompt in asked], max_new_tokens=9, task="task_0", **how
        )
        assert got == [answer for arm, prompt in asked for answer in one_arm(base, arm, [prompt], **how)]
    assert dict(base.model.named_modules()) == modules


def test_one_arm_for_all(tiny):
    base = tiny("llama")
    done = []
    for arm in arms(library(base.model)):
        assert Engine(base).generate(arm, PROMPTS, max_new_tokens=9, task="task_0", advance=done.append) == one_arm(
            base, arm, PROMPTS
        )
    assert sum(done) == 6 * len(PROMPTS)
    assert yosegi.Engine(base).generate(arms(library(base.model))[0], []) == []
    with pytest.raises(Invalid, match="4 prompts need as many arms"):
        Engine(base).generate(arms(library(base.model)), PROMPTS)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_pieces_are_the_answer(tiny, family):
    base = tiny(family)
    for arm in arms(library(base.model))[:3]:
        (whole,) = Engine(base).generate(arm, PROMPTS[:1], max_new_tokens=20)
        pieces = list(Engine(base).stream(arm, PROMPTS[0], max_new_tokens=20))
        assert "".join(pieces) == whole.text and (len(pieces) > 5 or family == "t5")
        middle = whole.text[6:9]
        (cut,) = Engine(base).generate(arm, PROMPTS[:1], max_new_tokens=20, stop=[middle])
        assert cut == Answer(whole.text.split(middle)[0], False)
        assert "".join(Engine(base).stream(arm, PROMPTS[0], max_new_tokens=20, stop=[middle])) == cut.text


def test_a_stream_that_nobody_reads_to_its_end_leaves_the_model_as_it_was(tiny):
    base = tiny("llama")
    modules = dict(base.model.named_modules())
    stream = Engine(base).stream(arms(library(base.model))[2], PROMPTS[0])
    next(stream)
    assert dict(base.model.named_modules()) != modules
    stream.close()
    assert dict(base.model.named_modules()) == modules and not any(
        p.requires_grad is False for p in base.model.parameters()
    )


def test_features_of_a_prompt_are_those_of_the_base(tiny):
    base = tiny("llama")
    experts = library(base.model)
    learnt = {"|learnt.prototype_EF": torch.randn(4, 32, generator=torch.Generator().manual_seed(9))}
    arm = Arm("r", experts, "retrieval", {"top_k": 1}, learnt)
    got = Engine(base).generate(
        [arm, Arm("a", experts[:1])] * 4, [p for p in PROMPTS for _ in (0, 1)], max_new_tokens=9
    )
    assert got[::2] == one_arm(base, arm, PROMPTS)
