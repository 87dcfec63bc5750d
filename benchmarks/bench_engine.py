"""What does the engine gain over the loops that it took the place of, on a random Llama of 30 M parameters?

stop       greedy answers that end at different lengths, by a stop string. Peer: transformers' `generate` in left-padded batches
           of as many rows, each of which ends when its last answer does.
samples    K = 8 draws of 16 tokens for prompts of 200. Peer: this project at 1c545d0 (a git worktree, a process of its own),
           which read each prompt K times.
arms       16 arms, a request of 16 + 64 tokens each, in one batch. Peer: the same engine, one arm after another.
loops      both of our loops on one model, answers of one length: what continuous batching costs where it has nothing to gain.
choices, letters, shots, texts   log-likelihoods, beside lm-eval's HFLM: benchmarks/scoring.py.

Equality   tokens, up to a step whose two best logits are closer than 1e-4; how many steps that leaves stands in the table. Draws
           have other noise in 1c545d0, so they are compared where they are cold.
Expected   stop ≥ 1.5x, samples ≥ 3x, arms ≥ 4x, loops about 1x; choices ≥ 3x, letters ≥ 1x, texts ≥ 1.2x.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from experts import random_expert
from scoring import scoring
from side_by_side import Row, clock, interleaved, options, tell
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from yosegi.bases import Base, load
from yosegi.core.model import linears, shape
from yosegi.engine import plain
from yosegi.engine.arm import Arm
from yosegi.engine.decode import Decoder
from yosegi.engine.engine import Engine
from yosegi.engine.generate import generate, sample
from yosegi.engine.request import Request, Stop

COMMIT = "1c545d0"
FULL = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8}
QUICK = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
WORDS = 8192
NEWLINE = 24  # every so many-th word ends with a newline, and so ends an answer


def llama(sizes: dict[str, int]) -> Any:
    """The model of all sides; its weights depend on nothing but the sizes."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS, num_key_value_heads=sizes["num_attention_heads"] // 2, max_position_embeddings=1024, pad_token_id=0,
        bos_token_id=1, eos_token_id=1, tie_word_embeddings=False, initializer_range=0.1, **sizes,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def base_of(sizes: dict[str, int]) -> Base:
    """It, and words for its tokens."""
    words = {f"w{i}\n" if i % NEWLINE == 0 else f"w{i} ": i for i in range(2, WORDS)} | {"<pad>": 0, "<eos>": 1}
    raw = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Split(" ", "merged_with_previous"), decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", clean_up_tokenization_spaces=False
    )
    return Base("random", "0123456789ab", llama(sizes), tokenizer)


