"""GRPO for a fleet: many experts answer questions, each hears which of its own answers were better, all in one pass.

Shao et al. 2024, "DeepSeekMath", arXiv:2402.03300. The loss is TRL's (objectives/grpo.py); the loop is that of a fleet, since
half of the time goes into drawing answers, and a large batch draws at the price of a small one. Under `accelerate launch` the
experts are dealt out to the processes. Every expert has questions,
draws, groups of answers, a gradient norm, a schedule and a mask of its own: it learns what it would learn alone.

The reference of the KL term is where this training began: the experts as they were given, a snapshot of their factors and not
the base, which is what a copy loaded from disk would be.
Shapes: G learners, N answers of a step, B answers of a pass, T tokens, K answers to one question.
"""

import dataclasses
import hashlib
import math
import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from yosegi import registry
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import Banks, attach
from yosegi.engine.generate import rooms, sample, tokens
from yosegi.engine.request import cut, stop_ids
from yosegi.engine.rows import collate, order, pad_id
from yosegi.errors import Diverged, Invalid
from yosegi.objectives import IGNORED, log_probabilities
from yosegi.objectives.grpo import clipped, divergence
from yosegi.progress import progress
from yosegi.routers.by_request import ByRequest
from yosegi.run import Run
from yosegi.tasks import Example, Task
from yosegi.training.card import card
from yosegi.training.descent import TOKENS, Place, passes
from yosegi.training.fleet import stacked
from yosegi.training.interrupt import interruptible
from yosegi.training.precision import wants_bf16
from yosegi.training.settings import GrpoSettings
from yosegi.training.update import Part, Update


class Question(NamedTuple):
    """What an expert is asked, and the task that scores what it answers."""

    task: Task
    example: Example


def questions(task: Task, examples: Sequence[Example]) -> list[Question]:
    """Some examples of one task; lists of several tasks may be joined."""
    return [Question(task, example) for example in examples]


class Answers(NamedTuple):
    """What was drawn in one step, all learners' answers in a row."""

    rows: list[dict[str, list[int]]]
    learner_N: list[int]
    reward_N: list[dict[str, float]]
    advantage_N: list[float]
    measured: list[dict[str, float]]
    """Of each learner, for the metrics."""


