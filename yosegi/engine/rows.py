"""The one way from text to tokens, for training, scoring and generation alike: encode, cut, pad.

    prompt   BOS "Question: 1+1?\nAnswer:"      BOS where the tokenizer adds it; never an end-of-text token
    answer   " 2" EOS                           the end-of-text token where it is to be learnt or scored, once

A prompt and its answer are tokenised as one text. The prompt's part of it is what it has in common with the prompt alone:
a token that holds the end of the prompt and the beginning of the answer (the "▁A" of "Answer: A") belongs to the answer.
Encoder-decoders read and write two texts, which are tokenised apart. What does not fit is cut and counted (`Rows.cut`).

Shapes: B sequences, T tokens.
"""

import hashlib
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, overload

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from yosegi import registry
from yosegi.bases import Base
from yosegi.engine.chat import Rendered, render, template_of
from yosegi.errors import Invalid
from yosegi.objectives import IGNORED
from yosegi.tasks import Example

Row = dict[str, list[int]]
"""`input_ids` and `labels`; `position_ids` too where a row holds several documents (packing.py)."""

LOSSES = {
    "prompt_start": "the beginning of their prompt",
    "prompt": "their prompt",
    "answer_end": "the end of their answer",
}


class Rows(list[Row]):
    """Rows of tokens. `cut` counts those that lost something, by what they lost: {"prompt+answer_end": 8}."""

    def __init__(self, rows: Iterable[Row], cut: Mapping[str, int]):
        super().__init__(rows)
        self.cut = dict(cut)


def cut_words(cut: Mapping[str, int], rows: int) -> str:
    """Returns what was cut as one clause, "8 of 8 rows lost their prompt and the end of their answer"; "" for nothing."""
    return "; ".join(
        f"{n} of {rows} rows lost {' and '.join(LOSSES[part] for part in what.split('+'))}"
        for what, n in cut.items()
        if n
    )


def frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Returns the tokens that a tokenizer puts before and after every text, such as ([BOS], [])."""
    bare, framed = (tokenizer("a", add_special_tokens=added).input_ids for added in (False, True))
    start = next((i for i in range(len(framed)) if framed[i : i + len(bare)] == bare), 0)
    return framed[:start], framed[start + len(bare) :]


def start_of_text(base: Base) -> list[int]:
    """Returns what stands before a text without a prompt: BOS, or else the end of the text before it; [] if there is neither."""
    tokenizer = base.tokenizer
    if base.seq2seq:
        return tokenizer("").input_ids or [pad_id(base) if tokenizer.eos_token_id is None else tokenizer.eos_token_id]
    marks = [mark for mark in (tokenizer.bos_token_id, tokenizer.eos_token_id) if mark is not None]
    return frame(tokenizer)[0] or marks[:1]


def encode_prompts(base: Base, prompts: Sequence[str], most: int = sys.maxsize, ended: bool = False) -> list[list[int]]:
    """Returns the tokens of each prompt, at most so many: BOS and the last ones.

    Args:
        base: whose tokenizer.
        prompts: texts.
        most: tokens that are left of each.
        ended: keep the end that the tokenizer adds, as encoders expect it; those of an encoder-decoder always have it.
    """
    before, after = frame(base.tokenizer)
    bodies = base.tokenizer(list(prompts), add_special_tokens=False).input_ids if prompts else []
    return [
        shortened(_framed(before, body, after if ended or base.seq2seq else []), most, len(before)) for body in bodies
    ]


def encode_pairs(base: Base, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    """Returns the tokens of each prompt and of what follows it, as they are in the text that the two make together."""
    texts = list(dict.fromkeys(prompt for prompt, _ in pairs))
    prompts = dict(zip(texts, encode_prompts(base, texts), strict=True))
    if base.seq2seq:
        answers = base.tokenizer([text for _, text in pairs], add_special_tokens=False).input_ids if pairs else []
        return [(prompts[prompt], ids) for (prompt, _), ids in zip(pairs, answers, strict=True)]
    together = encode_prompts(base, [prompt + text for prompt, text in pairs])
    ends = [shared(prompts[prompt], ids) for (prompt, _), ids in zip(pairs, together, strict=True)]
    return [(ids[:end], ids[end:]) for ids, end in zip(together, ends, strict=True)]


def tokenise(base: Base, examples: Sequence[Example], max_length: int, objective: str = "sft") -> Rows:
    """Returns one row for each example; the mark that ends a turn, or else the end-of-text token, is part of the answer.

    A prompt that is too long loses its beginning but not the BOS. An answer that is too long even alone loses its end. Whole
    texts (objective lm) are no conversation unless they come as messages.
    """
    if not examples:
        raise Invalid("There are no examples to learn from.")
    if unanswered := next((e.id for e in examples if not (e.target or e.messages)), None):
        raise Invalid(f"The example {unanswered!r} has no answer to learn from.")
    targets: Callable[[list[int], list[int]], list[int]] = registry.load("objectives", objective).targets
    kept, end = len(frame(base.tokenizer)[0]), base.tokenizer.eos_token_id
    rows: list[Row] = []
    cut: Counter[str] = Counter()
    template = template_of(base)
    texts = [render(e, (), template if objective != "lm" or e.messages else None) for e in examples]
    for text, (prompt, answer) in zip(texts, encode_pairs(base, [(t.prompt, t.target) for t in texts]), strict=True):
        if end is not None and not text.ended and answer[-1:] != [end]:
            answer = [*answer, end]
        room = max_length if base.seq2seq else max_length - min(kept, len(prompt))
        before, short = prompt, answer[:room]
        left = max_length if base.seq2seq else max_length - len(short)
        prompt = shortened(prompt, left, kept)
        lost = ["prompt" if len(prompt) <= kept else "prompt_start"] if len(prompt) < len(before) else []
        lost += ["answer_end"] if len(short) < len(answer) else []
        cut.update(["+".join(lost)] if lost else [])
        if base.seq2seq:
            rows.append({"input_ids": prompt, "labels": short})
        else:
            labels = targets(prompt, short)
            if text.learnt:
                earlier = zip(prompt, shortened(_learnt(base, text, before), left, kept), strict=True)
                labels[: len(prompt)] = [token if learnt else IGNORED for token, learnt in earlier]
            rows.append({"input_ids": prompt + short, "labels": labels})
    return Rows(rows, cut)


def _learnt(base: Base, text: Rendered, prompt: Sequence[int]) -> list[int]:
    """1 for each token of a prompt that is part of an earlier answer, else 0."""
    ends = [character for span in text.learnt for character in span]
    places = [shared(ids, prompt) for ids in encode_prompts(base, [text.prompt[:end] for end in ends])]
    marked = {n for first, last in zip(places[::2], places[1::2], strict=True) for n in range(first, last)}
    return [int(n in marked) for n in range(len(prompt))]


def windows(before: list[int], ids: list[int], context: int, kept: int) -> list[Row]:
    """Returns rows in which each of `ids` is a label once, after `before` or at least half a context of what precedes it.

    Args:
        before: the tokens that are read and not asked for.
        ids: the tokens that are asked for.
        context: tokens of a row.
        kept: tokens of the beginning (BOS) that every row repeats.
    """
    every, done, rows = before + ids, len(before), list[Row]()
    while done < len(every) or not rows:
        start = 0 if len(every) <= context else max(0, done - context // 2)
        head = every[: min(kept, start)]
        end = min(start + context - len(head), len(every))
        labels = [IGNORED] * (len(head) + done - start) + every[done:end]
        rows.append({"input_ids": head + every[start:end], "labels": labels})
        done = end
    return rows


def _framed(before: list[int], body: list[int], after: list[int]) -> list[int]:
    """Returns the framed text with one BOS, even if the text brings its own."""
    return [*([] if body[: len(before)] == before else before), *body, *after]


def shared(first: Sequence[int], second: Sequence[int]) -> int:
    """Returns how many tokens two texts begin with alike."""
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    return len(first) if list(first) == list(second[: len(first)]) else sum(1 for _ in alike)


def shortened(ids: list[int], most: int, kept: int) -> list[int]:
    """Returns the last `most` tokens, the first `kept` of all among them (BOS)."""
    return ids if len(ids) <= most else [*ids[:kept], *ids[len(ids) - max(most - kept, 0) :]][:most]


def context_length(base: Base) -> int:
    """Returns how many tokens the model can look at; 2048 where it does not say."""
    config = base.model.config
    return int(getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 2048)


def pad_id(base: Base) -> int:
    """Returns the token that fills a batch up. It is never looked at, but it has to have an embedding."""
    pad, table = getattr(base.tokenizer, "pad_token_id", None), base.model.get_input_embeddings()  # type: ignore[operator]
    return pad if pad is not None and 0 <= pad < table.weight.shape[0] else 0


class Epochs(Sequence[int]):
    """The row at each place of a training: shuffled epochs end to end, each drawn when it is reached.

    Args:
        rows: how many there are.
        places: of the whole training.
        seed: of the shuffling.
    """

    def __init__(self, rows: int, places: int, seed: int):
        self.rows, self.places, self.seed = rows, places, seed
        self._restart()

    def __len__(self) -> int:
        return self.places

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> list[int]: ...
    def __getitem__(self, at: int | slice) -> int | list[int]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(self.places))]
        at = range(self.places)[at]
        if at // self.rows < self._epoch:
            self._restart()
        while self._epoch < at // self.rows:
            self._order = torch.randperm(self.rows, generator=self._generator).tolist()
            self._epoch += 1
        return self._order[at % self.rows]

    def _restart(self) -> None:
        self._generator, self._epoch, self._order = torch.Generator().manual_seed(self.seed), -1, list[int]()


def order(rows: int, places: int, seed: int) -> Epochs:
    """Returns the row at each place of the training, independent of how the places are cut into steps."""
    return Epochs(rows, places, seed)


class TokensRead:
    """How many tokens were read before the first step, after it, after the second, …

    Args:
        rows: of tokens.
        places: which row stands at each place, as `order` gave them.
        batch: places of a step.
    """

    def __init__(self, rows: Sequence[Mapping[str, list[int]]], places: Sequence[int], batch: int):
        self._lengths, self._places, self._batch = [len(row["input_ids"]) for row in rows], places, batch
        self._at, self._tokens = 0, 0

    def __getitem__(self, step: int) -> int:
        at = min(step * self._batch, len(self._places))
        if isinstance(self._places, Epochs):  # whole epochs are known without being drawn
            whole = at - at % self._places.rows
            if not self._at <= at < self._at + self._places.rows:
                self._at, self._tokens = whole, whole // self._places.rows * sum(self._lengths)
        elif at < self._at:
            self._at = self._tokens = 0
        self._tokens += sum(self._lengths[row] for row in self._places[self._at : at])
        self._at = at
        return self._tokens


def targets_of(row: Mapping[str, list[int]], seq2seq: bool) -> int:
    """Returns how many tokens of a row are predicted; a decoder never predicts the first."""
    return sum(label != IGNORED for label in row["labels"][0 if seq2seq else 1 :])


def data_hash(rows: Sequence[Row]) -> str:
    """Returns the hash of the training data on a card: 12 hex digits over the tokens and labels, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr((row["input_ids"], row["labels"])).encode())
    return digest.hexdigest()[:12]


def collate(pad: int) -> Callable[[Sequence[Mapping[str, Any]]], dict[str, Tensor]]:
    """Returns a function from rows to tensors [B, T], padded on the right to the longest of the batch and no further."""

    def batch(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        def stack(key: str, fill: int) -> Tensor:
            return pad_sequence([torch.as_tensor(row[key]) for row in rows], True, fill)

        ids_BT, lengths_B = stack("input_ids", pad), torch.tensor([len(row["input_ids"]) for row in rows])
        mask_BT = (torch.arange(ids_BT.shape[1])[None] < lengths_B[:, None]).long()
        tensors = {"input_ids": ids_BT, "attention_mask": mask_BT, "labels": stack("labels", IGNORED)}
        if "position_ids" in rows[0]:  # packed: every token of the padding is a document of its own
            tensors["position_ids"] = stack("position_ids", 0)
        return tensors

    return batch


def to_batch(base: Base, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Returns the tensors of `collate` on the model's device."""
    device = next(base.model.parameters()).device
    return {key: value.to(device) for key, value in collate(pad_id(base))(rows).items()}
