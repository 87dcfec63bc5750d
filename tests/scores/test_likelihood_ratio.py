"""The likelihood ratio against two models asked one after the other; an expert that has really learnt tells its domain."""

import pytest
import torch

from yosegi.bases import load
from yosegi.core.expert import Expert, Factors
from yosegi.core.model import attach
from yosegi.errors import Invalid, WrongBase
from yosegi.inits import fresh
from yosegi.library.store import Library
from yosegi.routers.uniform import Uniform
from yosegi.scores._windows import window_logprobs, windows
from yosegi.scores.likelihood_ratio import LikelihoodRatio

DOMAIN = ["zqzqzqzq", "zqzq zqzq", "qzqzqz"]
OTHER = ["sort: 4 2 9", "2+3=5", "copy: hello"]


@pytest.fixture(scope="module")
def nano():
    return load("nano", device="cpu")


@pytest.fixture(scope="module")
def library(nano, tmp_path_factory):
    """An expert that was taught one thing for a few steps."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("library")
    banks = attach(nano.model, [fresh(nano.model, "zq", rank=2, alpha=4)], Uniform())
    ids = torch.tensor(nano.tokenizer(["zqzqzqzqzqzq"], add_special_tokens=False)["input_ids"])
    optimizer = torch.optim.Adam(banks.parameters().values(), 1e-2)
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(nano.model(input_ids=ids).logits[0, :-1], ids[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    (expert,) = banks.experts()
    banks.detach()
    factors = {layer: Factors(f.A_RI.clone(), f.B_OR.clone(), f.scale) for layer, f in expert.factors.items()}
    Library(path, nano.hash, "nano").add(Expert("zq", factors, {"task": ["zq"], "base_hash": nano.hash}))
    return path


def test_an_expert_tells_its_domain(library):
    score = LikelihoodRatio(str(library / "zq"), "nano")
    domain, other = score.of(DOMAIN), score.of(OTHER)
    assert score.best == "high" and min(domain) > max(max(other), 0)


def test_it_is_the_difference_of_two_models(nano, library):
    score, text = LikelihoodRatio(str(library / "zq"), "nano", windows=2), "zqzq and 1+2=3. " * 60
    pieces = windows(nano, text, 2)
    alone, tokens = sum(window_logprobs(nano, pieces)), sum(map(len, pieces))
    banks = attach(nano.model, [Library(library)["zq"]], Uniform())
    nano.model.eval()
    try:
        attached = sum(window_logprobs(nano, pieces))
    finally:
        banks.detach()
    assert len(pieces) == 2 and abs(alone - attached) > 1
    assert score.of([text]) == [pytest.approx((attached - alone) / tokens, rel=1e-3)]


def test_a_whole_model_may_be_the_domain(nano, tmp_path):
    nano.model.save_pretrained(tmp_path / "same")
    nano.tokenizer.save_pretrained(tmp_path / "same")
    assert LikelihoodRatio(str(tmp_path / "same"), "nano").of(DOMAIN) == pytest.approx([0, 0, 0], abs=1e-6)


def test_what_cannot_be_compared(nano, library, tmp_path):
    nano.model.save_pretrained(tmp_path / "other")
    tokenizer = load("nano", device="cpu").tokenizer
    tokenizer.add_tokens(["新"])
    tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(Invalid, match="different tokenizers"):
        LikelihoodRatio(str(tmp_path / "other"), "nano")
    changed = load("nano", device="cpu")
    with torch.no_grad():
        changed.model.get_input_embeddings().weight += 1
    changed.model.save_pretrained(tmp_path / "changed")
    changed.tokenizer.save_pretrained(tmp_path / "changed")
    with pytest.raises(WrongBase):
        LikelihoodRatio(str(library / "zq"), str(tmp_path / "changed"))
