"""Tiny bases of the families that GGUF is written of, with tokenizers made on the spot, and libraries of experts for them."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
import torch

from yosegi.bases import Base
from yosegi.core.expert import Expert, Factors
from yosegi.core.model import linears, shape
from yosegi.exporting.vocabulary import SPLITS
from yosegi.library.store import Library

CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN, _ = SPLITS
TEXTS = [
    "the capital of France is Paris",
    "12 + 30 = 42 and 7",
    "def add(a, b): return a + b",
    "日本の首都は東京です",
] * 5
FAMILIES = {
    "llama": dict(num_key_value_heads=2),
    "qwen2": dict(num_key_value_heads=2),
    "qwen3": dict(num_key_value_heads=2, head_dim=128),
    "gemma": dict(num_key_value_heads=1, head_dim=32, hidden_size=128),
    "gemma2": dict(num_key_value_heads=2, head_dim=256, query_pre_attn_scalar=256, sliding_window=32),
    "gemma3_text": dict(num_key_value_heads=1, head_dim=256, query_pre_attn_scalar=256, sliding_window=32),
}


def byte_tokenizer(split=None):
    """A byte-level BPE as GPT-2's, or with another rule for words."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    before = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)]
    if split is not None:
        before.insert(0, pre_tokenizers.Split(Regex(split), behavior="isolated"))
    words.pre_tokenizer = pre_tokenizers.Sequence(before) if split is not None else before[0]
    words.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML
    )


def character_tokenizer():
    """A BPE over characters as Gemma's, with a piece for every byte."""
    from transformers import GemmaTokenizer
    from transformers.tokenization_utils_base import generate_merges

    words = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        *(f"<0x{n:02X}>" for n in range(256)),
        "▁t",
        "▁the",
        "he",
        "th",
        "an",
        "and",
        "▁and",
    ]
    words += sorted({character.replace(" ", "▁") for text in TEXTS for character in text})
    vocab = {word: number for number, word in enumerate(dict.fromkeys(words))}
    merges = generate_merges(vocab, {word: -number for word, number in vocab.items()})
    return GemmaTokenizer(vocab=vocab, merges=merges, chat_template=CHATML.replace("<|im_end|>", "<end>"))


@pytest.fixture
def tiny():
    """tiny("qwen3"): a random base of a family."""
    from transformers import AutoConfig, AutoModelForCausalLM

    def make(family="llama", tokenizer=None, rows=8, **more):
        words = (QWEN,) if family.startswith("qwen") else ()
        tokenizer = tokenizer or (character_tokenizer() if family.startswith("gemma") else byte_tokenizer(*words))
        sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4)
        if family == "gemma3_text":
            sizes["num_hidden_layers"] = 7  # the sixth attends to all
        config = AutoConfig.for_model(
            family, vocab_size=len(tokenizer) + rows, max_position_embeddings=128, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **sizes | FAMILIES.get(family, {}) | more,
        )  # fmt: skip
        model = AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                small = "norm" in name or "bias" in name
                parameter.copy_(torch.randn_like(parameter) * (0.1 if small else 0.2))
                if "norm" in name and not family.startswith("gemma"):  # whose norms are 1 + w
                    parameter += 1
        return Base(family, "0123456789ab", model, tokenizer, chat_template=tokenizer.chat_template or "")

    return make


@pytest.fixture
def library_of(tmp_path):
    """library_of(base, (4, 12)): a library with random experts a, b, … of these ranks."""

    def make(base, ranks=(4, 12), targets="all-linear"):
        library, modules = Library(tmp_path / "library", base.hash, base.name), dict(base.model.named_modules())
        for name, R in zip("abcd", ranks, strict=False):
            factors = {}
            for n, layer in enumerate(linears(base.model, targets)):
                O, I = shape(modules[layer])
                factors[layer] = Factors(
                    torch.randn(R, I) / I**0.5, torch.randn(O, R) * 0.05, 0.5 + n % 2 * (name == "b")
                )
            card = {"task": [f"task_{name}"], "base_hash": base.hash, "base": base.name, "data_hash": "d4"}
            library.add(Expert(name, factors, card))
        return library

    return make


