"""From examples to batches. A prompt and its answer are tokenised apart, so where one ends is never in doubt.

Shapes: B sequences, T tokens.
"""

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from yosegi import registry
from yosegi.errors import Invalid
from yosegi.objectives import IGNORED
from yosegi.tasks import Example


def tokenise(
    examples: Sequence[Example], tokenizer: Any, max_length: int, objective: str = "sft", seq2seq: bool = False
) -> list[dict[str, list[int]]]:
    """One row of `input_ids` and `labels` an example; the end-of-text token is part of the answer.

    A prompt that is too long loses its beginning; an answer that is too long even alone loses its end.
    """
    if not examples:
        raise Invalid("There are no examples to learn from.")
    targets: Callable[[list[int], list[int]], list[int]] = registry.load("objectives", objective).targets
    prompts = tokenizer([e.prompt for e in examples]).input_ids
    answers = tokenizer([e.target for e in examples], add_special_tokens=False).input_ids
    rows = []
    for prompt, answer in zip(prompts, answers, strict=True):
        answer = [*answer, tokenizer.eos_token_id][:max_length]
        if seq2seq:
            rows.append({"input_ids": prompt[-max_length:], "labels": answer})
            continue
        prompt = prompt[-(max_length - len(answer)) :] if len(answer) < max_length else []
        rows.append({"input_ids": prompt + answer, "labels": targets(prompt, answer)})
    return rows


def order(rows: int, places: int, seed: int) -> list[int]:
    """Which row stands at which place of the training: shuffled epochs end to end, the same however they are cut."""
    generator = torch.Generator().manual_seed(seed)
    epochs = [torch.randperm(rows, generator=generator) for _ in range(-(-places // rows))]
    return torch.cat(epochs)[:places].tolist()


def tokens_by_step(rows: Sequence[Mapping[str, list[int]]], places: Sequence[int], batch: int) -> list[int]:
    """How many tokens were read before the first step, after it, after the second, …: `places` as `order` gave them."""
    lengths = [len(rows[row]["input_ids"]) for row in places]
    steps = [sum(lengths[start : start + batch]) for start in range(0, len(lengths), batch)]
    return list(itertools.accumulate(steps, initial=0))


def data_hash(rows: Sequence[dict[str, list[int]]]) -> str:
    """What an expert remembers of its data: 12 hex digits over the tokens and labels, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr((row["input_ids"], row["labels"])).encode())
    return digest.hexdigest()[:12]


def collate(pad: int, right: bool = True) -> Callable[[Sequence[Mapping[str, Any]]], dict[str, Tensor]]:
    """A function from rows to tensors [B, T], padded to the longest of the batch and no further."""

    def batch(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        def stack(key: str, fill: int) -> Tensor:
            sequences = [torch.as_tensor(row[key]) for row in rows]
            side = "right" if right else "left"
            return torch.nn.utils.rnn.pad_sequence(sequences, True, fill, padding_side=side)

        ids_BT = stack("input_ids", pad)
        lengths_B = torch.tensor([len(row["input_ids"]) for row in rows])
        place_T = torch.arange(ids_BT.shape[1])
        if not right:
            place_T = place_T.flip(0)
        mask_BT = (place_T[None] < lengths_B[:, None]).long()
        labels_BT = stack("labels", IGNORED)
        found = {"input_ids": ids_BT, "attention_mask": mask_BT, "labels": labels_BT}
        if "position_ids" in rows[0]:  # packed: every token of the padding is a document of its own
            found["position_ids"] = stack("position_ids", 0)
        return found

    return batch
