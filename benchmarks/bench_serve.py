"""What does `yosegi serve` do with 64 clients and 16 arms, beside PEFT's mixed-adapter `generate`?

load       2,000 requests (`--requests`) of 64 clients, half of them streams, half greedy and half seeded, 16 + 8 to 32 tokens,
           over base, 10 experts, weights, two Arrows, TIES and cat. Errors, and answers that are not those of the request alone.
batches    Peer: PEFT, `adapter_names` in batches of 64 in the order of arrival; each batch ends when its last answer does.
           Weights and merges are adapters made in advance. It cannot mix Arrow in, and answers by one expert, which costs less.
one        Peer: the same, one request at a time.
routed     64 clients under Arrow over ten experts, beside 64 under the base, per token.
memory     of the server's process after 100 requests, in the middle, and at the end; and its open files.

Equality   texts. One that differs is no cross-talk if a step was too close to call (engine.md 9); those are counted apart.
           With `--dtype bf16` every batch rounds otherwise: texts are counted and not compared.
Expected   0 errors, 0 cross-talk, batches ≥ 3x, one ≥ 8x, routed ≤ 1.3x.

The server is a process of its own. Seconds are its CPU time, the model's thread and HTTP together; the times to the first token
are on the clock, with everything else that the machine does.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import psutil
import torch
from bench_engine import FULL, QUICK, base_of
from experts import random_expert
from side_by_side import Row, clock, tell
from side_by_side import options as usual

from yosegi.bases import Base, load
from yosegi.core.model import linears, shape
from yosegi.engine.engine import Engine
from yosegi.engine.fold import fold
from yosegi.engine.request import stop_ids
from yosegi.engine.spec import parse_arm
from yosegi.library.store import Library

NAMES = [f"e{n}" for n in range(10)]
ARMS = [
    "base", *NAMES, "e0*.7+e1*.3", "arrow", "arrow{top_k=1}(e2,e3,e4,e5)", "merge:ties(e0,e1,e2)", "merge:cat(e6,e7)",
]  # fmt: skip
ARROWS = [arm for arm in ARMS if arm.startswith("arrow")]


class Ask(NamedTuple):
    """One request."""

    arm: str
    prompt: str
    tokens: int
    temperature: float
    seed: int
    stream: bool = False

    @property
    def body(self) -> dict[str, Any]:
        """As it is sent."""
        return {
            "model": self.arm, "prompt": self.prompt, "max_tokens": self.tokens, "temperature": self.temperature,
            "seed": self.seed, "stream": self.stream,
        }  # fmt: skip


class Told(NamedTuple):
    """One answer, and the seconds to its first piece."""

    status: int
    text: str
    first: float
    tokens: int


def asks(count: int, different: int) -> list[Ask]:
    """Random requests; each of `different` comes many times, at random places, streamed or not."""
    chance = random.Random(0)
    words = lambda n: " ".join(f"w{24 * chance.randrange(100, 340) + 1}" for _ in range(n)) + " "  # noqa: E731
    kinds = [
        Ask(ARMS[n % len(ARMS)], words(16), chance.randint(8, 32), float(n // len(ARMS) % 2), n)
        for n in range(different)
    ]
    return [chance.choice(kinds)._replace(stream=n % 2 == 0) for n in range(count)]


@contextmanager
def server(base: str, library: Path, dtype: str, inside: bool) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of a server; `inside` this one, which is quicker to start."""
    if inside:
        import threading

        import uvicorn

        from yosegi.serve.app import make_app
        from yosegi.serve.service import Service
        from yosegi.serve.settings import ServeSettings

        app = make_app(Service(load(base, dtype, device="cpu"), library, ServeSettings()))
        uvicorn_server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        thread = threading.Thread(target=uvicorn_server.run)
        thread.start()
        while not uvicorn_server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{uvicorn_server.servers[0].sockets[0].getsockname()[1]}", psutil.Process()
        uvicorn_server.should_exit = True
        thread.join()
        return
    words = [sys.executable, "-m", "yosegi", "serve", "--base", base, "--library", library, "--port", 0]
    words += ["--device", "cpu", "--dtype", dtype]
    process = subprocess.Popen([*map(str, words)], stdout=-1, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        assert process.stdout
        line = process.stdout.readline()
        yield line.split()[-1], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


async def ask_all(
    url: str, requests: Sequence[Ask], clients: int, at: Callable[[int], None] = lambda n: None
) -> list[Told]:
    """The answers to all requests by so many clients, each of which asks one after another."""
    waiting, told = list(enumerate(requests))[::-1], list[Any]([None] * len(requests))
    limits = httpx2.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=600, limits=limits) as client:

        async def one() -> None:
            while waiting:
                place, request = waiting.pop()
                at(place)
                told[place] = await ask(client, request)

        await asyncio.gather(*(one() for _ in range(clients)))
    return told


