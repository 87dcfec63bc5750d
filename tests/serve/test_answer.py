"""Answers in OpenAI's shape: several at once, log-likelihoods, echo, routing, stop strings, seeds."""

import json

import pytest

from yosegi.engine.score import score_logprobs
from yosegi.engine.spec import parse_arm
from yosegi.serve.answer import event, fault
from yosegi.serve.schemas import ChatBody, CompletionBody

TALK = [{"role": "user", "content": "copy abc"}]


def test_several_answers_and_prompts_have_their_places(library, serving):
    client = serving(library).openai
    made = client.completions.create(
        model="adder", prompt=["1+2=", "copy ab"], n=3, temperature=1, seed=5, max_tokens=6
    )
    assert [choice.index for choice in made.choices] == list(range(6)) and made.usage.prompt_tokens == 8
    again = client.completions.create(
        model="adder", prompt=["1+2=", "copy ab"], n=3, temperature=1, seed=5, max_tokens=6, stream=True
    )
    texts, reasons = [""] * 6, [None] * 6
    for chunk in again:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.text for choice in made.choices] and reasons == [c.finish_reason for c in made.choices]
    other = client.completions.create(
        model="adder", prompt=["1+2=", "copy ab"], n=3, temperature=1, seed=6, max_tokens=6
    )
    assert [choice.text for choice in other.choices] != texts
    assert len(set(texts[3:])) > 1, "each answer has its own noise"


def test_token_ids_are_prompts(nano, library, serving):
    client = serving(library).openai
    ids = nano.tokenizer("1+2=").input_ids
    for prompt in (ids, [ids], "1+2="):
        assert client.completions.create(model="base", prompt=prompt, temperature=0).choices[0].text == "3"


def test_stop_strings_are_cut_and_no_piece_of_them_is_streamed(library, serving):
    client = serving(library).openai
    ask = {"model": "turner", "prompt": "reverse abcdef: ", "temperature": 2, "seed": 3, "max_tokens": 40}
    whole = client.completions.create(**ask).choices[0].text
    assert len(whole) > 3
    stop = whole[1:3]
    cut = client.completions.create(**ask, stop=["@@@@", stop]).choices[0]
    assert cut.text == whole[: whole.index(stop)] and cut.finish_reason == "stop"
    pieces = [chunk.choices[0].text for chunk in client.completions.create(**ask, stop=stop, stream=True)]
    assert "".join(pieces) == cut.text


def test_log_likelihoods_of_a_chat(nano, library, serving):
    client = serving(library).openai
    made = client.chat.completions.create(
        model="adder", messages=TALK, max_tokens=4, temperature=0, logprobs=True, top_logprobs=3
    )
    content = made.choices[0].logprobs.content
    assert len(content) == made.usage.completion_tokens
    for token in content:
        assert len(token.top_logprobs) == 3 and token.logprob == token.top_logprobs[0].logprob <= 0
        assert bytes(token.bytes).decode() == token.token
    streamed = client.chat.completions.create(
        model="adder", messages=TALK, max_tokens=4, temperature=0, logprobs=True, top_logprobs=3, stream=True
    )
    found = [token for chunk in streamed if chunk.choices[0].logprobs for token in chunk.choices[0].logprobs.content]
    assert [token.token for token in found] == [token.token for token in content]
    assert [t.logprob for t in found] == pytest.approx([t.logprob for t in content], abs=1e-4)


def replay(body, contexts):
    """The sums and flags that lm_eval reads from the answer to its request: `contexts` are the lengths of what is not scored."""
    found = []
    for choice, start in zip(sorted(body["choices"], key=lambda one: one["index"]), contexts, strict=True):
        logprobs, tops = choice["logprobs"]["token_logprobs"][start:-1], choice["logprobs"]["top_logprobs"][start:-1]
        greedy = all(logp == max(top.values()) for logp, top in zip(logprobs, tops, strict=True))
        found.append((sum(logprobs), greedy))
    return found


