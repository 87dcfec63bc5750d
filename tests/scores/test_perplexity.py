import math

import pytest

from yosegi.scores._windows import window_logprobs, windows
from yosegi.scores.perplexity import Perplexity


@pytest.fixture(scope="module")
def score():
    return Perplexity("nano")


def test_it_is_the_mean_over_all_tokens_of_all_windows(score):
    text = "1+2=3 and " * 100
    pieces = windows(score.base, text, 4)
    assert len(pieces) > 1 and len(pieces[-1]) != len(pieces[0]), "windows of several lengths count by their tokens"
    assert score.of([text]) == [
        pytest.approx(math.exp(-sum(window_logprobs(score.base, pieces)) / sum(map(len, pieces))), rel=1e-4)
    ]


def test_what_the_model_has_learnt_surprises_it_less(score):
    learnt, noise = score.of(["sort: 4 2 9\n2 4 9", "q~Xv#9 |}zK@@ w%"])
    assert score.best == "low" and learnt < noise
    assert score.about()["base_hash"] == score.base.hash
