"""From examples to text, in plain prompts and in a chat template, and from there to what is learnt, scored and asked."""

from dataclasses import replace

import pytest

from tests.training.conftest import tiny_base
from yosegi import Arm, Engine
from yosegi.bases import load
from yosegi.engine.chat import Template, ask, render, template_of
from yosegi.engine.generate import tokens
from yosegi.engine.request import Stop, stop_ids
from yosegi.engine.rows import tokenise
from yosegi.engine.score import score_answers, score_candidates, score_logprobs
from yosegi.errors import Invalid, NoData
from yosegi.objectives import IGNORED
from yosegi.tasks import Candidates, Example, Score, Task

SHOT, ASKED = Example("1", "1+1=", "2"), Example("2", "1+2=", " 3")
TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<unk>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
"""The special token <unk> of nano's tokenizer ends a turn."""
TURNS = (
    {"role": "user", "content": "1+1="},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "1+2="},
    {"role": "assistant", "content": "3"},
)


@pytest.fixture(scope="module")
def nano():
    return load("nano", device="cpu")


@pytest.fixture(scope="module")
def chatty(nano):
    return replace(nano, chat_template=TEMPLATE)


def test_without_a_template_the_text_is_the_prompt_as_it_is():
    assert render(ASKED)[:2] == ("1+2=", " 3")
    assert render(ASKED, [SHOT, SHOT])[:2] == ("1+1=2\n\n1+1=2\n\n1+2=", " 3")


def test_plainly_messages_take_the_place_of_prompt_and_target_where_there_are_none():
    assert render(Example("3", "", "", messages=TURNS))[:2] == ("1+1=\n\n2\n\n1+2=", "3")
    assert render(Example("3", "User: 1+2=", "3", messages=TURNS))[:2] == ("User: 1+2=", "3")


def test_in_a_template_the_prompt_is_a_turn_and_the_answer_brings_its_end(chatty):
    template = template_of(chatty)
    assert template is not None and template.end == "<unk>"
    assert render(ASKED, (), template) == ("[user]1+2=<unk>\n[assistant]", "3<unk>", True, ())
    shown = "[user]1+1=<unk>\n[assistant]2<unk>\n[user]1+2=<unk>\n[assistant]"
    assert render(ASKED, [SHOT], template) == (shown, "3<unk>", True, ())
    assert ask(chatty, "1+2=") == ask(chatty, ASKED) == ask(chatty, TURNS[2:3]) == "[user]1+2=<unk>\n[assistant]"


def test_a_text_without_a_prompt_stays_a_text(chatty):
    assert render(Example("4", "", "A text."), (), template_of(chatty)) == ("", "A text.", False, ())
    (row,) = tokenise(chatty, [Example("4", "", "A text.")], 99)
    assert row == tokenise(replace(chatty, chat_template=""), [Example("4", "", "A text.")], 99)[0]


def learnt(base, row):
    return base.tokenizer.decode(
        [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORED]
    )


def test_each_answer_of_a_conversation_is_learnt_and_nothing_else(chatty):
    (row,) = tokenise(chatty, [Example("5", "plain", "x", messages=TURNS)], 999)
    text = "[user]1+1=<unk>\n[assistant]2<unk>\n[user]1+2=<unk>\n[assistant]3<unk>"
    assert chatty.tokenizer.decode(row["input_ids"]) == text, "the end of the turn, and no end of text after it"
    assert learnt(chatty, row) == "2<unk>3<unk>"
    assert all(label in (IGNORED, token) for token, label in zip(row["input_ids"], row["labels"], strict=True))
    first = row["labels"].index(chatty.tokenizer.unk_token_id)  # where the first answer ends
    short = tokenise(chatty, [Example("5", "plain", "x", messages=TURNS)], len(row["input_ids"]) - first - 1)
    assert learnt(chatty, short[0]) == "3<unk>" and short.cut == {"prompt_start": 1}, (
        "cut from the left, labels with it"
    )


def test_whole_texts_are_no_conversation_unless_they_come_as_one(chatty):
    plain = tokenise(replace(chatty, chat_template=""), [ASKED], 99, "lm")
    assert tokenise(chatty, [ASKED], 99, "lm") == plain
    (row,) = tokenise(chatty, [Example("6", "", "", messages=TURNS[2:])], 99, "lm")
    assert chatty.tokenizer.decode(row["input_ids"]) == "[user]1+2=<unk>\n[assistant]3<unk>"


def test_a_template_without_a_mark_leaves_the_end_to_the_end_of_text(nano):
    base = replace(
        nano, chat_template="{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
    )
    (row,) = tokenise(base, [ASKED], 99)
    assert (
        Template(nano.tokenizer, base.chat_template).end == "" and row["input_ids"][-1] == nano.tokenizer.eos_token_id
    )
    assert stop_ids(base) == stop_ids(nano)


