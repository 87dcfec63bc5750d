"""How long does a step of GaLore or APOLLO take, how much do they remember, and what does looking for the directions cost?

Peer      galore-torch 1.0 and apollo-torch 1.0.3, the authors' own, and AdamW as torch has it. They are no dependencies of ours
          (they ask for bitsandbytes, 125 MB, which these do not use). Beside this environment they are found by
              pip install --no-deps --target .peer galore-torch==1.0 apollo-torch==1.0.3
              PYTHONPATH=.peer python benchmarks/bench_galore.py
          Without them their rows are left out, and ours are held against the algorithm written down plainly. APOLLO draws its
          directions by lot, so two of them are never equal: tests/optimizers/test_apollo.py holds ours against the plain loop.
Equality  the loss of every step of a training until the second look at the gradients, to 1e-3 of itself.
Expected  no slower a step; with a look every 20 steps at least 1.1 times as fast in total, where the cheap look keeps at least
          97 % of the energy that the SVD would.

A Llama of 30 million parameters with all linears projected to rank 128 learns sequences in which each word says which three may
come next. "step" is the optimizer alone between two looks, "look" what a look at all gradients costs beyond it, "training" a
whole step of 256 tokens with its share of a look every 20 steps. "captured" is the mean share of the gradients' energy that was
kept at step 21, "of the SVD" the same against the best that could be. "loss" is that of sequences nobody has learnt from, of a
smaller Llama (4 x 256, rank 64) after 80 steps: the mean of three seeds, at the best of RATES, and the lowest and the highest.
APOLLO has a quarter of GaLore's rank throughout. Ratios are against the peer of the same method.
"""

import importlib
import statistics
import sys
import time
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from side_by_side import Row, agree, options, tell
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from yosegi.optimizers.apollo import Apollo
from yosegi.optimizers.galore import Galore

SCALE, GAP = 0.25, 20


class Case(NamedTuple):
    """A Llama of L layers of width D; sequences of T of V words, B at a time."""

    L: int = 8
    D: int = 512
    V: int = 8192
    T: int = 64
    B: int = 4
    rank: int = 128
    steps: int = GAP + 1


FULL, QUICK = Case(), Case(L=2, D=32, V=64, T=16, rank=8, steps=6)
SMALL = Case(L=4, D=256, V=256, T=32, B=8, rank=64, steps=80)
RATES = {"AdamW": (1.25e-3, 2.5e-3, 5e-3, 1e-2), "GaLore": (1e-2, 2e-2, 4e-2, 8e-2), "APOLLO": (5e-3, 1e-2, 2e-2, 4e-2)}
SEEDS = (0, 1, 2)
QUARTER = 4


class Plain(torch.optim.Optimizer):
    """The algorithm of the paper, line by line; what ours is held against where the authors' own is not there."""

    def __init__(self, groups: list[dict[str, Any]], lr: float):
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of all weights."""
        for group in self.param_groups:
            for W in group["params"]:
                memory, G = self.state[W], W.grad
                t = memory["t"] = memory.get("t", -1) + 1
                if "rank" in group and t % group["update_proj_gap"] == 0:
                    U, _, V = torch.linalg.svd(G, full_matrices=False)
                    memory["P"] = V[: group["rank"]].mT if len(G) >= G.shape[1] else U[:, : group["rank"]]
                left = "rank" in group and len(G) < G.shape[1]
                if "rank" in group:
                    G = memory["P"].mT @ G if left else G @ memory["P"]
                m = memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * G
                v = memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * G * G
                N = (m / (1 - 0.9 ** (t + 1))) / ((v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)
                if "rank" in group:
                    N = group["scale"] * (memory["P"] @ N if left else N @ memory["P"].mT)
                W -= group["lr"] * N


def peer(package: str, name: str) -> Any:
    """A peer's AdamW, or None. Its 8-bit one is imported beside it and has to find bitsandbytes, or something so called."""
    names = ("bitsandbytes", "bitsandbytes.optim", "bitsandbytes.optim.optimizer")
    try:
        importlib.import_module(names[-1])
    except ImportError:
        stand_ins = {name: types.ModuleType(name) for name in names}
        stand_ins[names[-1]].Optimizer2State = object  # type: ignore[attr-defined]
        sys.modules.update(stand_ins)
    try:
        return getattr(importlib.import_module(package), name)
    except ImportError:
        return None
    finally:
        for name in names:
            if name in sys.modules and not hasattr(sys.modules[name], "__file__"):
                del sys.modules[name]