def grpo(
    base: Base,
    experts: Sequence[Expert],
    asked: Mapping[str, Sequence[Question]],
    run: Run,
    settings: GrpoSettings | None = None,
    *,
    masks: Mapping[str, Mapping[str, Tensor]] | None = None,
    keep: Callable[[Expert], None] = lambda expert: None,
    resume: bool = True,
    tokens_per_pass: int | None = None,
) -> list[Expert]:
    """Go on training experts by reward; the base is as it was.

    Args:
        base: what they stand beside.
        experts: where they begin.
        asked: expert's name -> the questions that it answers, of one task or several.
        run: gets a row a step and expert (reward, KL, length, share of groups without variance, share of time spent drawing),
            and the checkpoint while the training lasts.
        settings: how, the same for all.
        masks: which entries move, as for `fleet`. One that is narrower than the expert's rank holds the rest still: the
            second half of an expert that began as PiSSA is its origin.
        keep: called with each expert at the end.
        resume: go on from the checkpoint of the same training, if there is one.
        tokens_per_pass: see `fleet`.

    Returns the experts that this process trained, in the order given.

    Raises:
        Invalid: an expert has no questions; a checkpoint of another training is in the way.
        Diverged: some experts' loss stopped being finite; all others were trained and kept.
        KeyboardInterrupt: after the step was finished and saved.
    """
    from accelerate import PartialState

    settings = settings or GrpoSettings()
    for expert in experts:
        if not asked.get(expert.name):
            raise Invalid(f"Expert {expert.name!r} has no questions to answer.")
    process = PartialState(cpu=next(base.model.parameters()).device.type == "cpu")
    experts = list(experts)[process.process_index :: process.num_processes]
    if not experts:  # more processes than experts: this one has nothing to do
        process.wait_for_everyone()
        return []
    names = [expert.name for expert in experts]
    asked = {name: list(asked[name][: settings.limit]) for name in names}
    per_step = settings.per_device_train_batch_size
    steps = settings.max_steps or max(
        math.ceil(settings.num_train_epochs * len(some) / per_step) for some in asked.values()
    )
    banks = attach(base.model, experts, ByRequest())
    parameters = banks.parameters()
    moves = None if masks is None else stacked(banks, {name: masks.get(name) for name in names})
    what = {"names": names, "base_hash": base.hash, "begun": _begun(experts, asked, moves), **settings.model_dump()}
    folder = run.path / "checkpoint" / f"grpo{process.process_index or ''}"
    try:
        update = Update(
            [Part(parameters, settings.learning_rate, steps * settings.num_iterations)], names, settings, moves
        )
        reference = {name: p.detach().clone() for name, p in parameters.items()} if settings.kl_coef else {}
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)
        _climb(
            base,
            banks,
            [asked[name] for name in names],
            update,
            reference,
            steps,
            run,
            settings,
            what,
            folder,
            tokens_per_pass,
        )
        trained = banks.experts()
    finally:
        banks.detach()
        base.model.eval()
    found: list[Expert] = []
    for expert, start in zip(trained, experts, strict=True):
        if expert.name in update.outcome.diverged:
            continue
        measured = {
            "steps": steps, "examples": len(asked[expert.name]), "fleet": len(names), "fleet_tokens": update.outcome.tokens,
            "wall_s": round(update.outcome.wall_s, 2), "optimizer_bytes": update.state_bytes(),
        }  # fmt: skip
        said = card(
            base, settings, expert.tasks, what["begun"], measured, parents=[start.card.get("name") or start.name]
        )
        said |= {"init": start.card.get("init"), "init_seed": start.card.get("init_seed")}
        found.append(dataclasses.replace(expert, card=said))
        keep(found[-1])
    shutil.rmtree(folder, ignore_errors=True)
    process.wait_for_everyone()
    if diverged := update.outcome.diverged:
        name, step = next(iter(diverged.items()))
        raise Diverged(
            f"{len(diverged)} of {len(names)} experts diverged ({name!r} at step {step}) and are not kept; the others are."
        )
    return found


