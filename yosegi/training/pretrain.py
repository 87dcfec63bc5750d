"""Pre-train a small causal language model from scratch, on rows of packed tokens.

    matrices of the blocks   Muon    (optimizers/muon.py)
    embeddings and norms     AdamW   the same learning rate serves both
    learning rate            warm-up, constant, then a straight line to zero over the last `decay` of the steps

A training that was killed goes on where its last checkpoint was, and ends with the same weights to the last bit (on a CPU in
fp32): the order of the rows is computed from (seed, epoch), everything else that moves is in the checkpoint.

Shapes: N rows, B rows of a step, T tokens of a row, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from yosegi.bases import Base
from yosegi.engine.rows import Row
from yosegi.engine.score import sum_logprobs
from yosegi.objectives.lm import next_token_loss
from yosegi.run import Run
from yosegi.training.data import LearnerData
from yosegi.training.job import Job
from yosegi.training.loop import train_loop
from yosegi.training.settings import Settings
from yosegi.training.update import Part

STAGE = "pretrain"


class TokenRows(Sequence[Row]):
    """Packed rows of tokens [N, T], each of which is read and predicted whole."""

    def __init__(self, rows_NT: Tensor):
        self.rows_NT = rows_NT

    def __len__(self) -> int:
        return len(self.rows_NT)

    def __getitem__(self, n: Any) -> Any:
        ids = self.rows_NT[n].tolist()
        return {"input_ids": ids, "labels": ids}


def pretrain(
    model: nn.Module,
    rows_NT: Tensor,
    run: Run,
    *,
    steps: int,
    batch: int = 32,
    lr: float = 4e-3,
    decay: float = 0.6,
    warmup: int = 50,
    seed: int = 0,
    validation_NT: Tensor | None = None,
    evaluate_every: int = 500,
    checkpoint_every: int = 500,
    micro: int | None = None,
    bf16: bool = False,
    compile: bool = False,
) -> None:
    """Trains `model` in place for `steps` steps; every step is a row of the run's metrics.

    Args:
        model: a causal language model, freshly initialised.
        rows_NT: packed tokens (packing.blocks); each epoch reads them in another order.
        run: gets the metrics and the checkpoint; one that is there is resumed.
        steps: number of optimiser steps.
        batch: rows of a step.
        lr: highest learning rate.
        decay: share of the steps over which the learning rate falls to zero.
        warmup: steps over which it rises.
        seed: decides the order of the rows and any dropout, not the model's first weights.
        validation_NT: rows whose loss is measured before the first step, every `evaluate_every` steps and at the end.
        evaluate_every: see `validation_NT`.
        checkpoint_every: steps from one checkpoint to the next.
        micro: rows computed at once; a step is cut into pieces of that size. Fewer fit the cache of a CPU better.
        bf16: compute in bfloat16 (autocast); the weights stay as they are.
        compile: compile the loss; worth its minute in runs of several.
    """
    settings = Settings(
        objective="lm", optimizer="muon", learning_rate=lr, weight_decay=0.1, adam_beta2=0.95, max_steps=steps,
        per_device_train_batch_size=batch, precision="bf16" if bf16 else "fp32", save_steps=checkpoint_every, seed=seed,
    )  # fmt: skip
    length = rows_NT.shape[1]
    job = Job(Base("new", "", model, None), run, settings, tokens_per_pass=(micro or batch) * length)
    job.share(STAGE)
    job.eval_steps = evaluate_every
    if validation_NT is not None:
        job.held_out = {STAGE: TokenRows(validation_NT)}
    loss_of: Callable[[nn.Module, Tensor], Tensor] = torch.compile(next_token_loss) if compile else next_token_loss

    def objective(model: nn.Module, batch: Mapping[str, Tensor], tokens_B: Tensor) -> Tensor:
        return loss_of(model, batch["input_ids"]) / tokens_B

    def schedule(step: int) -> float:
        return min(1, (step + 1) / max(warmup, 1), (steps - step) / max(decay * steps, 1))

    matrices, others = matrices_and_others(model)
    plain = {"rank": None, "weight_decay": 0.0}
    parts = [Part(matrices, lr, steps, schedule=schedule), Part(others, lr, steps, options=plain, schedule=schedule)]
    learner = LearnerData(STAGE, TokenRows(rows_NT), (), steps, batch)
    train_loop(
        job, None, [learner], parts, "pre-train", objective=objective, stage=STAGE, decay=decay, warmup=warmup
    )  # fmt: skip
    model.eval()


def matrices_and_others(model: nn.Module) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Muon is for matrices that map features to features; a table of embeddings is a matrix in shape only."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    if (head := getattr(model, "get_output_embeddings", lambda: None)()) is not None:
        tables.add(id(head.weight))
    matrices = {name: p for name, p in model.named_parameters() if p.ndim == 2 and id(p) not in tables}
    return matrices, {name: p for name, p in model.named_parameters() if name not in matrices}


def mean_loss(model: nn.Module, rows_NT: Tensor) -> float:
    """Returns the mean -log p of the tokens of many rows but their first; exp of it is the perplexity."""
    logprobs = sum_logprobs(Base("new", "", model, None), list(TokenRows(rows_NT)))
    return -sum(logprobs) / rows_NT[:, 1:].numel()


def small_llama(
    tokenizer: Any,
    *,
    hidden: int,
    inner: int,
    layers: int,
    heads: int,
    positions: int,
    seed: int,
    attention: str = "sdpa",
) -> Any:
    """Returns a Llama with tied embeddings and random weights, for the vocabulary of a tokenizer.

    Args:
        tokenizer: whose special tokens the model knows.
        hidden: width of the model.
        inner: width of its MLPs.
        layers: number of blocks.
        heads: attention heads of a block.
        positions: longest text in tokens.
        seed: of the weights.
        attention: implementation; the plain one (eager) is the fastest for short rows on a CPU.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    shape = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, max_position_embeddings=positions, tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    shape._attn_implementation = attention
    return LlamaForCausalLM(shape)