def test_the_end_of_a_turn_stops_and_empty_stop_strings_do_not(nano, chatty):
    mark = nano.tokenizer.unk_token_id
    assert stop_ids(chatty) == stop_ids(nano) | {mark} and mark not in stop_ids(nano)
    assert Stop(chatty, ("\n", "\n\nQ:")).strings == ("\n\nQ:",) and Stop(nano, ("\n",)).strings == ("\n",)


class Choices(Task):
    name, max_new_tokens = "choices", 4

    def score(self, example, prediction):
        return Score(float(prediction == example.target))

    def candidates(self, example):
        return {"letter": Candidates((" 3", " 4"), example.prompt), "text": Candidates(("3 4",))}

    def score_logprobs(self, example, logprobs):
        return Score(float(logprobs["letter"][0] > logprobs["letter"][1]))


def test_candidates_and_answers_are_scored_in_the_template(chatty):
    scored = score_candidates(chatty, Choices(), [ASKED])
    plain = replace(chatty, chat_template="")
    prompt = "[user]1+2=<unk>\n[assistant]"
    by_hand = score_logprobs(plain, [(prompt, "3"), (prompt, "4"), (None, "3 4")])
    found = [*scored.logprobs[0]["letter"], *scored.logprobs[0]["text"]]
    assert [one.mean for one in found] == pytest.approx([one.mean for one in by_hand], abs=1e-4)
    gold = score_logprobs(plain, [(prompt, "3<unk>")])[0].mean
    assert scored.answers[0] == pytest.approx(gold, abs=1e-4)
    assert score_answers(chatty, [ASKED])[0] == pytest.approx(gold, abs=1e-4)


def test_the_engine_asks_in_the_template_and_tells_routers_the_plain_text(chatty, monkeypatch):
    plain, prompt = replace(chatty, chat_template=""), "[user]1+2=<unk>\n[assistant]"
    told = []
    monkeypatch.setattr(Arm, "known", lambda self, base, banks, task, prompts: told.extend(prompts) or {})
    asked = Engine(chatty).generate("base", ["1+2=", [{"role": "user", "content": "1+2="}]], max_new_tokens=6)
    assert asked == Engine(plain).generate("base", [prompt, prompt], max_new_tokens=6)
    assert tokens(chatty, [ASKED]) == tokens(plain, [prompt])
    assert "".join(Engine(chatty).stream(Arm("base"), "1+2=", max_new_tokens=6)).strip() == asked[0].text.strip()
    assert not [text for text in told if "[user]" in text]


def test_a_text_that_is_to_go_on_is_read_plainly(chatty):
    passage, plain = replace(ASKED, chat=False), replace(chatty, chat_template="")
    assert ask(chatty, passage) == "1+2=" and tokenise(chatty, [passage], 99) == tokenise(plain, [ASKED], 99)
    assert (
        score_candidates(chatty, Choices(), [passage]).logprobs == score_candidates(plain, Choices(), [ASKED]).logprobs
    )


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('only users') }}", "does not take turns of user.*only users"),
        ("{% for m in", "does not take turns"),
        ("{{ messages[0]['nothing']['at'] }}", "does not take turns"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_line(nano, template, words):
    with pytest.raises(Invalid, match=words) as error:
        tokenise(replace(nano, chat_template=template), [ASKED], 99)
    assert "\n" not in str(error.value)


def test_a_template_that_rewrites_earlier_turns_is_refused(nano):
    rewriting = "{% for m in messages[-3:] %}[{{ m['role'] }}]{{ m['content'] }}<unk>{% endfor %}"
    with pytest.raises(Invalid, match="rewrites earlier turns"):
        tokenise(replace(nano, chat_template=rewriting), [Example("7", "", "", messages=(TURNS[0], *TURNS))], 99)


def test_which_template_is_used(nano, tmp_path, monkeypatch):
    (file := tmp_path / "chat.jinja").write_text(TEMPLATE)
    base = load("nano", device="cpu", chat_template=str(file))
    assert base.chat_template == TEMPLATE and nano.chat_template == "" and nano.reads == {}
    assert list(base.reads) == ["chat_template"] and len(base.reads["chat_template"]) == 8
    base.tokenizer.chat_template = TEMPLATE
    base.tokenizer.save_pretrained(tmp_path / "model")
    base.model.save_pretrained(tmp_path / "model")
    assert load(str(tmp_path / "model"), device="cpu").chat_template == TEMPLATE
    assert load(str(tmp_path / "model"), device="cpu", chat_template="none").chat_template == ""
    with pytest.raises(NoData, match="'chatml' is neither auto, none, nor a file"):
        load("nano", device="cpu", chat_template="chatml")


def test_encoder_decoders_and_bases_made_by_hand_are_plain():
    assert template_of(tiny_base()) is None
