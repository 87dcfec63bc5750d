"""Many at once, and what goes wrong meanwhile: no answer is another one's, nothing crashes, one clear error each."""

import contextlib
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.serve.conftest import expert
from yosegi.engine.engine import Engine
from yosegi.engine.spec import parse_arm

ARMS = [
    "base",
    "adder",
    "turner*.7+copier*.3",
    "arrow{top_k=2}",
    "merge:ties(adder,turner)",
    "arrow{mix=factors}(turner,copier)",
]


def test_forty_requests_of_six_arms_are_not_mixed_up(nano, library, serving):
    engine = Engine(nano)
    kinds = [(ARMS[n % 6], f"copy {'abcdefghijkl'[n % 11 :]}{n % 7}", n // 6 % 2, n) for n in range(18)]
    asks = [kinds[n * 7 % 18] for n in range(40)]
    alone = {
        kind: engine.generate(
            parse_arm(kind[0], library), [kind[1]], max_new_tokens=12, temperature=kind[2], seed=kind[3]
        )[0]
        for kind in kinds
    }
    expected = [alone[kind] for kind in asks]
    client = serving(library).openai

    def ask(n):
        arm, prompt, temperature, seed = asks[n]
        given = dict(model=arm, prompt=prompt, max_tokens=12, temperature=temperature, seed=seed)
        if n % 2:
            return client.completions.create(**given).choices[0].text
        return "".join(chunk.choices[0].text for chunk in client.completions.create(**given, stream=True))

    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(ask, range(40)))
    wrong = [n for n, (text, one) in enumerate(zip(texts, expected, strict=True)) if text != one.text]
    assert all(expected[n].close_calls for n in wrong) and len(wrong) < 3
    assert len({one.text for one in expected}) > 10


def test_a_slow_merge_holds_nobody_up_but_other_merges(library, serving, monkeypatch):
    from yosegi.serve import arms

    server, go, begun, make = serving(library), threading.Event(), threading.Event(), arms.Seat

    def slow(arm, layers):
        if arm.merge:
            begun.set()
            assert go.wait(30)
        return make(arm, layers)

    monkeypatch.setattr(arms, "Seat", slow)
    with ThreadPoolExecutor(2) as pool:
        merges = [pool.submit(server.complete, "merge:ties(adder,turner)", "1+2=") for _ in range(2)]
        try:
            assert begun.wait(10)
            for text in ("base", "adder", "arrow", "turner*.5+copier*.5"):
                server.complete(text, "1+2=")
            assert not any(one.done() for one in merges)
        finally:
            go.set()
        assert merges[0].result() == merges[1].result()


def test_a_full_disk_costs_the_log_and_nothing_else(nano, library, serving):
    """All that a server writes is its log; /dev/full is a disk without room."""
    import logging

    log = logging.getLogger("yosegi.serve")
    with Path("/dev/full").open("w") as full:
        handler = logging.StreamHandler(full)
        failed = []
        handler.handleError = lambda record: failed.append(record)
        log.addHandler(handler)
        try:
            before = log.level
            log.setLevel(logging.INFO)
            server = serving(library, log_prompts=True)
            assert server.complete("base", "1+2=") == "3"
            (library.path / "turner" / "adapter_model.safetensors").write_bytes(b"half a fi")
            server.until(lambda: "turner" in server.service.shelf.broken)
            assert server.complete("base", "1+2=") == "3" and len(failed) >= 3
        finally:
            log.setLevel(before)
            log.removeHandler(handler)
            with contextlib.suppress(OSError):
                full.close()


def test_who_vanishes_is_cancelled(library, serving):
    server = serving(library, rows=1)
    for stream in (True, False):
        # 200 tokens that nothing ends: byte 255 is no character of any answer
        body = {
            "model": "adder",
            "prompt": "1",
            "max_tokens": 200,
            "temperature": 2,
            "n": 1,
            "stream": stream,
            "seed": 3,
        }
        sent = json.dumps({**body, "prompt": ["1"] * 40}).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(sent)}"
            line.sendall(head.encode() + b"\r\n\r\n" + sent)
            server.until(lambda: server.service.loop.busy == 40)
        server.until(lambda: server.service.loop.busy == 0)
        assert server.complete("base", "1+2=") == "3"
    assert "yosegi_cancelled_total 2.0" in server.ask("/metrics").text


def test_a_full_queue_is_a_429_that_says_when(library, serving):
    server = serving(library, rows=1, queue=1)
    body = {"model": "adder", "prompt": ["1"] * 8, "max_tokens": 200, "temperature": 2, "stream": True}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.ask, "/v1/completions", body)
        server.until(lambda: server.service.loop.busy > 2)
        refused = server.ask("/v1/completions", {**body, "prompt": "1"})
        assert refused.status_code == 429 and int(refused.headers["Retry-After"]) > 0
        assert refused.json()["error"]["code"] == "queue_full"
        assert first.result().status_code == 200
    assert server.complete("base", "1+2=") == "3"


def test_experts_change_while_they_answer(nano, library, serving):
    """Every answer is that of the expert as it was before, or of the one that took its place; new ones come, removed ones are 404."""
    prompt, other, newer = "copy abcdefgh", expert(nano, "adder", rank=2, seed=7), expert(nano, "newer")
    before = Engine(nano).generate(parse_arm("adder", library), [prompt], max_new_tokens=12)[0].text
    server, seen, stop = serving(library, watch=0.02), set(), threading.Event()

    def ask():
        while not stop.is_set():
            seen.add(server.complete("adder", prompt))

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            server.until(lambda: before in seen)
            library.add(other, overwrite=True)
            library.add(newer)
            server.until(lambda: len(seen) == 2 and "newer" in server.service.shelf)
            del library["copier"]
            (library.path / "turner" / "adapter_model.safetensors").write_bytes(b"no weights")
            server.until(lambda: "copier" not in server.service.shelf and "turner" in server.service.shelf.broken)
        finally:
            stop.set()
        for one in asking:
            one.result()
    assert server.complete("newer", prompt) and server.ask("/v1/models/newer").status_code == 200
    gone = server.ask("/v1/completions", {"model": "copier", "prompt": "1"})
    assert gone.status_code == 404
    damaged = server.ask("/v1/completions", {"model": "turner", "prompt": "1"})
    assert damaged.status_code == 400 and "cannot be used" in damaged.json()["error"]["message"]
    listed = {model["id"]: model["yosegi"] for model in server.ask("/v1/models").json()["data"]}
    assert "safetensors" in listed["turner"]["error"] and "error" not in listed["adder"]
    (after,) = seen - {before}
    assert server.complete("adder", prompt) == after


def test_its_own_document_finds_no_failure(library, serving):
    """schemathesis over /openapi.json: whatever the schema allows and forbids, no 5xx."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings

    server = serving(library, api_key=["k"])
    schema = schemathesis.openapi.from_url(server.url + "/openapi.json", headers={"Authorization": "Bearer k"})
    operations, asked = [one.ok() for one in schema.get_all_operations()], []
    few = settings(
        max_examples=8, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for operation in operations:

        @few
        @given(case=operation.as_strategy())
        def holds(case):
            response = case.call(headers={"Authorization": "Bearer k"})
            asked.append(response.status_code)
            assert response.status_code < 500, (case.path, case.body, response.text)

        holds()
    assert len(operations) >= 8 and len(asked) >= 30 and 200 in asked
