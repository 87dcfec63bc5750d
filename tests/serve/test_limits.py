"""Who may ask, from where, and how much; and what is counted."""

import socket
import time

import pytest

from tests.conftest import each
from yosegi.serve import run
from yosegi.serve.limits import _name, is_local
from yosegi.serve.metrics import Metrics

BODY = {"model": "base", "prompt": "1+1=", "temperature": 0}


def test_without_the_key_nothing_but_health_and_the_page(library, serving):
    from openai import AuthenticationError, OpenAI

    server = serving(library, api_key=["secret", "other"])
    for path in ("/v1/models", "/metrics", "/v1/library", "/openapi.json"):
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
            response = server.ask(path, headers={"Authorization": "", **given})
            assert response.status_code == 401 and response.json()["error"]["code"] == "invalid_api_key"
    assert server.ask("/health", headers={"Authorization": ""}).json() == {"status": "ok"}
    assert server.ask("/", headers={"Authorization": ""}).status_code == 200
    assert server.ask("/v1/models", headers={"Authorization": "Bearer other"}).status_code == 200
    client = OpenAI(base_url=server.url + "/v1", api_key="wrong", max_retries=0)
    try:
        client.models.list()
    except AuthenticationError as error:
        assert "A key is needed" in str(error)
    else:
        raise AssertionError("a wrong key was taken")


def test_foreign_hosts_and_pages_are_refused(serving):
    server = serving(allowed_host=["box"])
    assert server.ask("/v1/models", headers={"Host": "evil.example"}).status_code == 403
    assert server.ask("/v1/models", headers={"Host": f"box:{server.port}"}).status_code == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        assert server.ask("/v1/completions", BODY, headers={"Origin": origin}).status_code == 403
    assert server.ask("/v1/completions", BODY, headers={"Origin": server.url}).status_code == 200
    assert "access-control-allow-origin" not in server.ask("/v1/models").headers


def test_large_bodies_are_not_read_and_slow_ones_not_waited_for(serving, monkeypatch):
    server = serving(max_body=2048, send_timeout=0.3)
    response = server.ask("/v1/completions", {**BODY, "prompt": "1" * 3000})
    assert response.status_code == 413 and "2048 bytes" in response.json()["error"]["message"]

    def raw(text, then=b""):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
            line.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" + text)
            if then:
                line.sendall(then)
            return line.recv(4096)

    assert b"413" in raw(b"Content-Length: 99999999\r\n\r\n").split(b"\r\n")[0], "before anything was sent"
    chunks = b"400\r\n" + b"x" * 1024 + b"\r\n"
    assert b"413" in raw(b"Transfer-Encoding: chunked\r\n\r\n", chunks * 3).split(b"\r\n")[0]
    started = time.monotonic()
    assert b"408" in raw(b"Content-Length: 100\r\n\r\n{").split(b"\r\n")[0]
    assert time.monotonic() - started < 8
    assert server.complete("base", "1+1=") == "2"
    monkeypatch.setattr(run, "PATIENCE", 0.2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall(b"POST /v1/comp")  # and never the rest of its head
        assert line.recv(100) == b""


@each(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b'{"model": "base", "prompt": "\xff"}',
        b"[]",
        b"null",
        b"[" * 5000,
        b'{"seed": 1e999}',
        b"",
        b'{"n": NaN}',
    ],
)
def test_what_is_no_json_is_a_400(body, some):
    response = some.ask("/v1/chat/completions", content=body)
    assert response.status_code == 400 and response.json()["error"]["message"]


@pytest.fixture
def some(serving):
    return serving()


def test_experts_are_taken_over_http_only_with_a_key(nano, library, serving):
    from tests.serve.conftest import expert

    assert serving(library).ask("/v1/experts", {"name": "adder"}).status_code == 403
    server = serving(library, api_key=["k"], watch=0)
    library.add(expert(nano, "newer"))
    assert server.ask("/v1/completions", {**BODY, "model": "newer"}).status_code == 404, "nobody looks by itself"
    taken = server.ask("/v1/experts", {"name": "newer"})
    assert taken.status_code == 200 and taken.json()["name"] == "newer" and taken.json()["parameters"] > 0
    assert server.ask("/v1/completions", {**BODY, "model": "newer"}).status_code == 200
    for name, status in (("../adder", 400), ("nobody", 404), ("/etc/passwd", 400)):
        assert server.ask("/v1/experts", {"name": name}).status_code == status
    assert {row["name"] for row in server.ask("/v1/experts").json()["data"]} == {"adder", "turner", "copier", "newer"}


def test_what_happened_is_counted(library, serving):
    server = serving(library)
    server.complete("base", "1+1=")
    text = server.ask("/metrics").text
    for line in (
        'yosegi_requests_total{path="/v1/completions",status="200"} 1.0', 'yosegi_tokens_total{kind="generated"} 2.0',
        'yosegi_tokens_total{kind="prompt"} 4.0', "yosegi_first_token_seconds_count 1.0", "yosegi_step_seconds_count 2.0",
        'yosegi_experts{state="usable"} 3.0', "yosegi_answers 0.0", "yosegi_arms 1.0",
    ):  # fmt: skip
        assert line in text, line
    metrics = Metrics()
    metrics.observe("cancelled", 1)
    assert b"yosegi_cancelled_total 1.0" in metrics.text()


def test_names_of_hosts():
    names = {"a:80": "a", "[::1]:80": "::1", "a": "a", "1.2.3.4": "1.2.3.4", "": ""}
    assert {host: _name(host) for host in names} == names
    assert is_local("127.8.8.8") and not is_local("0.0.0.0")


def test_no_folder_of_this_machine_is_told(nano, library, serving):
    import dataclasses

    import torch

    from yosegi.core.expert import Expert, Factors
    from yosegi.core.model import linears, shape

    layer = next(name for name in linears(nano.model) if "down_proj" in name)
    O, I = shape(dict(nano.model.named_modules())[layer])
    library.add(Expert("hot", {layer: Factors(torch.full((1, I), 1e24), torch.full((O, 1), 1e24), 1.0)}, {"task": []}))
    server = serving(library, base=dataclasses.replace(nano, name="/srv/secret/nano"))
    echo = {"model": "hot", "prompt": "1+1=", "echo": True, "logprobs": 1, "max_tokens": 1}
    failed = server.ask("/v1/completions", echo)
    assert failed.status_code == 500 and "nano are not finite" in failed.json()["error"]["message"]
    told = [failed.text, server.ask("/v1/models").text, server.ask("/v1/completions", {**BODY, "model": "hot"}).text]
    told += [server.ask("/v1/completions", {**BODY, "model": "retrieval"}).text, server.ask("/v1/library").text]
    assert "not finite" in told[2] and "has to be trained" in told[3]
    assert not any("/srv" in text or str(library.path) in text for text in told)
    assert server.complete("base", "1+1=") == "2"
