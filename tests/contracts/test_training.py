"""Every kind of training: killed at a step and started again it ends with the same bits, and another one is refused."""

import json
import multiprocessing
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.conftest import Sums, flat, rows_of, sums, tiny_base, train
from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.errors import Invalid
from yosegi.inits import fresh
from yosegi.library.store import Library
from yosegi.routers.softmax import Softmax
from yosegi.routers.static import Static
from yosegi.routers.task_table import TaskTable
from yosegi.run import Run
from yosegi.training import dense
from yosegi.training.fleet import fleet
from yosegi.training.grpo import grpo, questions
from yosegi.training.joint import fresh_bank, joint
from yosegi.training.loramoe import loramoe
from yosegi.training.pretrain import PretrainSettings, pretrain
from yosegi.training.routers import train_arm
from yosegi.training.settings import (
    ApolloSettings,
    DenseSettings,
    GaloreSettings,
    GrpoSettings,
    LoraMoeSettings,
    RouterSettings,
    Settings,
)

QUICK = {"max_steps": 7, "per_device_train_batch_size": 4, "learning_rate": 5e-3, "save_steps": 3, "rank": 2}
PACE = {**QUICK, "dropout": 0.2}
WHOLE = {**QUICK, "rank": 0}
GROUPS = {"few": sums()[:7], "some": sums()[20:50], "many": sums()[40:]}
TASKS = {"low": sums()[:40], "high": sums()[60:]}


def experts(*names: str) -> list[Expert]:
    """Experts that move the base a little, each with a task."""
    made = [fresh(tiny_base().model, n, rank=3, alpha=6, seed=i, task=(t,)) for i, (n, t) in enumerate(zip(names, TASKS, strict=False))]  # fmt: skip
    for expert in made:
        for n, factors in enumerate(expert.factors.values()):
            factors.B_OR.copy_(torch.randn(factors.B_OR.shape, generator=torch.Generator().manual_seed(n)) * 0.05)
    return made


def of_arm(arm) -> torch.Tensor:
    return torch.cat([*map(flat, arm.experts), *(value.flatten() for _, value in sorted(arm.router_state.items()))])


def many(run, **more):
    settings = Settings(**{**PACE, "max_steps": None, "num_train_epochs": 0.9, "save_steps": 2, **more})
    return torch.cat([flat(e) for e in fleet(tiny_base(), GROUPS, run, settings)])  # three lengths


def bank(run, **more):
    settings, base = Settings(**{**PACE, **more}), tiny_base()
    start = fresh_bank(base, "p", 3, list(TASKS), settings)
    return of_arm(joint(base, start, TaskTable(), TASKS, run, settings, name="p", router_learning_rate=0.1))


def beside(router, run, **more):
    settings, options = Settings(**{**PACE, **more}), {"name": "cat", "mix": "outputs", "router_only": True}
    return of_arm(joint(tiny_base(), experts("a", "b"), router, TASKS, run, settings, **options))


def moe(run, **more):
    settings = LoraMoeSettings(**{**PACE, "curriculum": ["easy", "hard"], "shares": {"easy": 1.0, "hard": 2.0}, **more})
    data = {"easy": {"low": TASKS["low"]}, "hard": {"low": sums()[50:55], "high": TASKS["high"]}}
    return of_arm(loramoe(tiny_base(), data, run, settings, experts=4))


def reward(run, **more):
    settings = GrpoSettings(**{**QUICK, "per_device_train_batch_size": 2, "num_generations": 3, "max_completion_length": 5, "num_iterations": 2, **more})  # fmt: skip
    asked = {name: questions(Sums(), rows) for name, rows in zip("ab", TASKS.values(), strict=True)}
    return torch.cat([flat(e) for e in grpo(tiny_base(), experts("a", "b"), asked, run, settings)])


def whole(kind, run, **more):
    return flat(dense.train(tiny_base(), sums(), "sums", run, kind(**{**WHOLE, **more})))


def gates(run, **more):
    settings = RouterSettings(steps=more.get("max_steps", 7), batch_size=3, save_steps=3)
    return of_arm(train_arm(tiny_base(), Arm("phatgoose", experts("a", "b"), "phatgoose"), TASKS, run, settings))


def model(run, **more):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    made = LlamaForCausalLM(LlamaConfig(vocab_size=11, tie_word_embeddings=True, attention_dropout=0.1, **sizes))
    rows_NT = (torch.arange(9) + torch.arange(10)[:, None]) % 11
    settings = PretrainSettings(**{**QUICK, "learning_rate": 0.02, "warmup_share": 0.2, **more})
    pretrain(made, rows_NT, run, settings, validation_NT=rows_NT[:3], eval_steps=2)
    return torch.cat([p.detach().flatten() for p in made.parameters()])


