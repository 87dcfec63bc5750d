"""The one log-likelihood, for evaluation, search, validation, curation and pre-training. It is log p, so never above 0.

    score_candidates   the candidates of a task and the gold answers; each prompt is read once
    score_answers      the gold answers and the end-of-text token after them
    score_logprobs     any texts, each after a prompt or by itself
    sum_logprobs       the labels of rows, as rows.py makes them

After a prompt, a text is a continuation, and its end is not scored. Without a prompt all of its tokens are predicted, the first
from what begins a text (BOS, or end-of-text). A text longer than the context is read in windows. Equal rows are read once, and so
is what rows have in common (prefix.py). Logits are computed only where they are needed.

Shapes: B sequences, T tokens, N targets, X places that predict one, V vocabulary.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine import prefix
from yosegi.engine.chat import ask, continuation
from yosegi.engine.generate import of
from yosegi.engine.rows import (
    Row,
    Rows,
    context_length,
    encode_pairs,
    frame,
    pad_id,
    start_of_text,
    targets_of,
    to_batch,
    tokenise,
    windows,
)
from yosegi.errors import Invalid, NotFinite
from yosegi.estimate.memory import TOKENS
from yosegi.objectives import IGNORED, logits_at
from yosegi.tasks import Example, LogProb, Score, Task

LOGITS = 2**27
"""The most logits of one forward pass; more would take gigabytes with a vocabulary of a hundred thousand."""

SetBatch = Callable[[Sequence[int], Tensor], None]
"""Tells the routers which rows are in the next batch, and which of their tokens are real [B, T]."""


class Scored(NamedTuple):
    """The log-likelihoods of a task's candidates and the scores they give.

    Args:
        scores: by `Task.score_logprobs`; None of an example without candidates.
        logprobs: of each example's candidates, by the names that the task gives them.
        answers: mean log p per token of the gold answers; None of an example that has none.
        cut: what was cut from the gold answers, as in `Rows.cut`.
    """

    scores: list[Score | None]
    logprobs: list[dict[str, list[LogProb]]]
    answers: Sequence[float | None]
    cut: dict[str, int]


def score_candidates(base: Base, task: Task, examples: Sequence[Example], **settings: Any) -> Scored:
    """Returns the log-likelihood of the candidates of each example and of its gold answer.

    Args:
        base: the model, with or without experts attached.
        task: names the candidates. The gold answer is the target and the end-of-text token after it; of a task that does not
            generate, the first of the candidates.
        examples: of the task.
        settings: `banks`, `known` (a value for each example) and `batch_size` of `summed`.
    """
    groups = [task.candidates(example) for example in examples]
    texts = [
        (n, name, *continuation(base, examples[n], candidates.prompt, text))
        for n, named in enumerate(groups)
        for name, candidates in named.items()
        for text in candidates.texts
    ]
    rows = _rows(base, [(prompt, text) for _, _, prompt, text in texts])
    alike = [(n, name if prompt is None else prompt) for n, name, prompt, _ in texts]
    answered = [(n, example) for n, example in enumerate(examples) if task.generates and example.target]
    golden = tokenise(base, [e for _, e in answered], context_length(base)) if answered else Rows([], {})
    rows += [[row] for row in golden]
    alike += [(n, ask(base, example)) for n, example in answered]
    values = iter(_logprobs(base, rows, alike, [n for n, _ in alike], **settings))
    logprobs = [{name: [next(values) for _ in one.texts] for name, one in named.items()} for named in groups]
    scores = [
        task.score_logprobs(example, named) if named else None
        for example, named in zip(examples, logprobs, strict=True)
    ]
    if task.generates:
        gold = [next(values).mean if example.target else None for example in examples]
    else:
        gold = [next(iter(named.values()))[0].mean for named in logprobs]
    return Scored(scores, logprobs, gold, golden.cut)


def score_answers(base: Base, examples: Sequence[Example], **settings: Any) -> list[float]:
    """Returns the mean log p per token of each target and its end-of-text token, cut to the context of the model.

    Args:
        base: the model, with or without experts attached.
        examples: their `target` is the answer.
        settings: as for `score_candidates`.
    """
    rows = [[row] for row in tokenise(base, examples, context_length(base))]
    prompts = [ask(base, example) for example in examples]
    return [answer.mean for answer in _logprobs(base, rows, prompts, range(len(rows)), **settings)]


def score_logprobs(base: Base, texts: Sequence[tuple[str | None, str]], **settings: Any) -> list[LogProb]:
    """Returns the log-likelihood of each text after its prompt.

    Args:
        base: the model, with or without experts attached.
        texts: (prompt, text); without a prompt (None) a text stands by itself.
        settings: as for `score_candidates`; `known` has a value for each text.

    Raises:
        Invalid: a text without a prompt has no tokens.
    """
    alike: list[Hashable] = [n if prompt is None else prompt for n, (prompt, _) in enumerate(texts)]
    return _logprobs(base, _rows(base, texts), alike, range(len(texts)), **settings)


def _rows(base: Base, texts: Sequence[tuple[str | None, str]]) -> list[list[Row]]:
    """Returns one row for each text, or several for a long one; each token is a label once."""
    context, kept = context_length(base), len(frame(base.tokenizer)[0]) if texts else 0
    pairs, rows = encode_pairs(base, [(prompt or "", text) for prompt, text in texts]), list[list[Row]]()
    for (prompt, text), (before, ids) in zip(texts, pairs, strict=True):
        if prompt is None and not ids:
            raise Invalid(f"The text {text!r} has no tokens.")
        if base.seq2seq:
            rows.append([{"input_ids": before[-context:], "labels": ids}])
        else:
            rows.append(windows(before or start_of_text(base), ids, context, kept))
    return rows


def _logprobs(
    base: Base,
    texts: Sequence[Sequence[Row]],
    alike: Sequence[Hashable],
    examples: Sequence[int],
    *,
    known: Mapping[str, Any] | None = None,
    **settings: Any,
) -> list[LogProb]:
    """Returns the sum over the rows of each text. A text of several rows shares nothing with others."""
    flat = [(n, place, row) for n, rows in enumerate(texts) for place, row in enumerate(rows)]
    groups = [alike[n] if len(texts[n]) == 1 else (n, place) for n, place, _ in flat]
    known = of(known, [examples[n] for n, _, _ in flat])
    sums = summed(base, [row for _, _, row in flat], groups=groups, known=known, **settings)
    totals, counts, likeliest = [0.0] * len(texts), [0] * len(texts), [True] * len(texts)
    for (n, _, row), (value, greedy) in zip(flat, sums, strict=True):
        totals[n] += value
        counts[n] += targets_of(row, base.seq2seq)
        likeliest[n] &= greedy
    values = [LogProb(*pair) for pair in zip(totals, counts, strict=True)]
    for value, greedy in zip(values, likeliest, strict=True):
        value.greedy = greedy
    return values


def sum_logprobs(base: Base, rows: Sequence[Row], **settings: Any) -> list[float]:
    """Returns Σ log p of the labels of each row; the arguments are those of `summed`."""
    return [value for value, _ in summed(base, rows, **settings)]


@torch.no_grad()
def summed(
    base: Base,
    rows: Sequence[Row],
    *,
    groups: Sequence[Hashable] | None = None,
    banks: Banks | None = None,
    known: Mapping[str, Any] | None = None,
    set_batch: SetBatch | None = None,
    batch_size: int = 64,
    tokens: int | None = None,
    bf16: bool = False,
) -> list[tuple[float, bool]]:
    """Returns Σ log p of the labels of each row, and whether each of them is the likeliest token.

    Args:
        base: the model, with or without experts attached.
        rows: `input_ids` and `labels`.
        groups: rows of one group begin alike; what they share is read once. By default every row is read by itself.
        banks: of the attached experts; `set_batch` is called on them for each batch.
        known: what the routers may know of each row, by argument of `Banks.set_batch`.
        set_batch: tells the routers, instead of `banks` and `known`.
        batch_size: sequences at a time, at most.
        tokens: tokens that go through the base at once, padding included.
        bf16: compute in bfloat16 (autocast).

    Raises:
        NotFinite: the logits are NaN or infinite.
    """

    def from_known(places: Sequence[int], mask_BT: Tensor) -> None:
        if banks is not None:
            banks.set_batch(mask_BT=mask_BT, **of(known, places))

    model: Any = base.model
    routed = list(range(len(rows))) if set_batch else _routed(known if banks else None, len(rows))
    keys = [(how, *((key, tuple(ids)) for key, ids in row.items())) for how, row in zip(routed, rows, strict=True)]
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    reading: dict[Hashable, dict[Hashable, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place in sorted(first.values()):  # equal rows that are routed alike are read once
        if targets_of(rows[place], base.seq2seq):
            reading[routed[place]][place if groups is None else groups[place]].append(place)
    device, vocabulary = next(model.parameters()).device, model.get_input_embeddings().weight.shape[0]
    size = _Size(batch_size, tokens or TOKENS.get(device.type, TOKENS["cuda"]), LOGITS // vocabulary)
    sums, greedy, training = [0.0] * len(rows), [True] * len(rows), model.training
    model.eval()
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            with banks.disabled() if banks is not None else nullcontext():
                share = groups is not None and not base.seq2seq and prefix.can_branch(model)
            read = _encoded if base.seq2seq else _decoded
            for places, logp_N, first_N in read(base, rows, reading, set_batch or from_known, size, share):
                if not logp_N.isfinite().all():
                    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
                    raise NotFinite(
                        f"The logits of {base.name}{' with its experts' * (banks is not None)} are not finite: its weights hold "
                        f"NaN or infinity, or it overflows in {dtype}."
                    )
                for place, logp, is_first in zip(places, logp_N.tolist(), first_N.tolist(), strict=True):
                    sums[place] += logp
                    greedy[place] &= is_first
    finally:
        model.train(training)
    return [(sums[first[key]], greedy[first[key]]) for key in keys]


class _Size(NamedTuple):
    """The limits of one forward pass."""

    rows: int
    tokens: int
    targets: int

    def split(self, sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
        """Yields which rows are read together, the longest first; `sizes` are the tokens and targets of each."""
        chosen, targets = list[int](), 0
        for n in sorted(range(len(sizes)), key=lambda n: -sizes[n][0]):
            full = len(chosen) == self.rows or targets + sizes[n][1] > self.targets
            if chosen and (full or (len(chosen) + 1) * sizes[chosen[0]][0] > self.tokens):
                yield chosen
                chosen, targets = [], 0
            chosen, targets = [*chosen, n], targets + sizes[n][1]
        if chosen:
            yield chosen


Reading = Mapping[Hashable, Mapping[Hashable, list[int]]]
"""How rows are routed -> group -> the rows."""
Batches = Iterator[tuple[list[int], Tensor, Tensor]]
"""The row of each target, its log p, and whether it is the likeliest token."""


def _decoded(base: Base, rows: Sequence[Row], reading: Reading, tell: SetBatch, size: _Size, share: bool) -> Batches:
    """Reads decoders: trees with a common prefix, then other trees, then plain rows."""
    model, most = base.model, prefix.window(base.model) if share else 0
    pairs: list[tuple[int, list[prefix.Tree]]] = []
    for groups in reading.values():
        trees = list(prefix.plant(rows, groups.values(), most))
        pairs += prefix.clusters(trees, most) if share else [(0, trees)]
    alone = [tree for length, trees in pairs if not length for tree in trees]
    pairs = [pair for pair in pairs if pair[0]]
    pairs += [(0, [tree for tree in alone if tree.forked is forked]) for forked in (True, False)]
    for length, trees in pairs:
        cache = None
        if length:
            tell([trees[0].rows[0]], torch.ones(1, length, device=model.device))  # type: ignore[arg-type]
            cache = prefix.read(model, trees[0].trunk[:length])
        counts = [(max(tree.size, 1), sum(targets_of(rows[row], False) for row in tree.rows)) for tree in trees]
        for chosen in size.split(counts):
            batch = prefix.batch(model, [trees[n] for n in chosen], rows, pad_id(base), length, cache)
            tell([trees[n].rows[0] for n in chosen], batch.real_BL)
            logits_XV = logits_at(model, batch.place_X, **batch.inputs).float()
            chosen_N = logits_XV[batch.asked_N, batch.token_N]
            norm_N, best_N = logits_XV.logsumexp(-1)[batch.asked_N], logits_XV.amax(-1)[batch.asked_N]
            yield batch.row_N, chosen_N - norm_N, chosen_N == best_N


def _encoded(base: Base, rows: Sequence[Row], reading: Reading, tell: SetBatch, size: _Size, _: bool) -> Batches:
    """Reads encoder-decoders: each prompt is encoded once for all texts after it."""
    from transformers.modeling_outputs import BaseModelOutput

    model: Any = base.model
    prompts: dict[Hashable, list[int]] = defaultdict(list)
    for how, groups in reading.items():
        for place in chain.from_iterable(groups.values()):
            prompts[how, *rows[place]["input_ids"]].append(place)
    answers = list(prompts.values())
    labels = [sum(len(rows[place]["labels"]) for place in places) for places in answers]
    sizes = [(len(rows[places[0]]["input_ids"]) + n, n) for places, n in zip(answers, labels, strict=True)]
    for chosen in size.split(sizes):
        read, written = [answers[n][0] for n in chosen], [place for n in chosen for place in answers[n]]
        prompt_B = torch.tensor([b for b, n in enumerate(chosen) for _ in answers[n]], device=model.device)
        batch = to_batch(base, [rows[place] for place in read])
        tell(read, batch["attention_mask"])
        state_BTF = model.get_encoder()(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        labels_BT = to_batch(base, [rows[place] for place in written])["labels"]
        mask_BT = batch["attention_mask"][prompt_B]
        tell(written, mask_BT)
        encoded = BaseModelOutput(last_hidden_state=state_BTF[prompt_B])
        logits_BTV = model(encoder_outputs=encoded, attention_mask=mask_BT, labels=labels_BT).logits.float()
        asked_BT = labels_BT != IGNORED
        logits_NV, row_N = logits_BTV[asked_BT], asked_BT.nonzero()[:, 0].tolist()
        chosen_N = logits_NV.gather(-1, labels_BT[asked_BT][:, None])[:, 0]
        yield [written[b] for b in row_N], chosen_N - logits_NV.logsumexp(-1), chosen_N == logits_NV.amax(-1)


def _routed(known: Mapping[str, Any] | None, rows: int) -> list[Hashable]:
    """Returns what the routers know of each row; rows with the same value are routed alike."""
    columns = [
        [vector.tobytes() for vector in values.float().cpu().numpy()] if isinstance(values, Tensor) else list(values)
        for values in (known or {}).values()
    ]
    return list(zip(*columns, strict=True)) if columns else [()] * rows
