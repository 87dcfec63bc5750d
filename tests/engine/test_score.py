"""The one log-likelihood against a loop over tokens: after a prompt and alone, of every kind of model, under every router."""

import json
from contextlib import contextmanager
from math import log

import pytest
import torch

from tests.engine.test_rows import pieces_base
from tests.training.conftest import tiny_base
from yosegi import files
from yosegi.bases import Base, load
from yosegi.core.mix import outputs
from yosegi.core.model import attach
from yosegi.engine.arm import Arm
from yosegi.engine.score import score_answers, score_candidates, score_logprobs, sum_logprobs
from yosegi.errors import Invalid, NotFinite
from yosegi.evaluation.measure import evaluate
from yosegi.routers.uniform import Uniform
from yosegi.run import Run
from yosegi.tasks import Candidates, Example, LogProb, Score, Task
from yosegi.tasks import load as load_task
from yosegi.tasks.readers import ranking

WORDS = ["cat", "cat", "ｃａｔ", "elephant", "ox"]


class Ranked(Task):
    """Two kinds of candidates, one of which some examples lack; `score_logprobs` gives back what it was given."""

    name = "ranked"

    def candidates(self, example):
        some = {"short": Candidates(("1", "12", "copy"), example.prompt)}
        return some | ({"long": Candidates(("cba", "1"), "reverse abc:")} if example.id != "1" else {})

    def score_logprobs(self, example, logprobs):
        also = {
            f"{name} {place}": own.sum_logprob
            for name, several in logprobs.items()
            for place, own in enumerate(several)
        }
        return Score(0.0, None, also)


def metrics_of(*args, **settings):
    """What `score_logprobs` was given for each example."""
    return [score.metrics for score in score_candidates(*args, **settings).scores]


@contextmanager
def counted(base):
    """How many tokens each forward pass read, padding included."""
    read = []
    hook = base.model.get_input_embeddings().register_forward_hook(lambda _, seen, __: read.append(seen[0].numel()))
    try:
        yield read
    finally:
        hook.remove()


def continued(base, prompt, text):
    before, after = base.tokenizer(prompt).input_ids, base.tokenizer(text, add_special_tokens=False).input_ids
    ids = torch.tensor([before + after])
    with torch.no_grad():
        logp = base.model(ids).logits[0].float().log_softmax(-1)
    return sum(logp[place - 1, ids[0, place]].item() for place in range(len(before), ids.shape[1]))


EXAMPLES = [Example(str(i), prompt, "x", ("x",)) for i, prompt in enumerate(("3+4=", "copy copy:", "max 1 2 12:"))]


def test_it_is_the_loop_whatever_the_batch(nano):
    for batch_size in (1, 4, 32):
        found = metrics_of(nano, Ranked(), EXAMPLES, batch_size=batch_size)
        for example, metrics in zip(EXAMPLES, found, strict=True):
            expected = {
                f"short {i}": continued(nano, example.prompt, text) for i, text in enumerate(("1", "12", "copy"))
            }
            if example.id != "1":
                expected |= {f"long {i}": continued(nano, "reverse abc:", text) for i, text in enumerate(("cba", "1"))}
            assert metrics == pytest.approx(expected, abs=1e-4)


def test_experts_are_heard(nano, pair):
    before = metrics_of(nano, Ranked(), EXAMPLES)
    banks = attach(nano.model, pair, Uniform(), outputs)
    try:
        assert metrics_of(nano, Ranked(), EXAMPLES, banks=banks)[0] != pytest.approx(before[0], abs=1e-3)
    finally:
        banks.detach()
    assert metrics_of(nano, Ranked(), EXAMPLES)[0] == pytest.approx(before[0], abs=1e-5)


def test_a_task_without_candidates_costs_nothing(nano):
    add = load_task("skills/add")
    assert score_candidates(nano, add, add.examples("test")[:2])[:2] == ([None, None], [{}, {}])


