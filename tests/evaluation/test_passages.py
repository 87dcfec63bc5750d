"""Passages are weighed and not continued, and two halves of a corpus share none."""

import json

import pytest

from yosegi.evaluation.passages import Passages, spread
from yosegi.tasks import Example, LogProb


@pytest.fixture
def corpus(tmp_path):
    rows = [{"id": str(n), "text": f"text number {n}", "split": "validation" if n % 2 else "train"} for n in range(20)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return f"file/{tmp_path}/texts.jsonl"


def test_a_passage_is_weighed_with_its_prompt(corpus):
    texts = Passages(corpus, most=2)
    some = texts.examples("test")
    assert len(some) == 2 and texts.candidates(some[0])["passage"].texts == (some[0].prompt + some[0].target,)
    score = texts.score_logprobs(some[0], {"passage": [LogProb(-6.0, 3)]})
    assert score.value == pytest.approx(0.1353, abs=1e-4)
    assert score.metrics["bits_per_character"] == pytest.approx(6 / 0.6931 / len(some[0].target), rel=1e-3)


def test_passages_are_taken_evenly():
    some = [Example(str(n), "", "x") for n in range(10)]
    assert [e.id for e in spread(some, 3)] == ["0", "4", "8"]
    assert spread(some, None) == some and spread(some, 20) == some


def test_what_one_measures_the_other_never_sees(corpus):
    every = {e.id for e in Passages(corpus).examples("validation")}
    measured, left = (
        {e.id for e in Passages(corpus, **how).examples("validation")} for how in ({"most": 2}, {"after": 2})
    )
    assert left and not left & measured and left | measured == every
    assert Passages(corpus, after=len(every)).examples("validation") == []
    assert {e.id for e in Passages(corpus, "train").examples("test")} & every == set()
