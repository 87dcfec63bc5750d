"""Gives every reader of what strangers wrote inputs that nobody meant.

    python -m tests.attacks.fuzz --cases 6000 --seed 0
    python -m tests.attacks.fuzz --case 0/libraries/17          one case again, with its traceback

Each case ends with a value or with an error of ours, in one printable line below 2,100 characters, within seconds, and leaves no
file behind. What is changed are good inputs (`mutate.py`), by a generator that the name of the case seeds.
"""

import argparse
import asyncio
import contextlib
import gzip
import importlib
import itertools
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.attacks import mutate
from yosegi.errors import WrongBase, YosegiError, printable

SECONDS = 6
"""The longest that a case may take. One expression may take two."""
CARD, CONFIG, WEIGHTS = "expert.json", "adapter_config.json", "adapter_model.safetensors"
LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj")
SECRET = "sk-very/secret+key"
Case = Callable[[random.Random, Path], None]


class Fault(Exception):
    """What a case did that it must not do."""


def outcome(act: Callable[..., Any], *given: Any, **more: Any) -> Any:
    """Returns what a reader returns, or None where it refuses in one line."""
    try:
        return act(*given, **more)
    except YosegiError as error:
        one_line(str(error))
        return None


def one_line(message: str) -> None:
    """Holds a message to what is promised of it."""
    if not message or message != printable(message) or len(message.splitlines()) > 1 or len(message) >= 2100:
        raise Fault(f"a message of {len(message)} characters: {message[:300]!r}")


def files_in(folder: Path) -> set[str]:
    """Returns everything in a folder, by name."""
    return {str(path) for path in folder.rglob("*")}


# Libraries: cards, configs and weights of experts, and arms that are kept beside them.


def libraries(work: Path) -> Case:
    """One expert of three is damaged: the others answer, it is named, its own verbs refuse it, and it can be removed."""
    import torch

    from yosegi.core.expert import Expert, Factors
    from yosegi.engine.arm import Arm
    from yosegi.engine.kept import FOLDER, arms, load_arm, save_arm
    from yosegi.engine.spec import parse_arms
    from yosegi.library.exchange import import_expert
    from yosegi.library.similarity import similarity
    from yosegi.library.store import Library

    torch.manual_seed(0)
    library = Library(work / "library", "0123456789ab", "tiny")
    for name in ("bad", "good", "well"):
        factors = {layer: Factors(torch.randn(2, 8), torch.randn(8, 2), 0.5) for layer in LAYERS}
        library.add(Expert(name, factors, {"task": [f"skills/{name}"], "base_hash": "0123456789ab", "license": "mit"}))
    save_arm(library, Arm("kept", [library["good"], library["well"]], "uniform"))
    bad = library.path / "bad"
    parts = {part: (bad / part).read_bytes() for part in (CARD, CONFIG, WEIGHTS)}
    kept = {path: path.read_bytes() for path in (library.path / FOLDER).rglob("*") if path.is_file()}
    guests = Library(work / "guests", "0123456789ab", "tiny")
    guests.add(library["good"])
    before = files_in(library.path) | files_in(guests.path)

    def case(chance: random.Random, _: Path) -> None:
        for part, content in parts.items():
            (bad / part).write_bytes(content)
        for path, content in kept.items():
            path.write_bytes(content)
        if chance.random() < 0.2:
            path = chance.choice(list(kept))
            path.write_bytes(_damaged(chance, path.name, kept[path]))
            outcome(arms, library)
            outcome(load_arm, library, "kept")
            outcome(parse_arms, ["kept"], library)
        else:
            for part in chance.sample([*parts], chance.choice([1, 1, 2])):
                (bad / part).write_bytes(_damaged(chance, part, parts[part]))
            cards, faults = library.cards(), library.verify()
            try:
                experts = library.load()
            except WrongBase as error:  # one of another base is refused, and not left out
                one_line(str(error))
                experts = [library["good"], library["well"]]
                if not faults:
                    raise Fault(f"{error} But verify finds nothing.") from error
            if not {"good", "well"} <= {expert.name for expert in experts} or not {"good", "well"} <= set(cards):
                raise Fault("an expert that is as it was is gone")
            for fault in faults:
                one_line(str(fault))
            outcome(similarity, experts)
            outcome(parse_arms, ["uniform", "merge:svd(bad,good)"], library)
            expert = None
            try:
                expert = library["bad"]
            except YosegiError as error:
                one_line(str(error))
                if not faults:
                    raise Fault("it is refused, and verify finds nothing") from error
            if outcome(import_expert, guests, bad, "guest") is not None:
                guests.remove("guest")
            if expert is not None and not all(
                f.A_RI.isfinite().all() and f.B_OR.isfinite().all() for f in expert.factors.values()
            ):
                raise Fault("numbers that are none were loaded")
        if left := (files_in(library.path) | files_in(guests.path)) ^ before:
            raise Fault(f"left over or lost: {sorted(left)[:5]}")

    return case


