"""The likelihood of candidate texts against the full loop, and against padding and routing."""

from math import log

import pytest
import torch

from yosegi.core.mix import outputs
from yosegi.core.model import put
from yosegi.evaluate.weigh import weigh
from yosegi.routers.uniform import Uniform
from yosegi.tasks import Candidates, Example, Task, load


class Ranked(Task):
    """Two kinds of candidates, one of which some examples lack; `judge` tells what it was told."""

    name = "ranked"

    def candidates(self, example):
        some = {"short": Candidates(example.prompt, ("1", "12", "copy"))}
        return some | ({"long": Candidates("reverse abc:", ("cba", "1"))} if example.id != "1" else {})

    def judge(self, example, logps):
        return {f"{name} {place}": value for name, values in logps.items() for place, value in enumerate(values)}


def plain(base, prompt, text):
    before, after = base.tokenizer(prompt).input_ids, base.tokenizer(text, add_special_tokens=False).input_ids
    ids = torch.tensor([before + after])
    with torch.no_grad():
        logp = base.model(ids).logits[0].float().log_softmax(-1)
    return sum(logp[place - 1, ids[0, place]].item() for place in range(len(before), ids.shape[1]))


EXAMPLES = [Example(str(i), prompt, "x", ("x",)) for i, prompt in enumerate(("3+4=", "copy copy:", "max 1 2 12:"))]


def test_it_is_the_loop_whatever_the_batch(nano):
    for batch_size in (1, 4, 32):
        found = weigh(nano, Ranked(), EXAMPLES, batch_size=batch_size)
        for example, metrics in zip(EXAMPLES, found, strict=True):
            expected = {f"short {i}": plain(nano, example.prompt, text) for i, text in enumerate(("1", "12", "copy"))}
            if example.id != "1":
                expected |= {f"long {i}": plain(nano, "reverse abc:", text) for i, text in enumerate(("cba", "1"))}
            assert metrics == pytest.approx(expected, abs=1e-4)


def test_experts_are_heard(nano, pair):
    before = weigh(nano, Ranked(), EXAMPLES)
    banks = put(nano.model, pair, Uniform(), outputs)
    try:
        assert weigh(nano, Ranked(), EXAMPLES, banks=banks)[0] != pytest.approx(before[0], abs=1e-3)
    finally:
        banks.take()
    assert weigh(nano, Ranked(), EXAMPLES)[0] == pytest.approx(before[0], abs=1e-5)


def test_a_task_without_candidates_costs_nothing(nano):
    assert weigh(nano, load("skills/add"), load("skills/add").examples("test")[:2]) == [{}, {}]


def test_bits_per_character_are_of_the_passage_alone(nano, tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    (tmp_path / "corpus").mkdir()
    row = '{"id": "a", "split": "valid", "title": "reverse", "text": "copy abc and reverse it."}\n'
    (tmp_path / "corpus" / "tiny.jsonl").write_text(row)
    task = load("corpus/tiny")
    (example,) = task.examples("validation")
    (found,) = weigh(nano, task, [example])
    expected = -plain(nano, example.prompt, example.target) / log(2) / len(example.target)
    assert found == {"bits_per_character": pytest.approx(expected, abs=1e-4)}
