"""The likelihood of whole sentences against a loop over their tokens, and what a ranked task makes of it."""

import json

import pytest
import torch

from yosegi import files
from yosegi.bases import Base, load
from yosegi.errors import Invalid
from yosegi.evaluate import ranking
from yosegi.evaluate.arm import Arm
from yosegi.evaluate.measure import evaluate
from yosegi.evaluate.ranking import log_p, rank
from yosegi.run import Run
from yosegi.tasks import Nats, _ranking
from yosegi.tasks import load as load_task

WORDS = ["cat", "cat", "ｃａｔ", "elephant", "ox"]


def plain(base, text, context=None):
    """Token after token, each in a forward pass of its own over what stands before it."""
    ids = [base.tokenizer.eos_token_id, *base.tokenizer(text, add_special_tokens=False).input_ids]
    total = 0.0
    for place in range(1, len(ids)):
        half = (context or 10**6) // 2
        start = 0 if context is None or place < context else half * (1 + (place - context) // half)
        assert start == 0 or place - start >= half
        with torch.no_grad():
            logits = base.model(torch.tensor([ids[start:place]])).logits[0, -1]
        total += logits.float().log_softmax(-1)[ids[place]].item()
    return total, len(ids) - 1


def test_it_is_the_sum_of_the_steps_whatever_the_batch(nano):
    texts = ["a cat is small.", "踏切とは、道である。", "x", "a cat is small.", "an elephant is a very large animal."]
    expected = [plain(nano, text) for text in texts]
    for batch_size in (1, 3, 8):
        found = log_p(nano, texts, batch_size=batch_size)
        assert [one.tokens for one in found] == [tokens for _, tokens in expected]
        assert [one.sum for one in found] == pytest.approx([nats for nats, _ in expected], abs=2e-4)


def test_a_sentence_longer_than_the_model_is_read_in_windows(nano):
    text = "the quick brown fox jumps over the lazy dog; " * 12
    found, (nats, tokens) = log_p(nano, [text])[0], plain(nano, text, context=256)
    assert found.tokens == tokens > 512
    assert found.sum == pytest.approx(nats, rel=1e-5)


def test_equal_sentences_are_weighed_once(nano, monkeypatch):
    sizes, sft = [], ranking.sft
    monkeypatch.setattr(ranking, "sft", lambda m, b, t: sizes.append(len(b["input_ids"])) or sft(m, b, t))
    found = log_p(nano, ["same", "other", "same"])
    assert sizes == [2] and found[0] == found[2] != found[1]


def test_an_encoder_decoder_writes_the_sentence_from_nothing(t5):
    class Letters:
        eos_token_id, pad_token_id, bos_token_id = 1, 0, None

        def __call__(self, texts, add_special_tokens=True):
            one = lambda text: [ord(c) % 90 + 5 for c in text] + [1] * add_special_tokens  # noqa: E731
            ids = [one(text) for text in texts] if isinstance(texts, list) else one(texts)
            return type("Ids", (), {"input_ids": ids})

    found = log_p(Base("t5", "", t5, Letters()), ["abc", "defgh"])
    labels = torch.tensor([Letters()("defgh", add_special_tokens=False).input_ids])
    with torch.no_grad():
        logits = t5(input_ids=torch.tensor([[1]]), labels=labels).logits.log_softmax(-1)
    assert found[1] == pytest.approx((logits[0].gather(-1, labels[0, :, None]).sum().item(), 5), abs=1e-4)


def test_nothing_and_no_tokens(nano):
    assert log_p(nano, []) == []
    with pytest.raises(Invalid, match="no tokens"):
        log_p(nano, ["a", ""])


@pytest.fixture
def quiz(tmp_path):
    rows = [
        {"question": f"What is {n}?", "answer": "cat", "answers": ["Cat"], "choices": WORDS, "checked": n > 0,
         "statement_template": f"{{word}} means a thing of kind {n}."}
        for n in range(3)
    ]  # fmt: skip
    (tmp_path / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load_task(f"terms/{tmp_path}/quiz.jsonl/rank")


def test_a_ranked_task_is_what_the_loop_says(nano, quiz):
    examples = quiz.examples("test")
    scored, nats = rank(nano, quiz, examples, batch_size=5)
    for example, score, own in zip(examples, scored, nats, strict=True):
        assert example.meta["candidates"] == ["cat", "elephant", "ox"], "the spellings and the double are gone"
        template = example.meta["statement_template"]
        whole = [plain(nano, template.replace("{word}", word)) for word in example.meta["candidates"]]
        alone = [plain(nano, f"This is {word}.") for word in example.meta["candidates"]]
        by = {
            "sum": [total for total, _ in whole],
            "mean": [total / tokens for total, tokens in whole],
            "pmi": [total - other for (total, _), (other, _) in zip(whole, alone, strict=True)],
        }
        worth = {way: 1 / (1 + sum(v > values[0] for v in values)) for way, values in by.items()}
        assert score.value == worth["sum"]
        assert score.also == {"logp_mrr_mean": worth["mean"], "logp_mrr_pmi": worth["pmi"]}
        assert score.answer == example.meta["candidates"][max(range(3), key=by["sum"].__getitem__)]
        assert own[0].sum == pytest.approx(whole[0][0], abs=2e-4)


def test_rows_say_chance_rule_and_that_nobody_has_checked(nano, pair, quiz, tmp_path):
    run = Run(tmp_path / "r")
    rows = evaluate(nano, [Arm("base"), Arm("adder", pair[:1])], [quiz], run)
    by = {(row["model"], row["metric"]): row for row in rows}
    row = by["base", "logp_mrr"]
    assert row["chance"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3) == pytest.approx(_ranking.chance(3))
    assert row["rule"] == "normaliser 1" and row["remark"] == "1 of 3 questions are drafts that nobody has checked."
    assert {"logp_mrr_mean", "logp_mrr_pmi", "logp"} <= {metric for _, metric in by} and "logp_mrr_diff" in {
        metric for model, metric in by if model == "adder"
    }
    assert "chance" not in by["base", "logp"]
    items = files.read_jsonl(run.path / row["items"])
    assert row["value"] == pytest.approx(sum(item["score"] for item in items) / 3)
    for item in items:
        assert item["logp"] == pytest.approx(item["nats"][0][0] / item["nats"][0][1]) and len(item["nats"]) == 6
    assert by["base", "logp"]["value"] == pytest.approx(sum(item["logp"] for item in items) / 3)
    again = evaluate(nano, [Arm("base"), Arm("adder", pair[:1])], [quiz], run)
    assert again == json.loads(json.dumps(rows)), "known already"


def test_routers_are_told_about_each_sentence(nano, pair, quiz, monkeypatch):
    """An oracle hears its expert's sentences as that expert alone would."""
    examples = quiz.examples("test")
    pair[0].card["task"] = [quiz.name]
    alone, routed = Arm("adder", pair[:1]), Arm("oracle", pair, "oracle")
    with alone.beside(nano) as banks:
        _, expected = rank(nano, quiz, examples, banks=banks)
    with routed.beside(nano) as banks:
        known = routed.known(nano, banks, quiz.name, [e.prompt for e in examples])
        _, found = rank(nano, quiz, examples, banks=banks, known=known, batch_size=4)
    flat = lambda nats: [one.sum for own in nats for one in own]  # noqa: E731
    assert flat(found) == pytest.approx(flat(expected), abs=1e-3)
    assert flat(found) != pytest.approx(flat(rank(nano, quiz, examples)[1]), abs=1e-2), "the expert says something"


@pytest.mark.data
def test_real_terms_on_nano(tmp_path):
    base, task = load("nano", device="cpu"), load_task("terms/ja_railway_law/rank")
    examples = task.examples("test")
    assert {round(task.chance(example), 3) for example in examples} == {0.340}, "eight candidates each"
    scored, nats = rank(base, task, examples[:3])
    assert all(isinstance(one, Nats) and one.sum < 0 for own in nats for one in own)
    assert all(0.125 <= score.value <= 1 for score in scored)
    first = examples[0]
    text = task.sentences(first)[2]
    assert nats[0][2].sum == pytest.approx(plain(base, text, context=256)[0], rel=1e-4)