def _damaged(chance: random.Random, name: str, good: bytes) -> bytes:
    if name.endswith(".json") and chance.random() < 0.75:
        return mutate.written(chance, mutate.value(chance, json.loads(good)))
    if name.endswith(".safetensors") and chance.random() < 0.7:  # its header, with the length that it then has
        size = int.from_bytes(good[:8], "little")
        header = mutate.written(chance, mutate.value(chance, json.loads(good[8 : 8 + size])))
        return len(header).to_bytes(8, "little") + header + good[8 + size :]
    return mutate.content(chance, good)


# Settings: files of YAML or JSON, and fields as flags give them.


def settings(work: Path) -> Case:
    """A file of settings and fields of every verb, and the fields of every recipe."""
    import pkgutil

    import yaml

    import yosegi
    from yosegi import registry
    from yosegi.commands._config import check, read_columns, read_config
    from yosegi.recipes import configure
    from yosegi.settings import CheckedSettings

    for module in pkgutil.walk_packages(yosegi.__path__, "yosegi."):
        if (
            module.name.rpartition(".")[2].endswith(("settings", "arms", "predict", "label"))
            and "commands" not in module.name
        ):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    classes, waiting = list[Any](), [CheckedSettings]
    while waiting:
        classes += (below := waiting.pop().__subclasses__())
        waiting += below
    classes = sorted({*classes}, key=lambda one: (one.__module__, one.__name__))
    good: dict[Any, dict[str, Any]] = {}
    for one in classes:
        known = {name: field.default for name, field in one.model_fields.items() if not field.is_required()}
        good[one] = {
            name: value for name, value in known.items() if isinstance(value, str | int | float | list | dict | None)
        }
    recipes = {name: list(vars(registry.load("recipes", name).SMOKE).items()) for name in registry.names("recipes")}

    def case(chance: random.Random, folder: Path) -> None:
        if chance.random() < 0.2:
            name = chance.choice(sorted(recipes))
            field, value = chance.choice(recipes[name])
            field = field if chance.random() < 0.9 else chance.choice(mutate.TEXTS)
            given = mutate.nasty(chance) if chance.random() < 0.4 else mutate.text(chance, str(value))
            outcome(configure, name, True, **{field: given})
            return
        one = chance.choice(classes)
        fields = mutate.value(chance, dict(chance.sample([*good[one].items()], min(len(good[one]), 4))))
        path = folder / chance.choice(["run.yaml", "run.json"])
        if chance.random() < 0.5:
            text = mutate.written(chance, fields)
        else:
            with contextlib.suppress(Exception):
                text = yaml.safe_dump(fields, allow_unicode=True).encode("utf-8", "surrogatepass")
        path.write_bytes(text if chance.random() < 0.5 else mutate.content(chance, text))
        flags = {"columns": mutate.text(chance, "prompt=question,completion=answer")} if chance.random() < 0.1 else {}
        outcome(read_columns, flags.get("columns"))
        for read in (outcome(read_config, path, flags), fields if isinstance(fields, dict) else {}):
            if read is not None and all(isinstance(name, str) for name in read):
                outcome(check, one, read)

    return case


# Data: files of rows in every form.