def test_bits_per_character_are_of_the_passage_alone(nano, tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    (tmp_path / "corpus").mkdir()
    row = '{"id": "a", "split": "valid", "title": "reverse", "text": "copy abc and reverse it."}\n'
    (tmp_path / "corpus" / "tiny.jsonl").write_text(row)
    task = load_task("corpus/tiny")
    (example,) = task.examples("validation")
    (found,) = metrics_of(nano, task, [example])
    expected = -continued(nano, example.prompt, example.target) / log(2) / len(example.target)
    assert found == {"bits_per_character": pytest.approx(expected, abs=1e-4)}


def alone(texts):
    return [(None, text) for text in texts]


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
        found = score_logprobs(nano, alone(texts), batch_size=batch_size)
        assert [one.tokens for one in found] == [tokens for _, tokens in expected]
        assert [one.sum_logprob for one in found] == pytest.approx([total for total, _ in expected], abs=2e-4)


def test_a_sentence_longer_than_the_model_is_read_in_windows(nano):
    text = "the quick brown fox jumps over the lazy dog; " * 9
    found, (total, tokens) = score_logprobs(nano, alone([text]))[0], plain(nano, text, context=256)
    assert found.tokens == tokens > 384, "three windows"
    assert found.sum_logprob == pytest.approx(total, rel=1e-5)


def test_a_continuation_longer_than_the_model_is_read_in_windows_too(nano):
    """As if the prompt were the beginning of the text, whose own tokens are not asked."""
    prompt, text = "the quick brown fox", " jumps over the lazy dog;" * 20
    found, (nothing,) = score_logprobs(nano, [(prompt, text)])[0], score_logprobs(nano, [(prompt, "")])
    before, ids = nano.tokenizer(prompt).input_ids, nano.tokenizer(text, add_special_tokens=False).input_ids
    assert found.tokens == len(ids) > 256 and nothing == (0.0, 0)
    every, total, done = before + ids, 0.0, len(before)
    while done < len(every):
        start = max(0, done - 128)
        window = torch.tensor([every[start : start + 256]])
        with torch.no_grad():
            logp = nano.model(window).logits[0].float().log_softmax(-1)
        total += sum(logp[i - 1, window[0, i]].item() for i in range(done - start, window.shape[1]))
        done = start + window.shape[1]
    assert found.sum_logprob == pytest.approx(total, rel=1e-5)


def test_equal_sentences_are_read_once(nano):
    with counted(nano) as read:
        found = score_logprobs(nano, alone(["same", "other", "same"]))
    assert read == [2 * len("other")] and found[0] == found[2] != found[1]


def test_an_encoder_decoder_writes_the_sentence_from_nothing(t5):
    class Letters:
        eos_token_id, pad_token_id, bos_token_id = 1, 0, None

        def __call__(self, texts, add_special_tokens=True):
            one = lambda text: [ord(c) % 90 + 5 for c in text] + [1] * add_special_tokens  # noqa: E731
            ids = [one(text) for text in texts] if isinstance(texts, list) else one(texts)
            return type("Ids", (), {"input_ids": ids})

    found = score_logprobs(Base("t5", "", t5, Letters()), alone(["abc", "defgh"]))
    labels = torch.tensor([Letters()("defgh", add_special_tokens=False).input_ids])
    with torch.no_grad():
        logits = t5(input_ids=torch.tensor([[1]]), labels=labels).logits.log_softmax(-1)
    assert found[1] == pytest.approx((logits[0].gather(-1, labels[0, :, None]).sum().item(), 5), abs=1e-4)


def test_nothing_and_no_tokens(nano):
    assert score_logprobs(nano, []) == []
    with pytest.raises(Invalid, match="no tokens"):
        score_logprobs(nano, alone(["a", ""]))


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
    scored, logprobs, answers, cut = score_candidates(nano, quiz, examples, batch_size=5)
    assert answers == [own["statement"][0].mean for own in logprobs] and cut == {}
    for example, score, own in zip(examples, scored, logprobs, strict=True):
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
        assert score.metrics == {"logp_mrr_mean": worth["mean"], "logp_mrr_pmi": worth["pmi"]}
        assert score.answer == example.meta["candidates"][max(range(3), key=by["sum"].__getitem__)]
        assert own["statement"][0].sum_logprob == pytest.approx(whole[0][0], abs=2e-4)


def test_rows_say_chance_rule_and_that_nobody_has_checked(nano, pair, quiz, tmp_path):
    run = Run(tmp_path / "r")
    rows = evaluate(nano, [Arm("base"), Arm("adder", pair[:1])], [quiz], run)
    by = {(row["model"], row["metric"]): row for row in rows}
    row = by["base", "logp_mrr"]
    assert row["chance"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3) == pytest.approx(ranking.chance(3))
    assert row["rule"] == "normaliser 1" and row["remark"] == "1 of 3 questions are drafts that nobody has checked."
    assert {"logp_mrr_mean", "logp_mrr_pmi", "logp"} <= {metric for _, metric in by} and "logp_mrr_diff" in {
        metric for model, metric in by if model == "adder"
    }
    assert "chance" not in by["base", "logp"]
    items = files.read_jsonl(run.path / row["items"])
    assert row["value"] == pytest.approx(sum(item["score"] for item in items) / 3)
    for item in items:
        total, tokens = item["logprobs"]["statement"][0]
        assert item["logp"] == pytest.approx(total / tokens) and len(item["logprobs"]["neutral"]) == 3
    assert by["base", "logp"]["value"] == pytest.approx(sum(item["logp"] for item in items) / 3)
    again = evaluate(nano, [Arm("base"), Arm("adder", pair[:1])], [quiz], run)
    assert again == json.loads(json.dumps(rows)), "known already"


def test_routers_are_told_about_each_sentence(nano, pair, quiz, monkeypatch):
    """An oracle hears its expert's sentences as that expert alone would."""
    examples = quiz.examples("test")
    pair[0].card["task"] = [quiz.name]
    alone, routed = Arm("adder", pair[:1]), Arm("oracle", pair, "oracle")
    with alone.attached(nano) as banks:
        expected = score_candidates(nano, quiz, examples, banks=banks).logprobs
    with routed.attached(nano) as banks:
        known = routed.known(nano, banks, quiz.name, [e.prompt for e in examples])
        found = score_candidates(nano, quiz, examples, banks=banks, known=known, batch_size=4).logprobs
    flat = lambda all: [one.sum_logprob for own in all for some in own.values() for one in some]  # noqa: E731
    assert flat(found) == pytest.approx(flat(expected), abs=1e-3)
    assert flat(found) != pytest.approx(flat(score_candidates(nano, quiz, examples).logprobs), abs=1e-2), (
        "the expert says something"
    )


@pytest.mark.data
def test_real_terms_on_nano(tmp_path):
    base, task = load("nano", device="cpu"), load_task("terms/ja_railway_law/rank")
    examples = task.examples("test")
    assert {round(task.chance(example), 3) for example in examples} == {0.340}, "eight candidates each"
    scored, logprobs, *_ = score_candidates(base, task, examples[:3])
    every = [one for own in logprobs for some in own.values() for one in some]
    assert every and all(isinstance(one, LogProb) and one.sum_logprob < 0 for one in every)
    assert all(0.125 <= score.value <= 1 for score in scored)
    first = examples[0]
    text = task.candidates(first)["statement"].texts[2]
    assert logprobs[0]["statement"][2].sum_logprob == pytest.approx(plain(base, text, context=256)[0], rel=1e-4)


def plain_answer(base, example):
    prompt, target = base.tokenizer(example.prompt).input_ids, base.tokenizer(example.target).input_ids
    ids = torch.tensor([prompt + target + [base.tokenizer.eos_token_id]])
    with torch.no_grad():
        logp = base.model(ids).logits[0].float().log_softmax(-1)
    steps = [logp[place - 1, ids[0, place]].item() for place in range(len(prompt), ids.shape[1])]
    return sum(steps) / len(steps)


def test_answers_are_the_loop_whatever_the_batch(nano):
    examples = [e for name in ("add", "wp_en", "copy") for e in load_task(f"skills/{name}").examples("test")[:5]]
    expected = [plain_answer(nano, example) for example in examples]
    for batch_size in (1, 4, 15):
        assert score_answers(nano, examples, batch_size=batch_size) == pytest.approx(expected, abs=1e-4)
    generated = load_task("skills/add")
    assert score_candidates(nano, generated, examples).answers == pytest.approx(expected, abs=1e-4)


def test_what_the_context_cuts_of_answers_is_counted():
    base = tiny_base()
    examples = [Example("1", "1+2=" * 40, "3"), Example("2", "1+2=", "3")]
    scored = score_candidates(base, load_task("skills/add"), examples)
    assert scored.cut == {"prompt_start": 1} and len(scored.answers) == 2


def test_a_text_after_a_prompt_is_that_of_the_two_together():
    base = pieces_base("<s> $A </s>")
    logp = base.model(torch.tensor([[1, 4, 5]])).logits[0, -1].log_softmax(-1)
    found = score_logprobs(base, [("Answer:", " A"), ("Answer:", " B"), ("Answer: ", "A")])
    for one, token in zip(found, (6, 7, 6), strict=True):
        assert one == (pytest.approx(logp[token].item(), abs=1e-5), 1)


def test_a_prompt_cut_from_the_left_keeps_its_bos():
    base = pieces_base("<s> $A")
    base.model.config.max_position_embeddings = 6
    (found,) = score_logprobs(base, [("A B A B A B A B Answer:", " A")])
    whole = [6, 7] * 4 + [4, 5, 6]
    row = [1, *whole[len(whole) - 4 :]]  # BOS, half a context before what is asked for, and that
    expected = base.model(torch.tensor([row])).logits[0, -2].log_softmax(-1)[6].item()
    assert found == (pytest.approx(expected, abs=1e-5), 1)


def test_without_anything_that_begins_a_text_its_first_token_is_not_asked_for():
    base = pieces_base(eos=None)
    base.tokenizer.bos_token = None
    (found,) = score_logprobs(base, [(None, "Answer: A")])
    logp = base.model(torch.tensor([[4, 5, 6]])).logits[0].log_softmax(-1)
    assert found == (pytest.approx((logp[0, 5] + logp[1, 6]).item(), abs=1e-5), 2)


def test_packed_rows_are_told_where_documents_begin():
    base = tiny_base()
    ids, positions = [3, 4, 5, 6, 7, 8], [0, 1, 2, 0, 1, 2]
    (found,) = sum_logprobs(base, [{"input_ids": ids, "labels": [-100, 4, 5, -100, 7, 8], "position_ids": positions}])
    halves = [base.model(torch.tensor([ids[start : start + 3]])).logits[0].log_softmax(-1) for start in (0, 3)]
    expected = sum(half[i, ids[3 * n + i + 1]].item() for n, half in enumerate(halves) for i in (0, 1))
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_model_is_left_in_the_mode_it_was_in():
    base = tiny_base()
    base.model.train()
    row = {"input_ids": [3, 4], "labels": [-100, 4]}
    assert sum_logprobs(base, [row]) == sum_logprobs(base, [row]) and base.model.training


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_end_with_one_line_and_nothing_is_written(tmp_path, value):
    base, run = tiny_base(), Run(tmp_path / "r")
    with torch.no_grad():
        base.model.model.layers[1].mlp.down_proj.weight[0, 0] = value
    message = "^The logits of tiny are not finite: its weights hold NaN or infinity, or it overflows in float32.$"
    with pytest.raises(NotFinite, match=message):
        score_logprobs(base, [("1+", "2")])
    with pytest.raises(NotFinite, match=message):
        evaluate(base, [Arm("base")], [load_task("skills/add")], run, limit=3)
    assert not (run.path / "results.jsonl").exists() and not (run.path / "items").exists()
