"""Pre-train a small causal language model from scratch, on rows of packed tokens.

    matrices of the blocks   Muon    (Jordan 2024; its step scaled to AdamW's size as in Moonlight, arXiv:2502.16982)
    embeddings and norms     AdamW   the same learning rate serves both
    learning rate            warm-up, constant, then a straight line to zero over the last `decay` of the steps

A training that was killed goes on where its last checkpoint was, and ends with the same weights to the last bit
(on a CPU in fp32): the order of the rows is computed from (seed, epoch), everything else that moves is in the
checkpoint. A checkpoint is safetensors and JSON, never a pickle, and it is whole or not there.

Shapes: N rows, B rows of a step, T tokens of a row, V vocabulary.
"""

import hashlib
import math
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Optimizer

from yosegi import files
from yosegi.errors import Diverged, Invalid
from yosegi.progress import progress
from yosegi.run import Run
from yosegi.training.interrupt import interruptible

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
        decay: the share of the steps over which the learning rate falls to zero.
        seed: decides the order of the rows and any dropout, not the model's first weights.
        validation_NT: rows whose loss is measured every `evaluate_every` steps and at the end.
        micro: rows computed at once; a step is cut into pieces of that size. Fewer fit the cache of a CPU better.
        bf16: compute in bfloat16 (autocast); the weights stay as they are.
        compile: compile the loss; worth its minute in runs of several.
    """
    recipe = {"steps": steps, "batch": batch, "lr": lr, "decay": decay, "warmup": warmup, "seed": seed, "bf16": bf16}
    recipe["rows"] = hashlib.sha256(rows_NT.contiguous().numpy().tobytes()).hexdigest()
    torch.manual_seed(seed)
    optimizers = _optimizers(model)
    checkpoint = run.path / "checkpoint"
    done, before_s = _resume(checkpoint, model, optimizers, recipe) if checkpoint.exists() else (0, 0.0)
    run.rewind(done, stage=STAGE)

    device = next(model.parameters()).device
    loss_of: Callable[[nn.Module, Tensor], Tensor] = torch.compile(next_token_loss) if compile else next_token_loss
    started = time.monotonic() - before_s
    model.train()
    with progress("pre-train", steps - done) as bar, interruptible() as interrupted:
        for step in range(done + 1, steps + 1):
            step_started = time.monotonic()
            rate = lr * min(1, step / max(warmup, 1), (steps - step + 1) / max(decay * steps, 1))
            ids_BT = rows_NT[rows_of(step, batch, len(rows_NT), seed)].to(device)

            value = 0.0
            for piece_BT in ids_BT.split(micro or batch):
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    loss = loss_of(model, piece_BT) * (len(piece_BT) / batch)
                loss.backward()
                value += loss.item()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if not math.isfinite(value) or not math.isfinite(norm.item()):
                # Before the update, so that neither the weights nor a checkpoint ever hold it.
                raise Diverged(_diverged(value, step, rate, checkpoint))
            for optimizer in optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
                optimizer.zero_grad()

            now = time.monotonic()
            speed, wall_s = ids_BT.numel() / (now - step_started), now - started
            run.log(step=step, stage=STAGE, loss=value, lr=rate, tokens_per_s=round(speed), wall_s=round(wall_s, 2))
            bar.advance(note=f"loss {value:.3f}")
            last = step == steps or bool(interrupted)
            if validation_NT is not None and (step % evaluate_every == 0 or step == steps):
                run.log(step=step, stage=STAGE, validation_loss=mean_loss(model, validation_NT, batch, bf16))
            if step % checkpoint_every == 0 or last:
                _save(checkpoint, model, optimizers, recipe | {"step": step, "wall_s": time.monotonic() - started})
            if interrupted:
                raise KeyboardInterrupt
    model.eval()


def next_token_loss(model: nn.Module, ids_BT: Tensor) -> Tensor:
    """Cross entropy of each token given those before it, in nats, the mean over all tokens."""
    logits_BTV = model(input_ids=ids_BT, use_cache=False).logits[:, :-1]
    return cross_entropy(logits_BTV.flatten(0, 1).float(), ids_BT[:, 1:].flatten())


@torch.no_grad()
def mean_loss(model: nn.Module, rows_NT: Tensor, batch: int = 32, bf16: bool = False) -> float:
    """`next_token_loss` over many rows; exp of it is the perplexity."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    total = 0.0
    for ids_BT in rows_NT.split(batch):
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            total += next_token_loss(model, ids_BT.to(device)).item() * len(ids_BT)
    model.train(training)
    return total / len(rows_NT)