ROWS: list[dict[str, Any]] = [
    {"prompt": "What is 2+2?", "completion": "4"},
    {"question": "Capital of Japan?", "choices": ["Tokyo", "Kyoto"], "answer": 0},
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]},
    {"instruction": "Reverse.", "input": "abc", "output": "cba"},
    {"prompt": "p", "chosen": "good", "rejected": "bad"},
    {"text": "A page of text."},
    {"prompt": "def f(a):\n", "canonical_solution": "    return a", "test": "assert f(1) == 1", "entry_point": "f"},
    {"question": "q", "answer": "12", "split": "test", "id": "7"},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    {"question": "q", "answers": {"text": ["a"], "answer_start": [0]}, "context": "a b"},
]


def data(work: Path) -> Case:
    """What `yosegi data check` and every task of a file read."""
    from yosegi.commands._config import read_columns
    from yosegi.curate.rows import check_rows
    from yosegi.tasks.file import File

    def table(rows: list[dict[str, Any]], between: str) -> bytes:
        heads = [*rows[0]]
        lines = [between.join(str(row.get(head, "")) for head in heads) for row in rows]
        return "\n".join([between.join(heads), *lines]).encode("utf-8", "replace")

    def read(path: Path, metric: str | None, columns: Any) -> None:
        check_rows(File(str(path), metric, read_columns(columns)))

    def case(chance: random.Random, folder: Path) -> None:
        rows = [chance.choice(ROWS)] * chance.choice([1, 3]) if chance.random() < 0.7 else chance.choices(ROWS, k=3)
        if chance.random() < 0.7:
            rows = [mutate.value(chance, row) if chance.random() < 0.5 else row for row in rows]
        form = chance.choice(["jsonl", "json", "csv", "tsv", "txt", "md", "parquet", "jsonl.gz", "csv.gz", "data"])
        if form.startswith(("csv", "tsv")) and all(isinstance(row, dict) and row for row in rows):
            made = table(rows, "\t" if form == "tsv" else ",")
        elif form == "json":
            made = mutate.written(chance, rows if chance.random() < 0.7 else {"data": rows})
        else:
            made = b"\n".join(mutate.written(chance, row) for row in rows)
        if chance.random() < 0.5:
            made = mutate.content(chance, made)
        if form.endswith("gz"):
            made = gzip.compress(made, 1)
            made = mutate.content(chance, made) if chance.random() < 0.3 else made
        (path := folder / f"rows.{form}").write_bytes(made)
        metric = chance.choice(
            [None, None, None, "exact_match", "acc_norm", "regex", "passed", "f1", "number", *mutate.TEXTS[:4]]
        )
        columns = mutate.text(chance, "prompt=question,completion=answer") if chance.random() < 0.2 else None
        outcome(read, path, metric, columns)

    return case


# Specs: methods, arms, teachers.