async def ask(client: httpx2.AsyncClient, request: Ask) -> Told:
    """One answer."""
    started, first, texts = time.perf_counter(), 0.0, list[str]()
    try:
        if not request.stream:
            response = await client.post("/v1/completions", json=request.body)
            body = response.json()
            text = body["choices"][0]["text"] if response.status_code == 200 else response.text
            return Told(response.status_code, text, 0.0, body.get("usage", {}).get("completion_tokens", 0))
        async with client.stream("POST", "/v1/completions", json=request.body) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line[6:])
                    if "error" in chunk:
                        return Told(500, line, 0.0, 0)
                    first = first or time.perf_counter() - started
                    texts.append(chunk["choices"][0]["text"])
            return Told(response.status_code, "".join(texts), first, 0)
    except (httpx2.HTTPError, ValueError, KeyError) as error:
        return Told(0, f"{type(error).__name__}: {error}", 0.0, 0)


def cpu(process: psutil.Process) -> float:
    """Seconds of CPU time that a process has used."""
    times = process.cpu_times()
    return times.user + times.system


class Peer:
    """PEFT's adapters in one model, chosen row by row."""

    def __init__(self, base: Base, library: Library, folder: Path):
        from peft import PeftModel

        adapters = Library(folder)
        for name in NAMES:
            adapters.add(library[name])
        self.of = {arm: arm for arm in NAMES} | {"base": "__base__"} | dict.fromkeys(ARROWS, "e2")
        for n, arm in enumerate(arm for arm in ARMS if arm not in self.of):
            adapters.add(fold(parse_arm(arm, library), f"folded{n}"))
            self.of[arm] = f"folded{n}"
        names = [name for name in dict.fromkeys(self.of.values()) if name != "__base__"]
        self.model: Any = PeftModel.from_pretrained(
            base.model, folder / names[0], names[0], autocast_adapter_dtype=False
        )
        for name in names[1:]:
            self.model.load_adapter(folder / name, name, autocast_adapter_dtype=False)
        self.model.eval()
        self.tokenizer, ends = base.tokenizer, sorted(stop_ids(base))
        self.ends = {
            "pad_token_id": ends[0] if base.tokenizer.pad_token_id is None else base.tokenizer.pad_token_id,
            "eos_token_id": ends,
        }

    @torch.no_grad()
    def answers(self, requests: Sequence[Ask], rows: int) -> list[str]:
        """In batches in the order of arrival, greedily."""
        texts: list[str] = []
        for start in range(0, len(requests), rows):
            some = requests[start : start + rows]
            batch = self.tokenizer([r.prompt for r in some], padding=True, padding_side="left", return_tensors="pt")
            made = self.model.generate(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask, adapter_names=[self.of[r.arm] for r in some],
                max_new_tokens=max(r.tokens for r in some), do_sample=False, **self.ends,
            )  # fmt: skip
            for ids, request in zip(made[:, batch.input_ids.shape[1] :], some, strict=True):
                texts.append(self.tokenizer.decode(ids[: request.tokens], skip_special_tokens=True))
        return texts


def alone(base: Base, library: Library, requests: Sequence[Ask]) -> dict[Ask, tuple[str, int]]:
    """Each different request by itself: its text, and its steps that were too close to call."""
    engine, arms = Engine(base), {arm: parse_arm(arm, library) for arm in ARMS}
    answers: dict[Ask, tuple[str, int]] = {}
    for one in dict.fromkeys(request._replace(stream=False) for request in requests):
        how = {"max_new_tokens": one.tokens, "temperature": one.temperature, "seed": one.seed}
        answer = engine.generate(arms[one.arm], [one.prompt], **how)[0]  # type: ignore[arg-type]
        answers[one] = answer.text, answer.close_calls
    return answers


def prepared(folder: Path, quick: bool, dtype: str, name: str = "") -> tuple[Base, Library]:
    """A base and a library on disk, and both in memory."""
    if not name:
        made = base_of(QUICK if quick else FULL)
        made.model.save_pretrained(folder / "base")  # type: ignore[operator]
        made.tokenizer.save_pretrained(folder / "base")
    base = load(name or str(folder / "base"), dtype, device="cpu")
    modules, library = dict(base.model.named_modules()), Library(folder / "library", base.hash, "random")
    torch.manual_seed(1)
    shapes = {layer: shape(modules[layer]) for layer in linears(base.model)}
    for name in NAMES:
        library.add(random_expert(name, shapes, rank=8, scale=0.05))
    return base, library