def test_echo_is_what_scoring_says(nano, library, serving):
    """The requests of lm_eval's local-completions: token ids, echo, logprobs=1, max_tokens=1."""
    texts = [("1+2=", "3"), ("copy abc", "abcabc"), ("1+2=", "4"), ("x", "yz" * 30)]
    encode = lambda text: nano.tokenizer(text).input_ids  # noqa: E731
    prompts, contexts = [encode(a + b) for a, b in texts], [len(encode(a)) for a, _ in texts]
    expected = {}
    for arm in ("base", "adder", "arrow"):
        with parse_arm(arm, library).attached(nano) as banks:
            expected[arm] = [one.sum_logprob for one in score_logprobs(nano, texts, banks=banks)]
    server = serving(library)
    for arm, sums in expected.items():
        body = {
            "model": arm,
            "prompt": prompts,
            "temperature": 0,
            "max_tokens": 1,
            "logprobs": 1,
            "seed": 1234,
            "echo": True,
        }
        response = server.ask("/v1/completions", body)
        assert response.status_code == 200, response.text
        found = replay(response.json(), contexts)
        assert [total for total, _ in found] == pytest.approx(sums, abs=1e-3)
        assert response.json()["choices"][1]["text"].startswith("copy abcabcabc")
    assert replay(server.ask("/v1/completions", {**body, "model": "base"}).json(), contexts)[0][1] is True
    only = server.ask("/v1/completions", {**body, "model": "base", "max_tokens": 0}).json()
    assert only["choices"][0]["text"] == "1+2=3" and only["usage"]["completion_tokens"] == 0
    assert len(only["choices"][0]["logprobs"]["tokens"]) == 5
    longer = server.ask(
        "/v1/completions", {**body, "model": "base", "max_tokens": 3, "prompt": "1+2=", "stream": True}
    ).text
    chunks = [json.loads(line[6:]) for line in longer.splitlines() if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "1+2=3"
    assert sum(len((chunk["choices"][0]["logprobs"] or {"tokens": ()})["tokens"]) for chunk in chunks) == 6
    plain = server.ask("/v1/completions", {"model": "base", "prompt": "1+2=", "echo": True, "temperature": 0}).json()
    assert plain["choices"][0]["text"] == "1+2=3"


def test_routing_comes_with_the_tokens(nano, library, serving):
    server = serving(library)
    ask = {"prompt": "copy abc", "temperature": 0, "max_tokens": 5}
    whole = server.ask("/v1/completions", {**ask, "model": "arrow{top_k=2}", "routing": "layers"}).json()["choices"][0]
    routing = whole["routing"]
    assert routing["experts"] == ["adder", "copier", "turner"]
    assert "".join(token["text"] for token in routing["tokens"]).startswith(whole["text"])
    for token in routing["tokens"]:
        assert sum(token["weights"]) == pytest.approx(1, abs=1e-3) and len(token["layers"]) > 5
        for layer in token["layers"].values():
            assert sum(w > 0 for w in layer) == 2
        columns = zip(*token["layers"].values(), strict=True)
        assert token["weights"] == pytest.approx([sum(c) / len(c) for c in columns], abs=1e-3)
    text = server.ask("/v1/completions", {**ask, "model": "arrow{top_k=2}", "routing": True, "stream": True}).text
    chunks = [json.loads(line[6:])["choices"][0] for line in text.splitlines() if line.startswith("data: {")]
    streamed = [token for chunk in chunks for token in chunk["routing"]["tokens"]]
    assert [t["text"] for t in streamed] == [t["text"] for t in routing["tokens"]] and "layers" not in streamed[0]
    weights = server.ask(
        "/v1/completions", {**ask, "model": "base", "experts": {"adder": 0.7, "turner": -0.2}, "routing": True}
    )
    found = weights.json()["choices"][0]["routing"]
    assert found["experts"] == ["adder", "turner"] and found["tokens"][0]["weights"] == [0.7, -0.2]
    base = server.ask(
        "/v1/chat/completions", {"model": "nano", "messages": TALK, "routing": True, "max_tokens": 2}
    ).json()
    assert (
        base["choices"][0]["routing"]["experts"] == [] and base["choices"][0]["routing"]["tokens"][0]["weights"] == []
    )


def test_the_library_is_described_for_the_page(library, serving):
    about = serving(library).ask("/v1/library").json()
    assert about["base"] == "nano" and [e["name"] for e in about["experts"]] == ["adder", "copier", "turner"]
    assert about["experts"][1]["rank"] == 4 and about["experts"][1]["tasks"] == ["skills/copier"]
    assert [row[n] for n, row in enumerate(about["similarity"])] == pytest.approx([1, 1, 1]) and "arrow" in about[
        "methods"
    ]


def test_bodies():
    body = CompletionBody(model="a", prompt=[1, 2], stop="x", user="me", suffix=None, presence_penalty=0)
    assert body.prompts == [[1, 2]] and body.stop == ["x"]
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    chat = ChatBody(model="a", messages=[{"role": "developer", "content": parts}])
    assert chat.messages[0].turn == {"role": "system", "content": "ab"}
    assert event({"a": "ü"}) == 'data: {"a":"ü"}\n\n'.encode() and fault("x")["error"]["param"] is None