def specs(work: Path) -> Case:
    """What is written on a command line: what can be read can be written, and reads back as the same."""
    import torch

    from yosegi import registry
    from yosegi.core.expert import Expert, Factors
    from yosegi.engine.spec import parse_arms, read_names
    from yosegi.library.store import Library
    from yosegi.scores import load as load_score
    from yosegi.spec import arguments, parse_method, read, write_method
    from yosegi.tasks import load as load_task
    from yosegi.teachers import load as load_teacher

    kinds = (
        "routers",
        "merges",
        "optimizers",
        "scores",
        "inits",
        "masks",
        "objectives",
        "rewards",
        "teachers",
        "partitions",
        "tasks",
    )
    methods = {kind: [name for name in registry.names(kind)] for kind in kinds}
    library = Library(work / "shelf", "0123456789ab", "tiny")
    for name in ("a", "b", "a.b c"):
        factors = {LAYERS[0]: Factors(torch.randn(2, 8), torch.randn(8, 2), 0.5)}
        library.add(Expert(name, factors, {"task": [f"skills/{name[0]}"], "base_hash": "0123456789ab"}))
    arms = [
        "base", "a", "experts", "a*.7+b*.3", "arrow{top_k=2}(a,b)", "merge:ties{density=.3}(a*.7,b)", "uniform", '"a.b c"*2', "merge:svd",
        "softmax{top_k=null}", "static{constraint=free}(a,b)", "arrow{ablate=each,mix=factors}", "merge:dare{density=.5,seed=1}(a,b)",
    ]  # fmt: skip
    others = [
        "https://host/v1#model?key=MY_KEY&price_in=0.1",
        "http://localhost:8000/v1#m",
        "skills/add",
        "file/rows.csv",
        "skills{part=add}",
    ]

    def written(kind: str, name: str, chance: random.Random) -> str:
        names = [*arguments(kind, name)] or ["x"]
        pairs = [
            f"{chance.choice(names)}={chance.choice(['1', '.5', 'null', 'true', '[a,b]', '{a=1}', 'plain', '-1'])}"
            for _ in range(2)
        ]
        return f"{name}{{{','.join(pairs)}}}"

    def case(chance: random.Random, _: Path) -> None:
        kind = chance.choice(kinds)
        good = chance.choice(
            [*arms, *others, *[written(kind, chance.choice(methods[kind]), chance) for _ in range(12)]]
        )
        text = mutate.text(chance, good) if chance.random() < 0.8 else good
        outcome(read, text)
        if (method := outcome(parse_method, kind, text)) is not None and str(method) != str(
            again := parse_method(kind, write_method(*method))
        ):
            raise Fault(f"{method} is written {write_method(*method)}, which reads as {again}")
        outcome(parse_arms, [text], library)
        outcome(read_names, [text])
        if kind == "teachers":
            outcome(load_teacher, text)
        if kind == "scores" and "perplexity" not in text and "labelled" not in text and "educational" not in text:
            outcome(load_score, text)
        if kind == "tasks" and not text.strip().startswith(("lm", "hf:")) and "hf:" not in text:
            outcome(load_task, text)

    return case


# Teachers: what an endpoint answers.