def prompts(count: int, length: int) -> list[list[int]]:
    """Random tokens, none of which ends anything."""
    chance = torch.Generator().manual_seed(count)
    return (torch.randint(100, WORDS // NEWLINE, (count, length), generator=chance) * NEWLINE + 1).tolist()


def stops(base: Base, quick: bool) -> Row:
    """Greedy answers with a stop string."""
    count, rows, limit = (12, 4, 12) if quick else (96, 32, 128)
    asked = [" ".join(f"w{i}" for i in ids) + " " for ids in prompts(count, 12)]
    written: dict[str, list[str]] = {}

    def theirs() -> None:
        greedy = GenerationConfig(max_new_tokens=limit, do_sample=False, pad_token_id=0, eos_token_id=1)
        written["theirs"] = []
        for start in range(0, count, rows):
            batch = base.tokenizer(asked[start : start + rows], padding=True, padding_side="left", return_tensors="pt")
            out_BT = base.model.generate(  # type: ignore[operator]
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                generation_config=greedy,
                stopping_criteria=[lambda ids_BT, _, **__: ids_BT[:, -1] % NEWLINE == 0],
            )
            new_BT = out_BT[:, batch.input_ids.shape[1] :]
            written["theirs"] += [text.split("\n")[0] for text in base.tokenizer.batch_decode(new_BT)]

    def ours() -> None:
        answers = generate(base, asked, max_new_tokens=limit, stop=["\n"], rows=rows)
        written["ours"] = [answer.text for answer in answers]

    times, ratios = interleaved(1 if quick else 3, peer=theirs, yosegi=ours)
    assert written["theirs"] == written["ours"], "the answers differ"
    lengths = [len(text.split()) for text in written["ours"]]
    what = (
        f"{count} answers of {min(lengths)} to {max(lengths)} tokens, mean {statistics.fmean(lengths):.0f}, {rows} rows"
    )
    return row("stop", what, f"generate, batches of {rows}", times, ratios, f"all {count}")


@contextmanager
def before(sizes: dict[str, int]) -> Iterator[Callable[..., Any] | None]:
    """ask(what, **how): this project at 1c545d0, in a process of its own. None where git does not have it."""
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(
            ["git", "-C", str(root), "worktree", "add", "--detach", f"{folder}/then", COMMIT], capture_output=True
        )
        if made.returncode:
            yield None
            return
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", THEN, __file__, json.dumps(sizes), str(WORDS)], stdin=-1, stdout=-1, text=True,
                cwd=f"{folder}/then",
            )  # fmt: skip

            def ask(**how: Any) -> Any:
                assert process.stdin and process.stdout
                print(json.dumps(how), file=process.stdin, flush=True)
                return json.loads(process.stdout.readline())

            yield ask
            process.communicate()
        finally:
            subprocess.run(
                ["git", "-C", str(root), "worktree", "remove", "--force", f"{folder}/then"], capture_output=True
            )


THEN = """
import json, sys, time
import torch
from types import SimpleNamespace
sys.path[:0] = ["."]
from yosegi.bases import Base
from yosegi.generate import Draw, sample
from transformers import LlamaConfig, LlamaForCausalLM

torch.set_num_threads(1)
source, sizes, WORDS, Any = open(sys.argv[1]).read(), json.loads(sys.argv[2]), int(sys.argv[3]), object
exec(source[source.index("def llama"):source.index("def base_of")])
base = Base("random", "0123456789ab", llama(sizes), SimpleNamespace(pad_token_id=0, eos_token_id=1))
for line in sys.stdin:
    how = json.loads(line)
    ids, started = how["ids"], time.process_time()
    drawn = sample(base, ids, [Draw(0, len(ids))], max_new_tokens=how["limit"], temperature=how["temperature"])
    print(json.dumps({"seconds": time.process_time() - started, "drawn": drawn}), flush=True)
"""


def samples(base: Base, sizes: dict[str, int], quick: bool) -> Row:
    """K draws for each prompt."""
    count, length, K, limit = (2, 20, 3, 4) if quick else (8, 200, 8, 16)
    asked = prompts(count, length)
    repeated = [ids for ids in asked for _ in range(K)]

    def ours(temperature: float = 1.0) -> list[list[int]]:
        return sample(base, asked, range(count), n=K, max_new_tokens=limit, temperature=temperature)

    what = f"{count} prompts of {length} tokens, {K} draws of {limit}"
    with before(sizes) as ask:
        if ask is None:
            return {"case": "samples", "what": what, "peer": f"{COMMIT} is not in this clone", "equal": None}
        cold = ask(ids=repeated, limit=limit, temperature=1e-4)["drawn"]
        assert cold == ours(1e-4), "cold draws differ"
        pairs = []
        for _ in range(1 if quick else 3):
            theirs = ask(ids=repeated, limit=limit, temperature=1.0)["seconds"]
            pairs.append((theirs, clock(ours)))
    times = dict(zip(("peer", "yosegi"), map(statistics.median, zip(*pairs, strict=True)), strict=True))
    ratios = {"peer": statistics.median(theirs / mine for theirs, mine in pairs)}
    return row("samples", what, COMMIT, times, ratios, f"all {len(cold)}, where they are cold")


def sixteen_arms(base: Base, quick: bool) -> Row:
    """An arm for every request."""
    length, limit = (4, 6) if quick else (16, 64)
    torch.manual_seed(1)
    modules = dict(base.model.named_modules())
    shapes = {layer: shape(modules[layer]) for layer in linears(base.model)}
    experts = [random_expert(f"e{n:02d}", shapes, rank=8, scale=0.05) for n in range(10)]
    arms = [
        Arm("base"), *(Arm(expert.name, [expert]) for expert in experts), Arm("mean", experts), Arm("arrow", experts, "arrow"),
        Arm("few", experts[:4], "arrow", {"top_k": 1}), Arm("ties", experts[:3], merge="ties"), Arm("cat", experts, merge="cat"),
    ]  # fmt: skip
    asked = [" ".join(f"w{i}" for i in ids) + " " for ids in prompts(len(arms), length)]
    engine, written = Engine(base), {}

    def one_by_one() -> None:
        written["theirs"] = [
            engine.generate(arm, [ask], max_new_tokens=limit)[0] for arm, ask in zip(arms, asked, strict=True)
        ]

    def together() -> None:
        written["ours"] = engine.generate(arms, asked, max_new_tokens=limit)

    times, ratios = interleaved(1 if quick else 3, peer=one_by_one, yosegi=together)
    same = sum(one == other for one, other in zip(written["theirs"], written["ours"], strict=True))
    assert same >= len(arms) - 1, f"{len(arms) - same} of {len(arms)} answers differ"  # a step may be too close to call
    what = f"{len(arms)} arms, a request of {length} + {limit} tokens each"
    return row("arms", what, "one after another", times, ratios, f"{same} of {len(arms)}")


def both_loops(base: Base, quick: bool) -> Row:
    """Answers of one length."""
    count, limit = (4, 4) if quick else (32, 32)
    V = base.model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    ids = [[5 + token % (V - 5) for token in row] for row in prompts(count, 32)]
    never = Stop(base)
    never.ids = frozenset()
    written: dict[str, list[Request]] = {}

    def run(name: str) -> None:
        requests = written[name] = [Request(row, never, limit, number=n) for n, row in enumerate(ids)]
        loop = (
            plain.run(base, requests, count) if name == "peer" else Decoder.sized(base, requests, count).run(requests)
        )
        for _ in loop:
            pass

    times, ratios = interleaved(1 if quick else 3, peer=lambda: run("peer"), yosegi=lambda: run("yosegi"))
    pairs = [(a.completions[0], b.completions[0]) for a, b in zip(written["peer"], written["yosegi"], strict=True)]
    same = sum(a.ids == b.ids for a, b in pairs)
    assert all(a.ids == b.ids or a.close_calls for a, b in pairs), "answers differ, and no step was close"
    what = f"{base.name}: {count} answers of {limit} tokens"
    return row("loops", what, "engine/plain.py", times, ratios, f"{same} of {count}")


def row(case: str, what: str, peer: str, times: dict[str, float], ratios: dict[str, float], equal: str) -> Row:
    """One line of the table."""
    return {
        "case": case, "what": what, "peer": peer, "peer s": times["peer"], "yosegi s": times["yosegi"], "ratio": ratios["peer"],
        "equal": equal,
    }  # fmt: skip


def generation(quick: bool) -> Iterator[Row]:
    """All cases of answers."""
    sizes = QUICK if quick else FULL
    base = base_of(sizes)
    yield stops(base, quick)
    yield samples(base, sizes, quick)
    yield sixteen_arms(base, quick)
    yield both_loops(base, quick)
    yield both_loops(load("nano", device="cpu"), quick)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Case by case."""
    chosen = options(__doc__, arguments)
    quick = chosen.quick
    return tell(__doc__, list(chain(generation(quick), scoring(llama(QUICK if quick else FULL), quick))), chosen)


if __name__ == "__main__":
    main()