GALORE = {"optimizer_args": {"rank": 2, "update_gap": 3, "refresh": "subspace", "rotate_state": True}}
KINDS = {
    "sft": lambda run, **more: flat(train(tiny_base(), sums(), "sums", run, Settings(**{**PACE, **more}))),
    "pissa, masked": lambda run, **more: KINDS["sft"](run, init="pissa", mask="random", weight_decay=0.1, **more),
    "8 bits": lambda run, **more: KINDS["sft"](run, optimizer="adamw_8bit", **more),
    "fleet": many,
    "joint": bank,
    "loramoe": moe,
    "cat": lambda run, **more: beside(Static(), run, **more),
    "softmax": lambda run, **more: beside(Softmax(), run, **more),
    "gates": gates,
    "grpo": reward,
    "full": lambda run, **more: whole(DenseSettings, run, **more),
    "galore": lambda run, **more: whole(GaloreSettings, run, **GALORE, **more),
    "apollo": lambda run, **more: whole(ApolloSettings, run, optimizer_args={"rank": 2, "update_gap": 2}, **more),
    "pretrain": model,
}  # fmt: skip


@pytest.fixture
def killed_at(monkeypatch):
    """killed_at(step): from now on every run dies when it logs that step; None: no more."""
    log = Run.log

    def arm(step):
        def die(self, *rows, **row):
            log(self, *rows, **row)
            if any(one["step"] == step and "loss" in one for one in (*rows, row) if one):
                raise RuntimeError("killed")

        monkeypatch.setattr(Run, "log", die if step else log)

    return arm


def logged(run):
    timed = {"wall_s", "tokens_per_s", "drawing", "refresh_s"}
    return [{k: v for k, v in row.items() if k not in timed} for row in rows_of(run)]


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_it_ends_with_the_same_bits(kind, tmp_path, killed_at):
    learn = KINDS[kind]
    if kind == "8 bits":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes comes with yosegi-lora[quant] and yosegi-lora[dev]")
    straight = learn(Run(tmp_path / "whole"))
    cut = Run(tmp_path / "cut")
    for step in (2, 5):  # before the first checkpoint, and between two
        killed_at(step)
        with pytest.raises(RuntimeError, match="killed"):
            learn(cut)
    killed_at(None)
    files = {path.name for path in (cut.path / "checkpoint").rglob("*") if path.is_file()}
    assert files == {"state.json", "state.safetensors"}, "no pickles, nothing half-written"
    with pytest.raises(Invalid, match="is of another training: .*(max_steps|learning_rate|names|data)"):
        learn(cut, **({"max_steps": 9} if kind == "gates" else {"learning_rate": 1e-3}))
    assert torch.equal(learn(cut), straight)
    assert logged(cut) == logged(Run(tmp_path / "whole")), "every step once, none lost, none twice"
    assert kind == "pretrain" or not list((cut.path / "checkpoint").glob("*")), "the expert is safe"


@pytest.mark.parametrize("kind", ["sft", "joint", "grpo", "full", "pretrain"])
def test_ctrl_c_finishes_the_step_and_saves(kind, tmp_path, monkeypatch):
    log = Run.log

    def press(self, *rows, **row):
        log(self, *rows, **row)
        if any(one["step"] == 2 and "loss" in one for one in (*rows, row) if one):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Run, "log", press)
    with pytest.raises(KeyboardInterrupt):
        KINDS[kind](Run(tmp_path))
    (state,) = (tmp_path / "checkpoint").rglob("state.json")
    assert json.loads(state.read_text())["progress"]["step"] == 2, "which is no multiple of save_steps"


def run_kinds(folder: Path, kinds: dict, die_at: int, environment: dict[str, str]) -> None:
    """Trains in a process of its own, which has everything imported already; it may kill itself when it logs a step."""
    from accelerate import PartialState
    from safetensors.torch import save_file

    os.environ.update(environment)
    PartialState._reset_state()
    log = Run.log

    def watched(self, *rows, **row):
        log(self, *rows, **row)
        if die_at and any(one["step"] == die_at for one in rows):
            os.kill(os.getpid(), signal.SIGKILL)

    Run.log = watched
    for kind, more in kinds.items():
        made = KINDS[kind](Run(folder / kind), **more)
        save_file({"made": made}, folder / kind / f"out{environment.get('RANK', '')}.safetensors")