def teachers(work: Path) -> Case:
    """Any body, status and header: an answer, an error that is tried again or one line; and the key never comes back."""
    import httpx2

    from yosegi.teachers._answers import read
    from yosegi.teachers._kept import Answer
    from yosegi.teachers.endpoint import Endpoint, Passing

    os.environ["FUZZ_KEY"] = SECRET
    os.environ["NO_PROXY"] = "*"
    endpoint = Endpoint("http://teacher.test/v1", "m", key="FUZZ_KEY", timeout=3)
    good = {
        "choices": [
            {
                "message": {"role": "assistant", "content": '{"system": 2, "because": "two steps"}'},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }
    bad = {"error": {"message": f"no such key {SECRET}", "code": "invalid_api_key"}}
    said = [
        "System 2.",
        "<think>system 1</think> system 2",
        '{"system": 1} {"system": 2}',
        "システム１",
        '{"system": null}',
        "not system 1",
    ]

    def case(chance: random.Random, _: Path) -> None:
        vote = read(mutate.text(chance, chance.choice(said)), chance.choice([1, 2, 9]))
        if vote.system is not None and not 0 <= vote.system < 9:
            raise Fault(f"a vote for {vote.system}")
        status = chance.choice([200, 200, 200, 200, 400, 401, 404, 408, 429, 500, 503, 204, 301, 599])
        row = mutate.value(chance, good if status == 200 else bad)
        if chance.random() < 0.2 and isinstance(row, dict):
            row["choices"] = [
                {"message": {"content": f"key: {SECRET} {json.dumps(SECRET)} {SECRET.replace('/', '%2F')}"}}
            ]
        body = mutate.written(chance, row)
        body = body if chance.random() < 0.5 else mutate.content(chance, body)
        headers = {
            "Retry-After": chance.choice(
                ["1", "-1", "nan", "inf", "1e400", "soon", "Wed, 21 Oct 2099 07:28:00 GMT", ""]
            )
        }
        if chance.random() < 0.2:
            headers["Content-Encoding"] = chance.choice(["gzip", "deflate", "br", "none"])
            body = gzip.compress(body if chance.random() < 0.9 else bytes(9 << 20)) if chance.random() < 0.7 else body

        async def ask() -> Any:
            answer = httpx2.MockTransport(lambda _: httpx2.Response(status, headers=headers, content=body))
            async with httpx2.AsyncClient(transport=answer) as client:
                return await endpoint._request(client, {})

        try:
            made = asyncio.run(ask())
        except (Passing, YosegiError) as error:
            one_line(str(error))
            text = str(error)
            if not isinstance(after := getattr(error, "after", 0.0), float | int) or math.isnan(after):
                raise Fault(f"it is to be asked again after {after} seconds") from error
        else:
            if not isinstance(made, Answer) or not 0 <= made.tokens_in <= 1 << 40:
                raise Fault(f"{made} is no answer")
            text = made.text
            text.encode()
            read(text, 2)
        if SECRET in text or json.dumps(SECRET)[1:-1] in text:
            raise Fault("the key came back")

    return case


# The server: bodies of requests.


def server(work: Path) -> Case:
    """Whatever is asked, no 5xx; what is refused is said in one line."""
    import torch

    from yosegi.bases import load
    from yosegi.core.expert import Expert, Factors
    from yosegi.inits import fresh
    from yosegi.library.store import Library
    from yosegi.serve.app import make_app
    from yosegi.serve.service import Service
    from yosegi.serve.settings import ServeSettings

    base = load("nano", device="cpu")
    library = Library(work / "served", base.hash, base.name)
    for name in ("a", "b"):
        expert = fresh(base.model, name, rank=2, alpha=2, task="skills/add")
        factors = {
            layer: Factors(f.A_RI, torch.randn_like(f.B_OR) * 0.1, f.scale) for layer, f in expert.factors.items()
        }
        library.add(Expert(name, factors, {"task": ["skills/add"], "init": "kaiming", "init_seed": 0}))
    service = Service(base, library.path, ServeSettings(api_key=["k"], watch=0, max_tokens=4, timeout=20))
    app, loop = make_app(service), asyncio.new_event_loop()
    loop.run_until_complete(service.open())
    ENDS.append(lambda: (loop.run_until_complete(service.close()), loop.close()))
    chat = {
        "model": "base",
        "messages": [{"role": "user", "content": "1+1="}],
        "max_tokens": 2,
        "temperature": 0,
        "stop": ["\n"],
    }
    more = {
        "experts": {"a": 0.5},
        "stream": True,
        "logprobs": True,
        "top_logprobs": 2,
        "n": 2,
        "seed": 1,
        "routing": "layers",
    }
    plain = {"model": "arrow{top_k=1}(a,b)", "prompt": "1+1=", "max_tokens": 2, "top_p": 0.9, "top_k": 3, "echo": True}
    good = {
        "/v1/chat/completions": [chat, chat | more],
        "/v1/completions": [plain, plain | {"prompt": [[1, 2], [3]], "logprobs": 2}],
    }
    good["/v1/experts"] = [{"name": "a"}]

    async def ask(path: str, method: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        given, made = [{"type": "http.request", "body": body, "more_body": False}], list[Any]()

        async def receive() -> Any:
            if given:
                return given.pop()
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            made.append(message)

        encoded = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
        }
        scope |= {
            "raw_path": path.encode("utf-8", "replace"),
            "query_string": b"",
            "headers": encoded,
            "client": ("127.0.0.1", 1),
        }
        await app(scope | {"server": ("127.0.0.1", 80), "root_path": ""}, receive, send)
        return made[0]["status"], b"".join(message.get("body", b"") for message in made[1:])

    def case(chance: random.Random, _: Path) -> None:
        path = chance.choice([*good, "/v1/chat/completions", "/v1/completions"])
        row = chance.choice(good[path])
        body = mutate.written(chance, mutate.value(chance, row) if chance.random() < 0.9 else row)
        body = body if chance.random() < 0.7 else mutate.content(chance, body)
        headers = {"Host": "127.0.0.1", "Content-Type": "application/json", "Authorization": "Bearer k"}
        if chance.random() < 0.1:
            headers[chance.choice([*headers, "Origin", "Content-Length"])] = chance.choice(mutate.TEXTS[:30])
        method = "POST"
        if chance.random() < 0.1:
            method, path = "GET", f"/v1/models/{chance.choice(mutate.TEXTS)}".encode("utf-8", "replace").decode()
        status, answer = loop.run_until_complete(ask(path, method, body, headers))
        broken = (
            b'"code":"engine_error"' in answer and b"not finite" in answer
        )  # weights of 1e308: said, and the server lives
        if not 200 <= status < 500 and not broken:
            raise Fault(f"{method} {path}: {status} {answer[:200]!r} for {body[:300]!r}")
        if status >= 400:
            one_line(json.loads(answer)["error"]["message"])

    return case


ENDS: list[Callable[[], Any]] = []
"""What is called when all cases are over."""
TARGETS: dict[str, Callable[[Path], Case]] = {
    "libraries": libraries, "settings": settings, "data": data, "specs": specs, "teachers": teachers, "server": server
}  # fmt: skip
ABOUT = {
    "libraries": "damaged cards, configs, weights and kept arms", "settings": "files and fields of settings",
    "data": "data files", "specs": "specs of methods, arms and teachers", "teachers": "answers of endpoints", "server": "requests to the server",
}  # fmt: skip


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Ends what takes too long, and holds the warnings of a case to one line each."""

    def late(*_: Any) -> None:
        raise Fault(f"not over after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for one in caught:
            if "yosegi" in one.filename:
                one_line(str(one.message))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(case: Case, name: str, work: Path) -> str | None:
    """Runs one case in an empty folder that it is given; returns what was wrong."""
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    here = Path.cwd()
    os.chdir(folder)
    try:
        with watched():
            case(random.Random(name), folder)
        if left := [path for path in files_in(folder) if not Path(path).name.startswith(("rows.", "run."))]:
            raise Fault(f"left over: {left[:5]}")
    except Exception as error:
        if "--case" in sys.argv:
            traceback.print_exc()
        return f"{type(error).__name__}: {str(error)[:500]}"
    finally:
        os.chdir(here)
    return None


def fuzz(cases: int, seed: int, names: list[str], work: Path) -> tuple[Counter[str], dict[str, list[str]]]:
    """Runs so many cases in turn; returns how many of each kind there were, and which failed."""
    made = {name: TARGETS[name](work) for name in names}
    counts, failed = Counter[str](), {name: list[str]() for name in names}
    try:
        for number, name in zip(range(cases), itertools.cycle(names), strict=False):
            began = time.monotonic()
            if fault := run(made[name], one := f"{seed}/{name}/{number}", work):
                failed[name].append(f"{one}: {fault}\n    again: python -m tests.attacks.fuzz --case {one}")
                print(failed[name][-1], file=sys.stderr, flush=True)
            counts[name] += 1
            SPENT[name] += time.monotonic() - began
    finally:
        while ENDS:
            ENDS.pop()()
    return counts, failed


SPENT: Counter[str] = Counter()
"""Seconds by kind of case."""


def available() -> list[str]:
    """Returns what can be attacked: the server only where it is installed."""
    try:
        importlib.import_module("fastapi")
        importlib.import_module("prometheus_client")
    except ImportError:
        return [name for name in TARGETS if name != "server"]
    return [*TARGETS]


def main() -> int:
    """Prints attack, cases and failures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=TARGETS, help="Only this. May be repeated.")
    parser.add_argument("--case", help="One case, as a failure names it.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        work = Path(folder)
        if given.case:
            name = given.case.split("/")[1]
            try:
                fault = run(TARGETS[name](work), given.case, work)
            finally:
                while ENDS:
                    ENDS.pop()()
            print(fault or "as it should be")
            return bool(fault)
        counts, failed = fuzz(given.cases, given.seed, given.only or available(), work)
    print(", ".join(f"{name} {seconds:.0f} s" for name, seconds in SPENT.items()), file=sys.stderr)
    print("| attack | cases | failures |\n|---|---|---|")
    for name, count in counts.items():
        print(f"| {ABOUT[name]} | {count} | {len(failed[name])} |")
    print(f"| all inputs | {counts.total()} | {sum(map(len, failed.values()))} |")
    return any(failed.values())


if __name__ == "__main__":
    sys.exit(main())