def _climb(
    base: Base, banks: Banks, asked: Sequence[Sequence[Question]], update: Update, reference: Mapping[str, Tensor], steps: int,
    run: Run, settings: GrpoSettings, what: Mapping[str, Any], folder: Any, tokens_per_pass: int | None,
) -> None:  # fmt: skip
    """Draw, judge, update; step by step."""
    device = next(base.model.parameters()).device
    names, outcome = update.names, update.outcome
    budget = tokens_per_pass or TOKENS.get(device.type, TOKENS["cuda"])
    per_step = settings.per_device_train_batch_size
    orders = [order(len(own), steps * per_step, settings.seed) for own in asked]
    done = update.load(folder, what) if folder.exists() else 0
    run.rewind(done, expert=list(names), stage="grpo")
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=wants_bf16(base, settings.precision))
    base.model.eval()  # what dropout says of an answer is not what the model that drew it says
    before_s, started, drawing_s = outcome.wall_s, time.monotonic(), 0.0
    together = collate(pad_id(base))
    with interruptible() as interrupted, progress(f"grpo {len(names)} experts", steps - done) as bar:
        for step in range(done, steps):
            at_work = [g for g, name in enumerate(names) if name not in outcome.diverged]
            if not at_work:
                break
            began = time.monotonic()
            chosen = {g: [asked[g][i] for i in orders[g][step * per_step : (step + 1) * per_step]] for g in at_work}
            with autocast:
                drawn = _draw(base, banks, chosen, settings, seed=settings.seed * 1_000_003 + step)
            drawing_s += time.monotonic() - began
            divisor_N = _divisors(drawn, settings.loss_type)
            places = [
                Place(len(row["input_ids"]) + (len(row["labels"]) if base.seq2seq else 0), g, n)
                for n, (row, g) in enumerate(zip(drawn.rows, drawn.learner_N, strict=True))
                if drawn.advantage_N[n] or reference  # without a reference nothing pulls at an answer like all others
            ]
            seen: dict[int, Tensor] = {}
            apart, losses = torch.zeros(len(names), 2, device=device), torch.zeros(len(names), device=device)
            well, norm_G, lr_G = at_work, [0.0] * len(names), [0.0] * len(names)
            for turn in range(settings.num_iterations):
                losses.zero_()
                for n, some in enumerate(passes(places, budget)):
                    batch = {k: v.to(device) for k, v in together([drawn.rows[p.row] for p in some]).items()}
                    learner_B = torch.tensor([p.learner for p in some], device=device)
                    batch["advantage_B"] = torch.tensor([drawn.advantage_N[p.row] for p in some], device=device)
                    banks.set_batch(experts=[names[p.learner] for p in some], mask_BT=batch["attention_mask"])
                    outcome.tokens += int(batch["attention_mask"].sum())
                    with autocast:
                        if reference:
                            with torch.no_grad(), _swapped(update.parameters, reference):
                                batch["reference_BT"] = log_probabilities(
                                    base.model, batch, batch["labels"], settings.temperature
                                )
                        logp_BT = log_probabilities(base.model, batch, batch["labels"], settings.temperature)
                    if turn:
                        batch["old_BT"] = seen[n]
                    elif settings.num_iterations > 1:
                        seen[n] = logp_BT.detach()
                    divisor_B = torch.tensor([divisor_N[p.row] for p in some], device=device)
                    loss_B = clipped(logp_BT, batch, divisor_B, settings.kl_coef, settings.epsilon)
                    loss_B.sum().backward()
                    losses.index_add_(0, learner_B, loss_B.detach().float())
                    if turn == 0 and reference:
                        real_BT = batch["labels"] != IGNORED
                        kl_BT = divergence(logp_BT.detach(), batch["reference_BT"]) * real_BT
                        apart.index_add_(0, learner_B, torch.stack([kl_BT.sum(1), real_BT.sum(1).to(kl_BT)], 1))
                well, norm_G, lr_G = update.step(step * settings.num_iterations + turn, at_work, losses)
            outcome.wall_s = before_s + time.monotonic() - started
            loss_G, kl_G = losses.tolist(), (apart[:, 0] / apart[:, 1].clamp(min=1)).tolist()
            pace = {
                "drawing": round(drawing_s / (time.monotonic() - started), 3),
                "tokens_per_s": round(outcome.tokens / max(outcome.wall_s, 1e-9)),
                "wall_s": round(outcome.wall_s, 2),
            }
            by_learner = dict(zip(at_work, drawn.measured, strict=True))
            run.log(*(
                {"step": step + 1, "stage": "grpo", "expert": names[g], "loss": loss_G[g], "lr": lr_G[g]}
                | {"grad_norm": norm_G[g], "kl": kl_G[g], **by_learner[g], **pace}
                for g in well
            ))  # fmt: skip
            bar.advance(note=f"reward {fmean(m['reward'] for m in drawn.measured):.3f}")
            if (step + 1) % settings.save_steps == 0 or step + 1 == steps or interrupted:
                update.save(folder, step + 1, step + 1 == steps, what)
            if interrupted:
                raise KeyboardInterrupt