def children(folder: Path, kinds: dict, die_at: int = 0, processes: int = 1) -> list[int]:
    """The same in a forked process, or in several that are set up as `accelerate launch` does. Returns how each ended."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        shared = {"ACCELERATE_USE_CPU": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    shared |= {"WORLD_SIZE": str(processes)}
    ranks = [{**shared, "RANK": str(n), "LOCAL_RANK": str(n)} if processes > 1 else {} for n in range(processes)]
    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=run_kinds, args=(folder, kinds, die_at, rank)) for rank in ranks]
    for process in started:
        process.start()
    for process in started:
        process.join(200)
    return [process.exitcode for process in started]


def made_by(folder: Path, rank: str = "") -> torch.Tensor:
    from safetensors.torch import load_file

    return load_file(folder / f"out{rank}.safetensors")["made"]


@pytest.mark.slow
def test_a_killed_process_goes_on_in_another(tmp_path):
    assert children(tmp_path, {"fleet": {}}, die_at=5) == [-signal.SIGKILL]
    assert (tmp_path / "fleet" / "checkpoint").exists()
    assert torch.equal(many(Run(tmp_path / "fleet")), many(Run(tmp_path / "whole")))


@pytest.mark.slow
def test_two_processes(tmp_path):
    """They share the rows of one learner, and end as one process does but for rounding; several experts are dealt out."""
    alike = {"dropout": 0.0, "max_grad_norm": 0.1, "max_steps": 4}
    shared = {"sft": alike, "loramoe": alike, "galore": alike}
    half = {kind: {**more, "per_device_train_batch_size": 2} for kind, more in shared.items()}
    dealt = {"fleet": {"num_train_epochs": 0.5}, "grpo": {"max_steps": 2}}
    assert children(tmp_path, {**half, **dealt}, processes=2) == [0, 0]
    for kind, more in {**shared, **dealt}.items():
        straight = KINDS[kind](one := Run(tmp_path / f"{kind} alone"), **more)
        made = [made_by(tmp_path / kind, rank) for rank in ("0", "1")]
        rows = logged(Run(tmp_path / kind))
        if kind in shared:
            assert torch.equal(*made), "the two agree to the bit"
            torch.testing.assert_close(made[0], straight, rtol=1e-2, atol=2e-3)
            for row, other in zip(rows, logged(one), strict=True):
                for key in {"loss", "grad_norm", "lr", "ce", "load_cv", "match_mass", "tokens"} & other.keys():
                    assert row[key] == pytest.approx(other[key], rel=2e-3, abs=1e-3), (kind, key)
        else:
            assert len(made[0]) + len(made[1]) == len(straight) and min(map(len, made)) > 0
            assert sorted((r["expert"], r["step"]) for r in rows) == sorted(
                (r["expert"], r["step"]) for r in logged(one)
            )
            if kind == "grpo":
                torch.testing.assert_close(made[0], straight[: len(made[0])], rtol=1e-3, atol=1e-5)


def test_every_card_says_what_was_trained_and_what_it_took(tmp_path):
    """Of each kind: trainable parameters, and the bytes of their gradients and of the optimiser's memory."""
    base, run, settings = tiny_base(), Run(tmp_path), Settings(**{**PACE, "max_steps": 1})
    kept = Library(tmp_path / "library", base.hash, base.name)
    train(base, sums(), "one", run, settings, task="t", keep=kept.add)
    fleet(base, {"two": sums(), "three": sums()}, run, settings, keep=kept.add)
    fleet(base, {"masked": sums()}, run, Settings(**{**PACE, "max_steps": 1, "mask": "random"}), keep=kept.add)
    bank = joint(base, fresh_bank(base, "p", 2, ["t"], settings), TaskTable(), {"t": sums()}, run, settings, name="p")
    quick = GrpoSettings(max_steps=1, per_device_train_batch_size=2, num_generations=2)
    (rl,) = grpo(base, [kept["one"]], {"one": questions(Sums(), sums()[:9])}, run, quick)
    full = dense.train(base, sums(), "full", run, DenseSettings(**{**WHOLE, "max_steps": 1}))
    low = dense.train(
        base, sums(), "low", run, GaloreSettings(**{**WHOLE, "max_steps": 1, "optimizer_args": {"rank": 2}})
    )
    for expert in (replace(rl, name="rl"), full, low, *bank.experts):
        kept.add(expert)
    cards = kept.cards()
    metrics = {name: card["metrics"] for name, card in cards.items()}
    size = flat(kept["one"]).numel()
    for name in ("one", "two", "three", "rl"):
        assert metrics[name]["trainable_params"] == size and metrics[name]["gradient_bytes"] == 4 * size, name
        assert 8 * size <= metrics[name]["optimizer_bytes"] < 8 * size + 200, "AdamW's two moments"
    assert metrics["masked"]["trainable_params"] == int(0.4 * size) and metrics["masked"]["optimizer_bytes"] < 4 * size
    assert metrics["p-0"]["trainable_params"] == 2 * size + 14 * 2, "both experts and their tables"
    assert metrics["low"]["optimizer_bytes"] < 0.4 * metrics["full"]["optimizer_bytes"]
    for name, card in cards.items():
        assert {"precision", "wall_s", "peak_mem_mb", "steps"} <= metrics[name].keys()
        assert "recipe" not in card and card["training"]["learning_rate"] and card["base_hash"] == base.hash
        assert "| training |" in (kept.path / name / "README.md").read_text(), "and so does the page for a reader"
    assert [cards[f"p-{e}"]["init_seed"] for e in range(2)] == [0, 1] and cards["p-0"]["training"]["bank"] == "p"
    assert (
        cards["one"]["training"] == cards["two"]["training"] and cards["one"]["data_hash"] == cards["two"]["data_hash"]
    )
    assert cards["rl"]["parents"] == ["one"] and cards["rl"]["init_seed"] == cards["one"]["init_seed"] == 0