def model_of(case: Case, seed: int = 0) -> LlamaForCausalLM:
    """The same every time."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": case.D, "intermediate_size": case.D * 43 // 16, "num_hidden_layers": case.L}
    return LlamaForCausalLM(
        LlamaConfig(**sizes, num_attention_heads=8, vocab_size=case.V, tie_word_embeddings=True, use_cache=False)
    )


def sequences(case: Case, batches: int, seed: int) -> Tensor:
    """Each word says which three may come next, and how likely each of them is."""
    next_V3 = torch.randint(case.V, (case.V, 3), generator=torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(seed)
    word_N = torch.randint(case.V, (batches * case.B,), generator=generator)
    words = [word_N]
    for _ in range(case.T - 1):
        pick_N = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), len(word_N), True, generator=generator)
        words.append(next_V3[words[-1], pick_N])
    return torch.stack(words, 1).view(batches, case.B, case.T)


def split(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(the weights of all linears but the head, everything else)."""
    inner = [m.weight for name, m in model.named_modules() if isinstance(m, nn.Linear) and name != "lm_head"]
    ids = {id(p) for p in inner}
    return inner, [p for p in model.parameters() if id(p) not in ids]


def ours(case: Case, gap: int, **more: Any) -> Callable[[nn.Module, float], torch.optim.Optimizer]:
    """What is projected, and with a rate of its own so that all weights take steps of one size, what is not."""

    def make(model: nn.Module, lr: float) -> torch.optim.Optimizer:
        inner, others = split(model)
        groups = [{"params": inner}, {"params": others, "rank": None, "lr": lr * SCALE}]
        return Galore(groups, lr, rank=case.rank, update_gap=gap, scale=SCALE, eps=1e-8, **more)

    return make


def theirs(case: Case, gap: int, kind: Any, **more: Any) -> Callable[[nn.Module, float], torch.optim.Optimizer]:
    """The same groups, as galore-torch calls them."""

    def make(model: nn.Module, lr: float) -> torch.optim.Optimizer:
        inner, others = split(model)
        small = {"rank": case.rank, "update_proj_gap": gap, "scale": SCALE, "proj_type": "std"}
        return kind([{"params": inner, **small}, {"params": others, "lr": lr * SCALE}], lr=lr, **more)

    return make


