"""Pre-train a small causal language model from scratch, on rows of packed tokens.

    matrices of the blocks   Muon    (optimizers/muon.py)
    embeddings and norms     AdamW   the same learning rate serves both
    learning rate            warm-up, constant, then a straight line to zero over the last `decay` of the steps

A training that was killed goes on where its last checkpoint was, and ends with the same weights to the last bit (on a CPU in
fp32): the order of the rows is computed from (seed, epoch), everything else that moves is in the checkpoint.

Shapes: N rows, B rows of a step, T tokens of a row, V vocabulary.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from yosegi.bases import Base
from yosegi.engine.rows import Row
from yosegi.engine.score import sum_logprobs
from yosegi.objectives.lm import next_token_loss
from yosegi.run import Run
from yosegi.training.loop import Columns, Job, run_steps
from yosegi.training.settings import Settings
from yosegi.training.update import Part, Update

STAGE = "pretrain"


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
    """Train `model` in place for `steps` steps; every step is a row of the run's metrics.

    Args:
        model: a causal language model, freshly initialised.
        rows_NT: packed tokens (packing.blocks); each epoch reads them in another order.
        run: where the metrics go and where the checkpoint lies; one that is there is resumed.
        steps: how many.
        batch: rows of a step.
        lr: the highest learning rate.
        decay: the share of the steps over which the learning rate falls to zero.
        warmup: steps over which it rises.
        seed: decides the order of the rows and any dropout, not the model's first weights.
        validation_NT: rows whose loss is measured every `evaluate_every` steps and at the end.
        evaluate_every: see `validation_NT`.
        checkpoint_every: steps from one checkpoint to the next.
        micro: rows computed at once; a step is cut into pieces of that size. Fewer fit the cache of a CPU better.
        bf16: compute in bfloat16 (autocast); the weights stay as they are.
        compile: compile the loss; worth its minute in runs of several.
    """
    settings = Settings(
        optimizer="muon", learning_rate=lr, weight_decay=0.1, adam_beta2=0.95, max_steps=steps,
        per_device_train_batch_size=batch, precision="bf16" if bf16 else "fp32", save_steps=checkpoint_every, seed=seed,
    )  # fmt: skip
    job = Job(Base("new", "", model, None), run, settings)
    torch.manual_seed(seed)

    def schedule(step: int) -> float:
        return min(1, (step + 1) / max(warmup, 1), (steps - step) / max(decay * steps, 1))

    matrices, others = matrices_and_others(model)
    plain = {"rank": None, "weight_decay": 0.0}
    parts = [Part(matrices, lr, steps, schedule=schedule), Part(others, lr, steps, options=plain, schedule=schedule)]
    update = Update(parts, [STAGE], settings)
    loss_of: Callable[[nn.Module, Tensor], Tensor] = torch.compile(next_token_loss) if compile else next_token_loss

    def take_step(step: int, active: list[int]) -> Columns:
        ids_BT, total = rows_NT[rows_of(step, batch, len(rows_NT), seed)].to(job.device), 0.0
        for piece_BT in ids_BT.split(micro or batch):
            with job.autocast():
                loss = loss_of(model, piece_BT) * (len(piece_BT) / batch)
            loss.backward()
            total += loss.item()
        update.outcome.tokens += ids_BT.numel()
        return update.step(step, active, torch.tensor([total]))

    def measure(step: int, _: int) -> float:
        if validation_NT is not None and step and (step % evaluate_every == 0 or step == steps):
            loss = mean_loss(model, validation_NT, batch, bf16)
            run.log(step=step, stage=STAGE, expert=STAGE, validation_loss=loss)
        return 0.0

    rows = hashlib.sha256(rows_NT.contiguous().numpy().tobytes()).hexdigest()
    identity = {"rows": rows, "decay": decay, "warmup": warmup, **settings.model_dump()}
    model.train()
    run_steps(
        job, update, take_step, [steps], job.folder(STAGE), identity, "pre-train", stage=STAGE, measure=measure
    )  # fmt: skip
    model.eval()


def matrices_and_others(model: nn.Module) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Muon is for matrices that map features to features; a table of embeddings is a matrix in shape only."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    if (head := getattr(model, "get_output_embeddings", lambda: None)()) is not None:
        tables.add(id(head.weight))
    matrices = {name: p for name, p in model.named_parameters() if p.ndim == 2 and id(p) not in tables}
    return matrices, {name: p for name, p in model.named_parameters() if name not in matrices}


def mean_loss(model: nn.Module, rows_NT: Tensor, batch: int = 32, bf16: bool = False) -> float:
    """Returns the mean -log p of the tokens of many rows but their first; exp of it is the perplexity."""
    rows: list[Row] = [{"input_ids": ids, "labels": ids} for ids in rows_NT.tolist()]
    logprobs = sum_logprobs(Base("new", "", model, None), rows, batch_size=batch, bf16=bf16)
    return -sum(logprobs) / rows_NT[:, 1:].numel()


def rows_of(step: int, batch: int, rows: int, seed: int) -> Tensor:
    """Which rows [B] the step (the first is 0) reads, out of an endless stream of shuffled epochs."""
    places = range(step * batch, (step + 1) * batch)
    return torch.stack([_order(rows, seed, place // rows)[place % rows] for place in places])


@lru_cache(maxsize=2)  # a step may reach from one epoch into the next
def _order(rows: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


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