def measured(base: Base, library: Library, folder: Path, chosen: argparse.Namespace) -> Iterator[Row]:
    """All cases."""
    quick, clients = chosen.quick, 8 if chosen.quick else 64
    requests = asks(chosen.requests or (48 if quick else 2000), 16 if quick else 128)
    expected = alone(base, library, requests)
    peer_requests = [r for r in requests if r.temperature == 0][: 16 if quick else 4 * clients]
    with server(base.name, library.path, chosen.dtype, quick) as (url, process):
        marks: dict[int, tuple[float, int]] = {}

        def mark(n: int) -> None:
            if n in (min(100, len(requests) // 4), len(requests) // 2, len(requests) - 1):
                marks[n] = process.memory_info().rss / 2**20, process.num_fds()

        asyncio.run(ask_all(url, requests[: 4 * clients], clients))  # all arms are prepared
        began, clocked = cpu(process), time.perf_counter()
        told = asyncio.run(ask_all(url, requests, clients, mark))
        spent, lasted = cpu(process) - began, time.perf_counter() - clocked
        written = [r.tokens for r in requests]
        errors = sum(one.status != 200 for one in told)
        pairs = [(one.text, expected[r._replace(stream=False)]) for one, r in zip(told, requests, strict=True)]
        different = [close for text, (other, close) in pairs if text != other]
        talk = sum(not close for close in different)
        first = sorted(one.first for one in told if one.first)
        share = f"{talk} of {len(requests)}, {len(different) - talk} too close to call"
        what = f"{len(requests)} requests, {len(ARMS)} arms, {clients} clients: {errors} errors"
        exact = chosen.dtype == "fp32"  # bf16 rounds otherwise in every batch
        assert not errors and not (talk and exact), (errors, talk, [one for one in told if one.status != 200][:2])
        yield row("load", what, None, spent / len(requests), None, share)
        middle, late = statistics.median(first), first[int(0.95 * len(first))]
        yield row(
            "first",
            f"p50 {middle:.2g} s, p95 {late:.2g} s; {sum(written) / lasted:,.0f} tokens/s on the clock",
            None,
            None,
            None,
            "",
        )
        per_token = spent / sum(written)
        peer = Peer(base, library, folder / "adapters")
        tokens = sum(r.tokens for r in peer_requests)
        texts: dict[str, list[str]] = {}
        together = clock(lambda: texts.update(together=peer.answers(peer_requests, clients)))
        few = peer_requests[: 4 if quick else 48]
        single = clock(lambda: texts.update(single=peer.answers(few, 1)))
        for case, made, seconds, count in (
            ("batches", texts["together"], together, tokens), ("one", texts["single"], single, sum(r.tokens for r in few)),
        ):  # fmt: skip
            mixed = [
                (t, expected[r._replace(stream=False)])
                for t, r in zip(made, peer_requests, strict=False)
                if r.arm not in ARROWS
            ]
            same = sum(t == other for t, (other, _) in mixed)
            assert not exact or all(t == other or close for t, (other, close) in mixed), f"{case}: answers differ"
            what = f"PEFT: {len(made)} requests, {'one at a time' if case == 'one' else f'batches of {clients}'}"
            yield row(case, what, seconds / count, per_token, seconds / count / per_token, f"{same} of {len(mixed)}")
        times: dict[str, list[float]] = {"base": [], "arrow": []}
        for turn in range(2 if quick else 4):
            for arm, spent_by in times.items():
                same_length = [r._replace(arm=arm, tokens=24, temperature=0.0) for r in requests[: 2 * clients]]
                began = cpu(process)
                asyncio.run(ask_all(url, same_length, clients))
                if turn:
                    spent_by.append((cpu(process) - began) / (24 * len(same_length)))
        plain, routed = (statistics.median(values) for values in times.values())
        yield row("routed", "Arrow over 10 experts beside the base, per token", plain, routed, routed / plain, "")
        memory, handles = zip(*(marks[n] for n in sorted(marks)), strict=True)
        told_memory = f"RSS {' → '.join(f'{mb:.0f}' for mb in memory)} MB, open files {' → '.join(map(str, handles))}"
        yield row("memory", told_memory, None, None, None, "")


def row(case: str, what: str, peer: float | None, ours: float | None, ratio: float | None, equal: str) -> Row:
    """One line of the table; milliseconds of CPU time per token, per request for `load`."""
    ms = lambda seconds: None if seconds is None else 1e3 * seconds  # noqa: E731
    return {
        "case": case,
        "what": what,
        "peer ms": ms(peer),
        "yosegi ms": ms(ours),
        "ratio": ratio,
        "cross-talk, equal": equal,
    }


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Case by case."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--requests", type=int, help="how many")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32", help="of both sides")
    parser.add_argument("--base", default="", help="such as smollm2; by default a random Llama of 30 M parameters")
    own, rest = parser.parse_known_args(arguments)
    chosen = usual(__doc__, rest)
    chosen.requests, chosen.dtype, chosen.base = own.requests, own.dtype, own.base
    with tempfile.TemporaryDirectory() as folder:
        base, library = prepared(Path(folder), chosen.quick, chosen.dtype, chosen.base)
        return tell(__doc__, list(measured(base, library, Path(folder), chosen)), chosen)


if __name__ == "__main__":
    main()
