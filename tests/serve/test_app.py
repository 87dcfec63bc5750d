"""What clients see: OpenAI's own client, models, answers, streams and errors."""

import pytest

from tests.conftest import each
from yosegi.engine.engine import Engine
from yosegi.engine.spec import parse_arm

ARMS = ["base", "adder", "turner*.7+copier*.3", "arrow{top_k=2}", "merge:ties(adder,turner)", "spectr(adder,copier)"]
TALK = [{"role": "user", "content": "1+2="}]


def test_every_arm_answers_as_the_engine_does_alone(nano, library, serving):
    prompts = ["1+2=", "reverse abcdef: ", "copy xy"]
    engine = Engine(nano)
    expected = {
        (arm, prompt): engine.generate(parse_arm(arm, library), [prompt], max_new_tokens=12)[0].text
        for arm in ARMS
        for prompt in prompts
    }
    assert len(set(expected.values())) > len(expected) / 2
    client = serving(library).openai
    for (arm, prompt), text in expected.items():
        made = client.completions.create(model=arm, prompt=prompt, max_tokens=12, temperature=0)
        assert made.choices[0].text == text, (arm, prompt)
        pieces = client.completions.create(model=arm, prompt=prompt, max_tokens=12, temperature=0, stream=True)
        assert "".join(piece.choices[0].text for piece in pieces) == text


def test_models_are_listed_with_what_they_are(library, serving):
    client = serving(library).openai
    models = {model.id: model for model in client.models.list()}
    assert set(models) == {"nano", "adder", "turner", "copier"}
    assert models["nano"].yosegi["kind"] == "base" and models["turner"].yosegi == {
        "kind": "expert", "rank": 4, "tasks": ["skills/turner"],
    }  # fmt: skip
    assert client.models.retrieve("adder").id == "adder"


def test_an_unknown_arm_is_a_404_that_says_what_was_near(library, serving):
    from openai import NotFoundError

    client = serving(library).openai
    with pytest.raises(NotFoundError, match="Did you mean 'adder'"):
        client.completions.create(model="addr", prompt="1")
    with pytest.raises(NotFoundError, match="Did you mean 'turner'"):
        client.chat.completions.create(model="arrow(turne)", messages=TALK)


def test_a_chat_streams_and_says_what_it_used(library, serving):
    client = serving(library).openai
    whole = client.chat.completions.create(model="turner", messages=TALK, max_tokens=8, temperature=0)
    stream = client.chat.completions.create(
        model="turner", messages=TALK, max_tokens=8, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.usage == whole.usage and last.usage.completion_tokens > 0 and not last.choices


@each(
    "body, status, words",
    [
        ({"prompt": "1"}, 400, "model"),
        ({"model": "base"}, 400, "prompt: Field required"),
        ({"model": "base", "prompt": []}, 400, "empty"),
        ({"model": "base", "prompt": "1", "temprature": 0}, 400, "Did you mean 'temperature'"),
        ({"model": "base", "prompt": "1", "temperature": 3}, 400, "temperature"),
        ({"model": "base", "prompt": "1", "presence_penalty": 1}, 400, "presence_penalty is not supported"),
        ({"model": "base", "prompt": "1", "n": 0}, 400, "n: "),
        ({"model": "base", "prompt": "1", "stop": ["a", "b", "c", "d", "e"]}, 400, "stop"),
        ({"model": "base", "prompt": [[1, 10**6]]}, 400, "token ids"),
        ({"model": "base", "prompt": "1" * 300}, 400, "context is 256 tokens"),
        ({"model": "base", "prompt": "\ud800"}, 400, "surrogate"),
        ({"model": "base{base_delta=/etc}", "prompt": "1"}, 400, "whole weights"),
        ({"model": "os:system", "prompt": "1"}, 400, "other packages"),
        ({"model": "retrieval{encoder=x/y}", "prompt": "1"}, 400, "another model"),
        ({"model": "merge:knots{by=os.path:join}(adder)", "prompt": "1"}, 400, "a word is expected"),
        ({"model": "../adder", "prompt": "1"}, 404, "No arm is called"),
        ({"model": "arrow{heads=7}", "prompt": "1"}, 400, "heads"),
        ({"model": "arrow{", "prompt": "1"}, 400, "not a spec"),
        ({"model": "base", "experts": {"adder": 0.5, "nobody": 1}, "prompt": "1"}, 404, "nobody"),
        ({"model": "base", "prompt": "1", "\u2028\x1b": 1}, 400, "\\u2028\\u001b"),
    ],
)
def test_what_cannot_be_is_one_error_in_their_shape(body, status, words, checking):
    response = checking.ask("/v1/completions", body)
    error = response.json()["error"]
    assert (response.status_code, set(error)) == (status, {"message", "type", "param", "code"}), response.text
    assert words in error["message"] and "\n" not in error["message"]


@pytest.fixture
def checking(library, serving):
    return serving(library)