def rows_of(step: int, batch: int, rows: int, seed: int) -> Tensor:
    """Which rows [B] the step (the first is 1) reads, out of an endless stream of shuffled epochs."""
    places = range((step - 1) * batch, step * batch)
    return torch.stack([_order(rows, seed, place // rows)[place % rows] for place in places])


@lru_cache(maxsize=2)  # a step may reach from one epoch into the next
def _order(rows: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


class Muon(torch.optim.Muon):
    """Torch's Muon, but orthogonalised in the precision of the weights and all matrices of one shape at once.

    Torch computes in bfloat16, which takes ten times longer than fp32 where the CPU has no unit for it.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of every matrix."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shapes.setdefault(matrix.shape, []).append(matrix)
            for (rows, columns), matrices in shapes.items():
                for matrix, update in zip(matrices, self._updates(matrices, group), strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    matrix.add_(update, alpha=-0.2 * max(rows, columns) ** 0.5 * group["lr"])  # AdamW's size

    def _updates(self, matrices: list[Tensor], group: dict[str, Any]) -> Tensor:
        ahead: list[Tensor] = []
        for matrix in matrices:
            assert matrix.grad is not None  # step() took only those that have one
            memory = self.state[matrix]
            if "momentum_buffer" not in memory:
                memory["momentum_buffer"] = torch.zeros_like(matrix)
            memory["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
            ahead.append(matrix.grad.lerp(memory["momentum_buffer"], group["momentum"]))  # Nesterov
        return orthogonal(torch.stack(ahead), group["ns_coefficients"], group["ns_steps"])


def orthogonal(X_LOI: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """Each of L matrices with its singular values brought near 1, by Newton-Schulz: matrix products only."""
    a, b, c = coefficients
    tall = X_LOI.shape[-2] > X_LOI.shape[-1]
    X = X_LOI.mT if tall else X_LOI  # the Gram matrix is of the smaller side
    X = X / X.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        G = X @ X.mT
        X = torch.baddbmm(X, torch.baddbmm(G, G, G, beta=b, alpha=c), X, beta=a)
    return X.mT if tall else X


def _optimizers(model: nn.Module) -> dict[str, Optimizer]:
    """Muon is for matrices that map features to features; a table of embeddings is a matrix in shape only."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    if (head := getattr(model, "get_output_embeddings", lambda: None)()) is not None:
        tables.add(id(head.weight))
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for parameter in model.parameters():
        (matrices if parameter.ndim == 2 and id(parameter) not in tables else others).append(parameter)
    return {
        "muon": Muon(matrices, weight_decay=0.1),
        "adamw": AdamW(others, betas=(0.9, 0.95), weight_decay=0.0),
    }


def _save(folder: Path, model: nn.Module, optimizers: dict[str, Optimizer], state: dict[str, Any]) -> None:
    """The weights, what the optimizers and the random generators remember, and how far the training is."""
    moving = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        moving["rng.cuda"] = torch.cuda.get_rng_state()
    for name, optimizer in optimizers.items():
        for index, memory in optimizer.state_dict()["state"].items():
            moving |= {f"{name}.{index}.{key}": value.contiguous() for key, value in memory.items()}
    with files.new_folder(folder) as new:
        save_model(model, str(new / "model.safetensors"))  # knows about tied weights
        save_file(moving, new / "state.safetensors")
        files.write_json(new / "state.json", state)


def _resume(
    folder: Path, model: nn.Module, optimizers: dict[str, Optimizer], recipe: dict[str, Any]
) -> tuple[int, float]:
    """Put a checkpoint back; how many steps it has done, and in how many seconds."""
    state = files.read_json(folder / "state.json")
    changed = [f"{key} was {state.get(key)}, is {recipe[key]}" for key in recipe if state.get(key) != recipe[key]]
    if changed:
        raise Invalid(f"The checkpoint {folder} is of another training: {'; '.join(changed)}. Delete it to start anew.")
    load_model(model, folder / "model.safetensors", device=str(next(model.parameters()).device))
    moving = load_file(folder / "state.safetensors")
    for name, optimizer in optimizers.items():
        memory: dict[int, dict[str, Tensor]] = {}
        for key, value in moving.items():
            if key.startswith(f"{name}."):
                _, index, what = key.split(".")
                memory.setdefault(int(index), {})[what] = value
        optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(moving["rng.cpu"])
    if torch.cuda.is_available() and "rng.cuda" in moving:
        torch.cuda.set_rng_state(moving["rng.cuda"])
    return state["step"], state["wall_s"]


def _diverged(loss: float, step: int, rate: float, checkpoint: Path) -> str:
    kept = f"the last good checkpoint stays in {checkpoint}" if checkpoint.exists() else "there is no checkpoint yet"
    what = "gradient is not finite" if math.isfinite(loss) else f"loss is {loss}"
    return f"The {what} at step {step} (learning rate {rate:.2g}); {kept}. Start anew with a lower learning rate."
