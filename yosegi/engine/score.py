"""The one log-likelihood, for evaluation, search, validation, curation and pre-training alike. log p, so never above 0.

    score_candidates   what a task names for each example, and its gold answers, from one reading of each prompt
    score_answers      the gold answers and the end-of-text token after them
    score_logprobs     any texts, each after a prompt or by itself
    sum_logprobs       the labels of rows, as rows.py makes them

After a prompt, a text is a continuation; that it ends there is not asked. By itself, every one of its tokens is predicted, the
first from what begins a text (BOS, or the end of the text before it). What is longer than the model can look at is read in
windows. Equal rows are read once, and so is what rows have in common (prefix.py). Logits are computed where they are needed.

Shapes: B sequences, T tokens, N targets, X places that predict one, V vocabulary.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine import prefix
from yosegi.engine.chat import render
from yosegi.engine.generate import of
from yosegi.engine.rows import (
    Row,
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
"""Of one forward pass, at most; more would take gigabytes with a vocabulary of a hundred thousand."""

SetBatch = Callable[[Sequence[int], Tensor], None]
"""Tells the routers which rows the sequences of the next batch are, and which of their tokens are real [B, T]."""


class Scored(NamedTuple):
    """What the log-likelihoods of a task's candidates are worth.

    Args:
        scores: by `Task.score_logprobs`; None of an example without candidates.
        logprobs: of each example's candidates, by the names that the task gives them.
        answers: mean log p a token of the gold answers.
        cut: what rows of gold answers lost, as `Rows.cut` counts it.
    """

    scores: list[Score | None]
    logprobs: list[dict[str, list[LogProb]]]
    answers: list[float]
    cut: dict[str, int]


def score_candidates(base: Base, task: Task, examples: Sequence[Example], **settings: Any) -> Scored:
    """Returns what the candidates of each example are worth, and the log-likelihood of its gold answer.

    Args:
        base: the model, with or without experts attached.
        task: names the candidates. The gold answer is the target and the end-of-text token after it; of a task that does not
            generate, the first of the candidates.
        examples: of the task.
        settings: `banks`, `known` (a value for each example) and `batch_size` of `sum_logprobs`.
    """
    named = [task.candidates(example) for example in examples]
    texts = [
        (i, name, some.prompt, text)
        for i, groups in enumerate(named)
        for name, some in groups.items()
        for text in some.texts
    ]
    several = _rows(base, [(prompt, text) for _, _, prompt, text in texts])
    groups = [(i, name if prompt is None else prompt) for i, name, prompt, _ in texts]
    golden = tokenise(base, examples, context_length(base)) if task.generates else None
    if golden is not None:
        several += [[row] for row in golden]
        groups += [(i, render(example).prompt) for i, example in enumerate(examples)]
    found = iter(_logprobs(base, several, groups, [i for i, _ in groups], **settings))
    logprobs = [{name: [next(found) for _ in some.texts] for name, some in groups.items()} for groups in named]
    scores = [task.score_logprobs(e, own) if own else None for e, own in zip(examples, logprobs, strict=True)]
    if golden is not None:
        return Scored(scores, logprobs, [gold.mean for gold in found], golden.cut)
    return Scored(scores, logprobs, [next(iter(own.values()))[0].mean for own in logprobs], {})


def score_answers(base: Base, examples: Sequence[Example], **settings: Any) -> list[float]:
    """Returns the mean log p a token of each target and the end-of-text token, cut to what the model can look at.

    Args:
        base: the model, with or without experts attached.
        examples: their `target` is the answer.
        settings: as for `score_candidates`.
    """
    rows = [[row] for row in tokenise(base, examples, context_length(base))]
    prompts = [render(example).prompt for example in examples]
    return [gold.mean for gold in _logprobs(base, rows, prompts, range(len(rows)), **settings)]


def score_logprobs(base: Base, texts: Sequence[tuple[str | None, str]], **settings: Any) -> list[LogProb]:
    """Returns the log-likelihood of each text after its prompt.

    Args:
        base: the model, with or without experts attached.
        texts: (prompt, text); without a prompt (None) a text stands by itself.
        settings: as for `score_candidates`; `known` has a value for each text.

    Raises:
        Invalid: a text without a prompt has no tokens.
    """
    groups: list[Hashable] = [i if prompt is None else prompt for i, (prompt, _) in enumerate(texts)]
    return _logprobs(base, _rows(base, texts), groups, range(len(texts)), **settings)


def _rows(base: Base, texts: Sequence[tuple[str | None, str]]) -> list[list[Row]]:
    """One row for each text; several where it is too long, each token a label in one of them."""
    context, kept = context_length(base), len(frame(base.tokenizer)[0]) if texts else 0
    pairs, several = encode_pairs(base, [(prompt or "", text) for prompt, text in texts]), list[list[Row]]()
    for (prompt, text), (before, ids) in zip(texts, pairs, strict=True):
        if prompt is None and not ids:
            raise Invalid(f"The text {text!r} has no tokens.")
        if base.seq2seq:
            several.append([{"input_ids": before[-context:], "labels": ids}])
        else:
            several.append(windows(before or start_of_text(base), ids, context, kept))
    return several


def _logprobs(
    base: Base,
    several: Sequence[Sequence[Row]],
    groups: Sequence[Hashable],
    examples: Sequence[int],
    *,
    known: Mapping[str, Any] | None = None,
    **settings: Any,
) -> list[LogProb]:
    """The sums over the rows of each text. A text of several rows shares nothing with others."""
    owner = [n for n, rows in enumerate(several) for _ in rows]
    flat = [row for rows in several for row in rows]
    together = [groups[n] if len(several[n]) == 1 else (n, place) for place, n in enumerate(owner)]
    sums = sum_logprobs(base, flat, groups=together, known=of(known, [examples[n] for n in owner]), **settings)
    totals, counts = [0.0] * len(several), [0] * len(several)
    for n, row, value in zip(owner, flat, sums, strict=True):
        totals[n] += value
        counts[n] += targets_of(row, base.seq2seq)
    return [LogProb(*pair) for pair in zip(totals, counts, strict=True)]


@torch.no_grad()
def sum_logprobs(
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
) -> list[float]:
    """Returns Σ log p of the labels of each row.

    Args:
        base: the model, with or without experts attached.
        rows: `input_ids` and `labels`.
        groups: rows of one group begin alike; what they share is read once. By default every row is read by itself.
        banks: of the attached experts; told about each batch.
        known: what the routers may know of each row, by argument of `Banks.set_batch`.
        set_batch: tells the routers, instead of `banks` and `known`.
        batch_size: sequences at a time, at most.
        tokens: tokens that go through the base at once, padding included.
        bf16: compute in bfloat16 (autocast).

    Raises:
        NotFinite: the logits are not numbers, or infinite.
    """

    def tell(places: Sequence[int], mask_BT: Tensor) -> None:
        if banks is not None:
            banks.set_batch(mask_BT=mask_BT, **of(known, places))

    routed = list(range(len(rows))) if set_batch else _routed(known, len(rows)) if banks else [()] * len(rows)
    keys = [(how, *((key, tuple(ids)) for key, ids in row.items())) for how, row in zip(routed, rows, strict=True)]
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    reading: dict[Hashable, dict[Hashable, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place in sorted(first.values()):  # equal rows that are routed alike are read once
        if targets_of(rows[place], base.seq2seq):
            reading[routed[place]][place if groups is None else groups[place]].append(place)
    device = next(base.model.parameters()).device
    size = _Size(batch_size, tokens or TOKENS.get(device.type, TOKENS["cuda"]), LOGITS // _vocabulary(base))
    sums, training = [0.0] * len(rows), base.model.training
    base.model.eval()
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            if base.seq2seq:
                batches = _encoded(base, rows, reading, set_batch or tell, size)
            else:
                with banks.disabled() if banks is not None else nullcontext():
                    share = groups is not None and prefix.can_branch(base.model)
                batches = _decoded(base, rows, reading, set_batch or tell, size, share)
            for places, logp_N in batches:
                if not logp_N.isfinite().all():
                    raise NotFinite(
                        f"The logits of {base.name}{' with its experts' * (banks is not None)} are not finite: its weights hold "
                        f"NaN or infinity, or it overflows in {str(base.model.dtype).removeprefix('torch.')}."
                    )
                for place, logp in zip(places, logp_N.tolist(), strict=True):
                    sums[place] += logp
    finally:
        base.model.train(training)
    return [sums[first[key]] for key in keys]


class _Size(NamedTuple):
    """What fits one forward pass."""

    rows: int
    tokens: int
    targets: int

    def split(self, sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
        """Yields which of some rows are read together, the longest first; `sizes` are their tokens and targets."""
        chosen: list[int] = []
        targets = 0
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
Batches = Iterator[tuple[list[int], Tensor]]
"""The row of each target, and its log p."""


def _decoded(base: Base, rows: Sequence[Row], reading: Reading, tell: SetBatch, size: _Size, share: bool) -> Batches:
    """Decoders: trees with a prefix in common, then those without, then plain rows."""
    model, most = base.model, prefix.window(base.model)
    found: list[tuple[int, list[prefix.Tree]]] = []
    for groups in reading.values():
        trees = list(prefix.plant(rows, groups.values(), most if share else 0))
        found += prefix.clusters(trees, most) if share else [(0, trees)]
    alone = [tree for length, trees in found if not length for tree in trees]
    found = [pair for pair in found if pair[0]] + [
        (0, [tree for tree in alone if tree.forked is forked]) for forked in (True, False)
    ]
    for length, trees in found:
        kept = None
        if length:
            tell([trees[0].rows[0]], torch.ones(1, length, device=model.device))  # type: ignore[arg-type]
            kept = prefix.read(model, trees[0].trunk[:length])
        counts = [(max(tree.size, 1), sum(targets_of(rows[row], False) for row in tree.rows)) for tree in trees]
        for chosen in size.split(counts):
            some = [trees[n] for n in chosen]
            made = prefix.batch(model, some, rows, pad_id(base), length, kept)
            tell([tree.rows[0] for tree in some], made.real_BL)
            logits_XV = logits_at(model, made.place_X, **made.inputs).float()
            yield made.row_N, logits_XV[made.asked_N, made.token_N] - logits_XV.logsumexp(-1)[made.asked_N]


def _encoded(base: Base, rows: Sequence[Row], reading: Reading, tell: SetBatch, size: _Size) -> Batches:
    """Encoder-decoders: each prompt is encoded once, whatever the number of texts after it."""
    from transformers.modeling_outputs import BaseModelOutput

    model: Any = base.model
    prompts: dict[Hashable, list[int]] = defaultdict(list)
    for how, groups in reading.items():
        for place in (place for places in groups.values() for place in places):
            prompts[how, *rows[place]["input_ids"]].append(place)
    several = list(prompts.values())
    for chosen in size.split(
        [(_longest(rows, some), sum(targets_of(rows[p], True) for p in some)) for some in several]
    ):
        read = [several[n][0] for n in chosen]
        written = [place for n in chosen for place in several[n]]
        whose = torch.tensor([b for b, n in enumerate(chosen) for _ in several[n]], device=model.device)
        batch = to_batch(base, [rows[place] for place in read])
        tell(read, batch["attention_mask"])
        state_BTF = model.get_encoder()(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        labels_BT, mask_BT = to_batch(base, [rows[p] for p in written])["labels"], batch["attention_mask"][whose]
        tell(written, mask_BT)
        encoded = BaseModelOutput(last_hidden_state=state_BTF[whose])
        logits_BTV = model(encoder_outputs=encoded, attention_mask=mask_BT, labels=labels_BT).logits.float()
        asked_BT = labels_BT != IGNORED
        logits_NV, row_N = logits_BTV[asked_BT], asked_BT.nonzero()[:, 0].tolist()
        logp_N = logits_NV.gather(-1, labels_BT[asked_BT][:, None])[:, 0] - logits_NV.logsumexp(-1)
        yield [written[b] for b in row_N], logp_N


def _longest(rows: Sequence[Row], places: Sequence[int]) -> int:
    """Tokens of a prompt and of all that is written after it."""
    return len(rows[places[0]]["input_ids"]) + sum(len(rows[place]["labels"]) for place in places)


def _routed(known: Mapping[str, Any] | None, rows: int) -> list[Hashable]:
    """What the routers are told of each row: rows of which they are told the same are routed alike."""
    columns = [
        [vector.tobytes() for vector in values.float().cpu().numpy()] if isinstance(values, Tensor) else list(values)
        for values in (known or {}).values()
    ]
    return list(zip(*columns, strict=True)) if columns else [()] * rows


def _vocabulary(base: Base) -> int:
    return int(base.model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
