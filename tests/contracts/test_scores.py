"""Every score of the drawer: one finite number a text, whatever stands beside it, the same twice; and how they are named."""

import json
import math

import pytest
import torch

from yosegi import registry
from yosegi.errors import Invalid, UnknownName
from yosegi.scores import Rule, Score, best, load, rule, share

SCORES = registry.names("scores")
TEXTS = [
    "鉄道とは、レールの上を走る乗り物である。",
    "The train runs on two rails of steel, and the rails run on.",
    "まだ早い。" * 40,
    "2+3=5",
    "\n  a\tline  \n",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each score, made once, from files made on the spot."""
    here = tmp_path_factory.mktemp("scores")
    rows = [{"text": f"鉄道 {i}", "label": 1} for i in range(3)] + [{"text": f"料理 {i}", "label": 0} for i in range(3)]
    (here / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    specs = {
        "keywords": "keywords{words=[鉄道,rails]}",
        "labelled": f"labelled{{path={here}/labels.jsonl}}",
        "perplexity": "perplexity{base=nano}",
        "likelihood_ratio": "likelihood_ratio{domain=nano,base=nano,windows=1}",
        "classifier": f"classifier{{model={classifier(here / 'bert')}}}",
    }
    return {name: load(specs.get(name, name)) for name in SCORES}


def classifier(folder):
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir()
    letters = sorted(set("".join(TEXTS)) - set(" \n\t"))
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=5 + len(letters), max_position_embeddings=32, **sizes)
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)
    model.save_pretrained(folder)
    return folder


def test_the_drawer_was_walked(made):
    assert len(SCORES) >= 6 and set(made) == set(SCORES)


@pytest.fixture(params=SCORES)
def score(request, made):
    return made[request.param]


def test_one_finite_number_a_text(score):
    result = score.of(TEXTS)
    assert len(result) == len(TEXTS) and all(isinstance(value, float) and math.isfinite(value) for value in result)
    assert score.best in ("high", "low") and score.name in SCORES


def test_it_makes_a_difference(score):
    if score.about().get("domain") == "nano":  # the same model on both sides: nothing to tell apart, and it says so
        assert score.of(TEXTS) == pytest.approx([0.0] * len(TEXTS))
    else:
        assert len(set(score.of(TEXTS))) > 1


def test_a_text_is_judged_alone(score):
    together = score.of(TEXTS)
    assert [score.of([text])[0] for text in TEXTS] == pytest.approx(together, rel=1e-4, abs=1e-5)
    assert score.of(TEXTS[::-1])[::-1] == pytest.approx(together, rel=1e-4, abs=1e-5)


def test_no_text_and_no_texts(score):
    assert score.of([]) == []
    (nothing,) = score.of([""])
    assert nothing is None or (score.name == "length" and nothing == 0)


def test_it_says_what_it_is(score):
    assert isinstance(score, Score)
    assert json.loads(json.dumps(score.about())) == score.about() and score.about()["name"] == score.name


def test_names_that_lead_nowhere():
    with pytest.raises(UnknownName, match="No score is called 'keyword'. Did you mean 'keywords'[?]"):
        load("keyword{words=x}")
    with pytest.raises(Invalid, match="keywords needs its words, as in keywords{words=WORDS}"):
        load("keywords")
    with pytest.raises(UnknownName, match="No argument of length is called 'to'"):
        load("length{to=3}")
    with pytest.raises(UnknownName, match="argument of perplexity is called 'window'. Did you mean 'windows'"):
        load("perplexity{base=nano,window=3}")
    with pytest.raises(Invalid, match="windows is of type int; many was given"):
        load("perplexity{base=nano,windows=many}")
    with pytest.raises(Invalid, match="'=' is expected"):
        load("perplexity{base=nano,windows")
    with pytest.raises(Invalid, match="Cannot reach"):
        load("no.such:Thing")


def test_one_from_outside():
    assert load("yosegi.scores.length:Length").of(["ab c"]) == [3.0]
    assert load("yosegi.scores.keywords:Keywords{words=[a b,c]}").weights == {"a b": 1.0, "c": 1.0}


def test_rules_as_they_are_written():
    high, low = load("length"), Score()
    low.name, low.best = "low", "low"
    assert rule(high, threshold=3) == Rule(low=3) and rule(low, threshold="3") == Rule(high=3)
    assert rule(low, threshold="2..5") == Rule(2, 5) and rule(low, threshold="2..") == Rule(low=2)
    assert rule(high, threshold="..-5e-1") == Rule(high=-0.5) and rule(high, 0.3) == Rule(keep=0.3)
    assert rule(high) == Rule() and Rule().passes(None) and Rule().passes(3.0)
    for bad in ("many", "..", "", "nan", "1..inf", "1..2..3"):
        with pytest.raises(Invalid, match="a number, or a range"):
            rule(high, threshold=bad)
    for bad in (0, -0.1, 1.1, float("nan")):
        with pytest.raises(Invalid, match="share of the pages"):
            rule(high, keep=bad)
    with pytest.raises(Invalid, match="not both"):
        rule(high, 0.5, 3)
    with pytest.raises(Invalid, match="ends before it begins"):
        rule(high, threshold="5..2")


def test_a_range_has_both_its_ends():
    kept = [v for v in (1.0, 2.0, 3.0, 5.0, 6.0, None) if Rule(2, 5).passes(v)]
    assert kept == [2.0, 3.0, 5.0]


def test_the_best_are_the_best_and_of_equal_ones_the_first():
    values = [3.0, 1.0, None, 3.0, 2.0, 3.0]
    assert best(values, 2, "high") == [True, False, False, True, False, False]
    assert best(values, 2, "low") == [False, True, False, False, True, False]
    assert best(values, 9, "high") == [True, True, False, True, True, True]


def test_a_share_is_whole_pages():
    assert [share(keep, pages) for keep, pages in ((0.3, 10), (0.3, 11), (1, 7), (0.001, 7), (0.5, 0))] == [
        3,
        4,
        7,
        1,
        0,
    ]
    assert all(share(k / 100, 100) == k for k in range(1, 101))
