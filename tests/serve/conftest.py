"""A real server on this machine: nano, three experts, a port of its own."""

import contextlib
import json
import threading
import time

import pytest
import torch

from yosegi.bases import load
from yosegi.core.expert import Expert, Factors
from yosegi.inits import fresh
from yosegi.library.store import Library
from yosegi.serve.settings import ServeSettings


@pytest.fixture(scope="session")
def nano():
    return load("nano", device="cpu")


def expert(base, name, rank=2, size=0.4, seed=0):
    """A random expert that really says something."""
    chance = torch.Generator().manual_seed(seed + 1000 * sum(map(ord, name)))
    made = fresh(base.model, name, rank=rank, alpha=rank, task=f"skills/{name}")
    factors = {
        layer: Factors(f.A_RI, torch.randn(f.B_OR.shape, generator=chance) * size, f.scale)
        for layer, f in made.factors.items()
    }
    return Expert(name, factors, {"task": [f"skills/{name}"], "init": "kaiming", "init_seed": 0})


@pytest.fixture
def library(nano, tmp_path):
    """Three experts of two ranks."""
    made = Library(tmp_path / "library", nano.hash, nano.name)
    for name, rank in (("adder", 2), ("turner", 4), ("copier", 4)):
        made.add(expert(nano, name, rank))
    return made


class Serving:
    """A server that runs, and how to ask it."""

    def __init__(self, service, port):
        self.service, self.port, self.url = service, port, f"http://127.0.0.1:{port}"
        self.key = (service.settings.api_key or [""])[0]

    def ask(self, path, body=None, method=None, **more):
        """The answer to one request, with httpx2."""
        import httpx2

        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        headers |= {"Content-Type": "application/json"}
        headers |= more.pop("headers", {})
        given = {} if body is None else {"content": json.dumps(body)}
        with httpx2.Client(trust_env=False, timeout=60) as client:
            method = method or ("GET" if body is None and not more else "POST")
            return client.request(method, self.url + path, headers=headers, **given, **more)

    def complete(self, model, prompt, **more):
        """The text that a model writes, greedily."""
        body = {"model": model, "prompt": prompt, "temperature": 0, "max_tokens": 12, **more}
        response = self.ask("/v1/completions", body)
        assert response.status_code == 200, response.text
        return response.json()["choices"][0]["text"]

    @property
    def openai(self):
        from openai import OpenAI

        return OpenAI(base_url=self.url + "/v1", api_key=self.key or "none", max_retries=0)

    def until(self, holds, seconds=10):
        """Waits for something to become true."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came true"
            time.sleep(0.01)


@pytest.fixture
def serving(nano, monkeypatch):
    """serving(library, **settings): the server; all that were started end with the test."""
    import uvicorn

    from yosegi.serve.app import make_app
    from yosegi.serve.service import Service

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = contextlib.ExitStack()

    def start(library=None, base=None, **settings):
        service = Service(base or nano, library and library.path, ServeSettings(**{"watch": 0.05, **settings}))
        config = uvicorn.Config(make_app(service), port=0, log_level="warning", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()

        def stop():
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive() and not service.loop.alive

        running.callback(stop)
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        return Serving(service, server.servers[0].sockets[0].getsockname()[1])

    with running:
        yield start