def random(case: Case, gap: int, kind: Any = None, **more: Any) -> Callable[[nn.Module, float], torch.optim.Optimizer]:
    """APOLLO, ours or the peer's: the same groups, and all weights take steps of one size as it is."""

    def make(model: nn.Module, lr: float) -> torch.optim.Optimizer:
        inner, others = split(model)
        rank = max(1, case.rank // QUARTER)
        if kind is None:
            return Apollo(
                [{"params": inner}, {"params": others, "rank": None, "lr": lr * SCALE}], lr, rank=rank, update_gap=gap
            )
        how = {
            "rank": rank,
            "update_proj_gap": gap,
            "scale": 1,
            "proj_type": "std",
            "proj": "random",
            "scale_type": "channel",
        }
        return kind([{"params": inner, **how}, {"params": others, "lr": lr * SCALE}], lr=lr, eps=1e-8, **more)

    return make


def adamw(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """All weights whole."""
    return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0, eps=1e-8, fused=True)


def loss_of(model: nn.Module, ids_BT: Tensor) -> Tensor:
    """Of the next word."""
    return model(input_ids=ids_BT, labels=ids_BT).loss


class Told(NamedTuple):
    """Of one training: each step's loss and CPU seconds, those of the optimizer in it, what is left of the test, energies."""

    losses: list[float]
    whole_s: list[float]
    step_s: list[float]
    held_out: float
    optimizer: torch.optim.Optimizer
    share: list[float]
    captured: list[float]


def train(
    case: Case, make: Callable[[nn.Module, float], torch.optim.Optimizer], lr: float, steps: int, seed: int = 0
) -> Told:
    """A tenth warm-up, then straight down to a tenth."""
    model = model_of(case, seed)
    optimizer, ids = make(model, lr), sequences(case, steps, 1000 * seed)
    first = [group["lr"] for group in optimizer.param_groups]
    told = Told([], [], [], 0.0, optimizer, [], [])
    for t in range(steps):
        part = min((t + 1) / max(1, steps // 10), 1 - 0.9 * t / steps)
        for group, rate in zip(optimizer.param_groups, first, strict=True):
            group["lr"] = rate * part
        started = time.process_time()
        loss = loss_of(model, ids[t])
        loss.backward()
        middle = time.process_time()
        optimizer.step()
        ended = time.process_time()
        if getattr(optimizer, "audit", False) and t and t % GAP == 0:
            told.share.append(
                statistics.fmean(optimizer.captured[p] / optimizer.attainable[p] for p in optimizer.captured)
            )
            told.captured.append(statistics.fmean(optimizer.captured.values()))
        optimizer.zero_grad()
        told.losses.append(loss.item())
        told.whole_s.append(ended - started)
        told.step_s.append(ended - middle)
    with torch.no_grad():
        held_out = statistics.fmean(loss_of(model, batch).item() for batch in sequences(case, 8, 1))
    return told._replace(held_out=held_out)


def state_mb(optimizer: torch.optim.Optimizer) -> float:
    """All tensors it remembers, those inside of a projector of the peer's too."""
    found: list[Tensor] = []
    for memory in optimizer.state.values():
        for value in memory.values():
            value = vars(value).values() if hasattr(value, "ortho_matrix") else [value]
            found += [x for x in value if isinstance(x, Tensor)]
    return sum(x.numel() * x.element_size() for x in found) / 2**20


def timed(case: Case, makes: dict[str, Any], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Optimizer steps on gradients of the same training, in turns: with a look, and without."""
    model, ids, spent = model_of(case), sequences(case, 2 * GAP, 2), {name: {"look": [], "step": []} for name in makes}
    optimizers = {name: make(model, 1e-4) for name, make in makes.items()}
    for t in range(1 + rounds):
        loss_of(model, ids[t]).backward()
        for name, optimizer in optimizers.items():
            for kind in ("look", "step", "step", "step"):  # they look at every fourth
                started = time.process_time()
                optimizer.step()
                if t:  # the first look begins from nothing
                    spent[name][kind].append(time.process_time() - started)
        model.zero_grad()
    for name, optimizer in optimizers.items():
        spent[name]["MB"] = [state_mb(optimizer)]
    return spent


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Equality first, then time, then quality."""
    chosen = options(__doc__, arguments)
    case, rounds = (QUICK, 1) if chosen.quick else (FULL, 2)
    kind, drawing = peer("galore_torch", "GaLoreAdamW"), peer("apollo_torch", "APOLLOAdamW")
    more = {"no_deprecation_warning": True, "eps": 1e-8} if kind else {}
    reference = theirs(case, 10**6, kind or Plain, **more)
    few = 3
    losses = [train(case, make, 4e-3, few).losses for make in (reference, ours(case, 10**6))]
    equal = agree("Losses", max(abs(a / b - 1) for a, b in zip(*losses, strict=True)), 1e-3)

    sides: dict[str, Any] = {}
    if kind:
        sides["galore-torch"] = lambda case, gap, **_: theirs(case, gap, kind, **more)
    sides["AdamW"] = lambda case, gap, **_: adamw
    sides["yosegi, SVD"] = lambda case, gap, **how: ours(case, gap, **how)
    sides["yosegi, subspace"] = lambda case, gap, **how: ours(case, gap, refresh="subspace", **how)
    if drawing:
        sides["apollo-torch"] = lambda case, gap, **_: random(case, gap, drawing)
    sides["yosegi, APOLLO"] = lambda case, gap, **_: random(case, gap)
    spent = timed(case, {name: side(case, 4) for name, side in sides.items()}, rounds)
    audited = train(case, sides["yosegi, subspace"](case, GAP, audit=True), 4e-3, case.steps)
    pass_s = statistics.median(w - s for w, s in zip(audited.whole_s, audited.step_s, strict=True))
    small, rows = case if chosen.quick else SMALL, []
    for name, side in sides.items():
        step, look = (statistics.median(spent[name][kind]) for kind in ("step", "look"))
        method = "AdamW" if name == "AdamW" else "APOLLO" if "apollo" in name.lower() else "GaLore"
        beyond = 0.0 if name == "AdamW" else max(look - step, 0)
        held_out = {
            lr: [
                train(small, side(small, GAP), lr, small.steps, seed).held_out
                for seed in SEEDS[: 1 if chosen.quick else None]
            ]
            for lr in RATES[method][: 1 if chosen.quick else None]
        }
        best = min(held_out, key=lambda lr: statistics.fmean(held_out[lr]))
        cheap = "subspace" in name and bool(audited.share)
        rows.append(
            {
                "optimizer": name,
                "step ms": 1e3 * step,
                "look ms": None if name == "AdamW" else 1e3 * beyond,
                "training ms": 1e3 * (pass_s + step + beyond / GAP),
                "ratio, step": None,
                "ratio, training": None,
                "state MB": spent[name]["MB"][0],
                "captured": statistics.fmean(audited.captured) if cheap else None,
                "of the SVD": min(audited.share) if cheap else None,
                "loss": statistics.fmean(held_out[best]),
                "low": min(held_out[best]),
                "high": max(held_out[best]),
                "lr": best,
                "equal to": equal if "SVD" in name else None,
            }
        )
    by_name = {row["optimizer"]: row for row in rows}
    for name, row in by_name.items():
        if against := by_name.get("apollo-torch" if "APOLLO" in name else "galore-torch" if "yosegi" in name else ""):
            row["ratio, step"] = against["step ms"] / row["step ms"]
            row["ratio, training"] = against["training ms"] / row["training ms"]
    return tell(__doc__, rows, chosen)


if __name__ == "__main__":
    main()
