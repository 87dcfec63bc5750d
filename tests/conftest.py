"""What every test shares: one thread, no network, fixed seeds, tiny random models made on the spot."""

import os
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_DATASETS_OFFLINE="1")

import functools  # noqa: E402
import gc  # noqa: E402
import inspect  # noqa: E402
import json  # noqa: E402
import random  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from tests.browser import browser  # noqa: E402, F401
from yosegi.core.expert import Expert, Factors  # noqa: E402
from yosegi.core.model import linears, shape  # noqa: E402

torch.set_num_threads(1)

NEIGHBOUR = Path(__file__).parents[2] / "shared" / "data"
"""Where the real data lies when YOSEGI_DATA does not say."""

VOCABULARY = 101
imported = 0


def pytest_configure(config):
    if not os.environ.get("YOSEGI_DATA") and NEIGHBOUR.is_dir():
        os.environ["YOSEGI_DATA"] = str(NEIGHBOUR)


def pytest_collection_modifyitems(items):
    data = Path(os.environ.get("YOSEGI_DATA", "/nowhere")).is_dir()
    for item in items:
        if item.get_closest_marker("data") and not data:
            item.add_marker(
                pytest.mark.skip(reason="no data: YOSEGI_DATA is not set and ../shared/data does not exist")
            )
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no GPU on this machine"))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported and collected stays: to look through all of it for garbage takes half a second each time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_runtest_logfinish():
    """The same for large libraries that a test is the first to import."""
    global imported
    if len(sys.modules) > imported + 300:
        imported = len(sys.modules)
        gc.collect()
        gc.freeze()


def seed_all():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def each(names, rows):
    """Like `pytest.mark.parametrize`, but ONE test: it goes through all rows of the table and lists those that fail."""
    names, rows = [name.strip() for name in names.split(",")], list(rows)
    assert rows, "an empty table tests nothing"

    def decorate(test):
        @functools.wraps(test)
        def whole_table(**fixtures):
            failed = []
            for row in rows:
                values = dict(zip(names, row if len(names) > 1 else [row], strict=True))
                seed_all()
                try:
                    test(**values, **fixtures)
                except Exception as error:
                    failed.append(f"{', '.join(map(repr, values.values()))[:300]}\n    {type(error).__name__}: {error}")
            if failed:
                raise AssertionError(f"{len(failed)} of {len(rows)} rows:\n" + "\n".join(failed))

        parameters = inspect.signature(test).parameters
        whole_table.__signature__ = inspect.Signature([p for name, p in parameters.items() if name not in names])
        return whole_table

    return decorate


@pytest.fixture(autouse=True)
def seeded():
    """Every test begins with the same random numbers, whatever ran before it."""
    seed_all()


@pytest.fixture(autouse=True)
def ctrl_c():
    """Ctrl-C is Python's own, also where the tests were started in the background, which makes a shell ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def llama():
    """A decoder whose linears are nn.Linear without bias."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def t5():
    """An encoder-decoder: T5 v1.1, the shape of FLAN-T5."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        decoder_start_token_id=0,
    )
    return T5ForConditionalGeneration(config).eval()


@pytest.fixture
def gpt2():
    """A decoder whose linears are the transposed Conv1D."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(params=["llama", "t5", "gpt2"])
def any_model(request):
    """Each of the three in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def experts():
    """experts(model, 3, rank=2): experts with non-zero B on every linear, named and taught a, b, c …"""

    def make(model, n, rank=2, targets="all-linear", scale=0.5, size=1.0, base_hash=None):
        ranks = [rank] * n if isinstance(rank, int) else rank
        modules = dict(model.named_modules())
        found = []
        for name, R in zip("abcdefghijklmnop", ranks, strict=False):
            factors = {}
            for layer in linears(model, targets):
                O, I = shape(modules[layer])
                factors[layer] = Factors(torch.randn(R, I) / I**0.5, size * torch.randn(O, R), scale)
            found.append(Expert(name, factors, {"task": [f"task_{name}"], "base_hash": base_hash}))
        assert len(found) == n
        return found

    return make


class Served:
    """A real HTTP server that answers chat completions as the test says, and remembers what it was asked.

    `behave(n, body)` is told the number of the request, from 0, and its body. It returns the words of an answer, or a dict
    of what to do: status, headers, body (bytes), delay (seconds before anything), cut (bytes to send of what was promised).
    """

    def __init__(self):
        self.behave = lambda n, body: '{"system": 2, "because": "two steps"}'
        self.bodies, self.headers, self.most, self.now = [], [], 0, 0
        self.lock = threading.Lock()
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with served.lock:
                    number = len(served.bodies)
                    served.bodies.append(body)
                    served.headers.append(dict(self.headers) | {"path": self.path})
                    served.now += 1
                    served.most = max(served.most, served.now)
                try:
                    self.reply(served.behave(number, body))
                except (BrokenPipeError, ConnectionResetError):  # it was too slow for who asked
                    self.close_connection = True
                finally:
                    with served.lock:
                        served.now -= 1

            def reply(self, said):
                if isinstance(said, str):
                    usage = {"prompt_tokens": 100, "completion_tokens": 10}
                    said = {"body": json.dumps({"choices": [{"message": {"content": said}}], "usage": usage}).encode()}
                served.stopped.wait(said.get("delay", 0))
                body = said.get("body", b"")
                self.send_response(said.get("status", 200))
                for name, value in said.get("headers", {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                for at in range(0, len(body), said.get("trickle", len(body) or 1)):
                    self.wfile.write(body[: said.get("cut")][at : at + said.get("trickle", len(body))])
                    self.wfile.flush()
                    if "trickle" in said and served.stopped.wait(0.05):
                        break
                if "cut" in said:
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.stopped = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # who asked has gone: nothing to print
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.stopped.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def served(monkeypatch):
    """An endpoint on this machine, asked without any proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Served()
    yield server
    server.close()