class Hub:
    """A Hub on this machine, as huggingface_hub speaks with it: repositories, LFS, one commit after another.

    `cut` bytes of the next large file are sent before the connection breaks; with `die` the server refuses uploads from there on.
    """

    def __init__(self, token="secret"):
        self.token, self.repos, self.blobs, self.asked, self.cut, self.die = token, {}, {}, [], None, None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                url = urlsplit(self.path)
                hub.asked.append((self.command, unquote(url.path)))
                self.content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        self.content += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                if not url.path.startswith("/lfs/") and self.headers.get("Authorization") != f"Bearer {hub.token}":
                    return self.reply(
                        401, {"error": "no"}, {"X-Error-Message": "Invalid credentials in Authorization header"}
                    )
                return self.answer(unquote(url.path).strip("/").split("/"))

            do_GET = do_HEAD = do_POST = do_PUT = serve

            def answer(self, path):
                if path == ["api", "repos", "create"]:
                    asked = json.loads(self.content)
                    name = f"{asked.get('organization') or 'me'}/{asked['name']}"
                    if name in hub.repos:
                        return self.reply(409, {"error": "there", "url": f"{hub.url}/{name}"})
                    hub.repos[name] = {
                        "private": asked.get("private") or asked.get("visibility") == "private",
                        "files": {},
                        "commits": 0,
                    }
                    return self.reply(200, {"url": f"{hub.url}/{name}"})
                if path[:2] == ["api", "validate-yaml"]:
                    return self.reply(200, {"errors": [], "warnings": []})
                if path[0] == "lfs":
                    if hub.die is not None and len(hub.blobs) >= hub.die:
                        return self.reply(403, {"error": "full"})
                    hub.blobs[path[1]] = self.content
                    return self.reply(200, {})
                if path[1].endswith(".git"):
                    objects = [
                        {"oid": one["oid"], "size": one["size"]}
                        | (
                            {}
                            if one["oid"] in hub.blobs
                            else {"actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}}
                        )
                        for one in json.loads(self.content)["objects"]
                    ]
                    return self.reply(200, {"objects": objects})
                name, rest = ("/".join(path[2:4]), path[4:]) if path[0] == "api" else ("/".join(path[:2]), path[2:])
                if name not in hub.repos:
                    return self.reply(404, {"error": "none"}, {"X-Error-Code": "RepoNotFound"})
                return self.of_repo(name, hub.repos[name], rest)

            def of_repo(self, name, repo, rest):
                sha = hub.sha(name)
                if rest[:1] == ["preupload"]:
                    modes = [
                        {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith((".safetensors", ".gguf")) else "regular",
                         "shouldIgnore": False, "oid": None}
                        for one in json.loads(self.content)["files"]
                    ]  # fmt: skip
                    return self.reply(200, {"files": modes})
                if rest[:1] == ["commit"]:
                    for line in map(json.loads, self.content.splitlines()):
                        value = line["value"]
                        if line["key"] == "file":
                            repo["files"][value["path"]] = base64.b64decode(value["content"])
                        elif line["key"] == "lfsFile":
                            repo["files"][value["path"]] = hub.blobs[value["oid"]]
                    repo["commits"] += 1
                    sha = hub.sha(name)
                    return self.reply(200, {"commitOid": sha, "commitUrl": f"{hub.url}/{name}/commit/{sha}"})
                if rest[:1] == ["resolve"]:
                    return self.file("/".join(rest[2:]), repo["files"]["/".join(rest[2:])], sha)
                files = [(path, content, hub.known(path, content)) for path, content in sorted(repo["files"].items())]
                if rest[:1] == ["tree"]:
                    return self.reply(200, [
                        {"type": "file", "path": path, "size": len(content), "oid": oid, **({"lfs": {"oid": lfs, "size": len(content), "pointerSize": 9}} if lfs else {})}
                        for path, content, (oid, lfs) in files
                    ])  # fmt: skip
                siblings = [
                    {"rfilename": path, "size": len(content), "blobId": oid, **({"lfs": {"sha256": lfs, "size": len(content), "pointerSize": 9}} if lfs else {})}
                    for path, content, (oid, lfs) in files
                ]  # fmt: skip
                return self.reply(200, {"id": name, "sha": sha, "private": repo["private"], "siblings": siblings})

            def file(self, path, content, sha):
                oid, lfs = hub.known(path, content)
                start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
                head = {"ETag": f'"{lfs or oid}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
                if start:
                    head["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                if self.command == "GET" and len(content) > (hub.cut or len(content)):
                    with hub.one:  # of two large files that are asked for at once, one breaks
                        cut, hub.cut = hub.cut, None
                    if cut is not None:
                        return self.reply(200, content, head, cut)
                return self.reply(206 if start else 200, content[start:], head)

            def reply(self, status, body, head=None, cut=None):
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for key, value in {"Content-Length": len(body), **(head or {})}.items():
                    self.send_header(key, str(value))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[:cut])
                if cut is not None:
                    self.wfile.flush()
                    hub.hold.wait(60)
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.hold, self.one = threading.Event(), threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def sha(self, name):
        """The hash of the last commit."""
        return hashlib.sha1(f"{name} {self.repos[name]['commits']}".encode()).hexdigest()

    def known(self, path, content):
        """The hash of a file as git has it, and its sha256 if it is a large one."""
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return oid, hashlib.sha256(content).hexdigest() if path.endswith((".safetensors", ".gguf", ".bin")) else None

    def sent(self):
        """What changed anything."""
        return [(method, path) for method, path in self.asked if method in ("POST", "PUT")]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    server = Hub()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 120)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield server
    server.hold.set()
    server.http.shutdown()
    server.http.server_close()