def _draw(
    base: Base, banks: Banks, chosen: Mapping[int, Sequence[Question]], settings: GrpoSettings, seed: int
) -> Answers:  # fmt: skip
    """Every learner's answers to its questions, what they are worth, and by how much they beat the others of their group."""
    K = settings.num_generations
    each = [(g, m, question) for g, some in chosen.items() for m, question in enumerate(some)]
    asked = [(g, question) for g, _, question in each for _ in range(K)]
    limit = settings.max_completion_length or max(question.task.max_new_tokens for _, question in asked)
    limit, room = rooms(base, limit)
    prompts = tokens(base, [question.example.prompt for *_, question in each], room)
    seeds = [f"{seed}/{m}" for _, m, _ in each]  # whoever else learns beside it
    known = {"experts": [banks.names[g] for g, *_ in each]}
    new = sample(
        base, prompts, seeds, n=K, max_new_tokens=limit, temperature=settings.temperature, banks=banks, known=known
    )  # fmt: skip
    prompts = [prompt for prompt in prompts for _ in range(K)]
    texts = base.tokenizer.batch_decode(new, skip_special_tokens=True)
    reward_N = [_rewards(question, text, settings) for (_, question), text in zip(asked, texts, strict=True)]
    total_MK = torch.tensor([sum(settings.rewards[k] * v for k, v in r.items()) for r in reward_N]).view(-1, K)
    spread_M = total_MK.std(1)
    advantage_MK = total_MK - total_MK.mean(1, keepdim=True)
    if settings.scale_rewards:
        advantage_MK = advantage_MK / (spread_M[:, None] + 1e-4)
    rows = [
        {"input_ids": prompt, "labels": ids}
        if base.seq2seq
        else {"input_ids": prompt + ids, "labels": [IGNORED] * len(prompt) + ids}
        for prompt, ids in zip(prompts, new, strict=True)
    ]
    measured, ends = [], stop_ids(base)
    for n, _ in enumerate(chosen):
        size = K * settings.per_device_train_batch_size
        own = slice(n * size, (n + 1) * size)
        groups = slice(n * settings.per_device_train_batch_size, (n + 1) * settings.per_device_train_batch_size)
        measured.append(
            {"reward": float(total_MK[groups].mean()), "reward_std": float(spread_M[groups].mean())}
            | {f"reward_{name}": fmean(r[name] for r in reward_N[own]) for name in settings.rewards}
            | {"length": fmean(map(len, new[own])), "truncated": fmean(ids[-1] not in ends for ids in new[own])}
            | {"no_variance": float((spread_M[groups] < 1e-6).float().mean())}
        )
    return Answers(rows, [g for g, _ in asked], reward_N, advantage_MK.flatten().tolist(), measured)


def _rewards(question: Question, text: str, settings: GrpoSettings) -> dict[str, float]:
    text = cut(text, question.task.stop)
    score = question.task.score(question.example, text)
    return {name: registry.find("rewards", name)(question.example, text, score) for name in settings.rewards}


def _divisors(drawn: Answers, kind: str) -> list[float]:
    """What each answer's sum is divided by, so that every learner has a mean of its own."""
    length_N = [max(1, sum(label != IGNORED for label in row["labels"])) for row in drawn.rows]
    answers: dict[int, int] = {}
    tokens: dict[int, int] = {}
    for g, length in zip(drawn.learner_N, length_N, strict=True):
        answers[g], tokens[g] = answers.get(g, 0) + 1, tokens.get(g, 0) + length
    return [
        float(length * answers[g] if kind == "grpo" else tokens[g])
        for g, length in zip(drawn.learner_N, length_N, strict=True)
    ]


@contextmanager
def _swapped(parameters: Mapping[str, Any], others: Mapping[str, Tensor]) -> Generator[None]:
    """The experts are those others while the block lasts; nothing is copied."""
    own = {name: p.data for name, p in parameters.items()}
    try:
        for name, p in parameters.items():
            p.data = others[name]
        yield
    finally:
        for name, p in parameters.items():
            p.data = own[name]


def _begun(
    experts: Sequence[Expert], asked: Mapping[str, Sequence[Question]], moves: Mapping[str, Tensor] | None
) -> str:
    """12 hex digits that change with where the experts begin, what they are asked, and what may move."""
    digest = hashlib.sha256()
    for expert in experts:
        digest.update(repr([expert.name, expert.card.get("sha256"), expert.card.get("data_hash")]).encode())
        digest.update(
            repr(
                [(q.task.name, q.example.id, q.example.prompt, q.example.answers) for q in asked[expert.name]]
            ).encode()
        )
    for name in sorted(moves or ()):
        digest.update((moves or {})[name].numpy().tobytes())
    return digest.hexdigest()[:12]
