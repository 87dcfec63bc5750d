"""The scoring half of bench_engine.py: log-likelihoods beside lm-eval's HFLM, on the same model, in batches of as many rows.

choices   questions with four candidates of several tokens. lm-eval reads the question with each of them.
letters   the same with candidates of one token, which lm-eval reads once too.
shots     the choices after worked examples that all questions share.
texts     one continuation after each prompt: nothing is shared, but logits are computed where they are asked for.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

from side_by_side import Row, agree, interleaved
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from yosegi.bases import Base
from yosegi.engine.score import score_logprobs

Texts = list[tuple[str | None, str]]

INSTALL = "pip install 'yosegi-lora[eval]'"
CLOSE = 1e-4


def words(model: Any) -> Base:
    """The base with a word for each of its tokens; a word that does not begin a text has a space before it."""
    spaced = range(2, model.config.vocab_size)
    vocabulary = {"<pad>": 0, "<eos>": 1} | {f" w{i}": i for i in spaced}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", clean_up_tokenization_spaces=False
    )
    return Base("random", "0123456789ab", model, tokenizer)


def scoring(model: Any, quick: bool) -> Iterator[Row]:
    """A row for each case."""
    try:
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM
    except ImportError:
        yield {"case": "scoring", "what": "log-likelihoods", "peer": f"lm-eval is missing: {INSTALL}", "equal": None}
        return
    base, rows = words(model), 4 if quick else 16
    peer = HFLM(pretrained=model, tokenizer=base.tokenizer, batch_size=rows, max_length=1024)
    for case, what, texts in cases(model.config.vocab_size, quick):
        requests = [Instance("loglikelihood", {}, pair, 0) for pair in texts]
        found: dict[str, list[float]] = {}

        def theirs(requests: list[Any] = requests, found: dict[str, list[float]] = found) -> None:
            found["theirs"] = [logp for logp, _ in peer.loglikelihood(requests, disable_tqdm=True)]

        def ours(texts: Texts = texts, found: dict[str, list[float]] = found) -> None:
            found["ours"] = [one.sum_logprob for one in score_logprobs(base, texts, batch_size=rows)]

        times, ratios = interleaved(1 if quick else 5, peer=theirs, yosegi=ours)
        apart = max(abs(a - b) for a, b in zip(found["theirs"], found["ours"], strict=True))
        agree(f"{case}: sums of log p", apart, CLOSE)
        yield {
            "case": case, "what": what, "peer": f"lm-eval HFLM, batches of {rows}", "peer s": times["peer"],
            "yosegi s": times["yosegi"], "ratio": ratios["peer"], "equal": f"all {len(texts)} to {apart:.1g}",
        }  # fmt: skip


def cases(vocabulary: int, quick: bool) -> Iterator[tuple[str, str, Texts]]:
    """(name, what it is, prompts and texts)."""
    chance = random.Random(0)

    def some(low: int, high: int) -> str:
        return "".join(f" w{chance.randrange(2, vocabulary)}" for _ in range(chance.randint(low, high)))

    def questions(count: int, size: tuple[int, int], answer: Callable[[], str], before: str = "") -> Texts:
        prompts = [before + some(*size) for _ in range(count)]
        return [(prompt, answer()) for prompt in prompts for _ in range(4)]

    count, size, length = (4, (10, 14), 30) if quick else (32, (80, 120), 500)
    yield "choices", f"{count} questions, 4 candidates of 3 to 8 tokens", questions(count, size, lambda: some(3, 8))
    yield "letters", f"{count} questions, 4 candidates of 1 token", questions(count, size, lambda: some(1, 1))
    shots = some(length, length)
    yield (
        "shots",
        f"the choices of {count // 4} questions after {length} tokens of examples",
        questions(count // 4, size, lambda: some(3, 8), shots),
    )
    texts = [(some(*size), some(10, 30)) for _ in range(2 * count)]
    yield "texts", f"{2 * count} continuations of 10 to 30 tokens", list(texts)
