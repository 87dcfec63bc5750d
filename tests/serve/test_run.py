"""The server as a process: it starts, says no in one line, and ends when told, with what it has."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

from yosegi.serve.run import Server


def test_sigterm_lets_answers_finish_or_returns_what_there_is(library):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "yosegi", "serve", "--library", library.path, "--port", port, "--grace", "0.5"]
    process = subprocess.Popen(
        [*map(str, words)], stderr=subprocess.PIPE, text=True, env=os.environ | {"NO_PROXY": "127.0.0.1"}
    )
    try:
        stream = None
        while stream is None:
            assert process.poll() is None, process.stderr.read()
            try:
                stream = socket.create_connection(("127.0.0.1", port), timeout=30)
            except OSError:
                time.sleep(0.05)
        body = json.dumps({
            "model": "adder", "prompt": "1", "max_tokens": 250, "stream": True, "temperature": 2, "seed": 1, "n": 16,
        }).encode()  # fmt: skip
        stream.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        stream.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        received = stream.recv(4096)
        assert b"200" in received.split(b"\r\n")[0], received
        process.send_signal(signal.SIGTERM)
        while piece := stream.recv(65536):
            received += piece
        assert b"[DONE]" in received
        reasons = re.findall(rb'"finish_reason":"(\w+)"', received)
        assert len(reasons) == 16 and set(reasons) <= {b"length", b"stop"}
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0 and "Traceback" not in errors and "SIGTERM" in errors
    finally:
        process.kill()


def test_a_second_signal_ends_at_once(nano):
    import uvicorn

    from yosegi.serve.service import Service
    from yosegi.serve.settings import ServeSettings

    server = Server(Service(nano, None, ServeSettings()), uvicorn.Config("x"))
    server._ending = object()
    server.handle_exit(signal.SIGINT, None)
    assert server.should_exit and server.force_exit


def test_what_cannot_be_served_is_one_line(tmp_path):
    from typer.testing import CliRunner

    from yosegi.commands import app
    from yosegi.errors import Invalid, NoData

    for words, kind, text in (
        (["--host", "0.0.0.0"], Invalid, "--api-key"),
        (["--library", str(tmp_path / "none")], NoData, "no library"),
        (["--port", "99999"], Invalid, "--port"),
        (["--host", "0.0.0.0", "--api-key", " "], Invalid, "a key is empty"),
    ):
        error = CliRunner().invoke(app(), ["serve", *words]).exception
        assert isinstance(error, kind) and text in str(error), error


def test_a_model_without_a_paged_cache_is_refused(nano, t5):
    import pytest

    from yosegi.bases import Base
    from yosegi.errors import Invalid
    from yosegi.serve.service import Service
    from yosegi.serve.settings import ServeSettings

    with pytest.raises(Invalid, match="it is an encoder-decoder; yosegi generate"):
        Service(Base("t5", "0", t5, nano.tokenizer), None, ServeSettings())
