"""GRPO for a fleet: many experts answer questions, each learns which of its own answers were better, all in one pass.

Shao et al. 2024, "DeepSeekMath", arXiv:2402.03300. The loss is TRL's (objectives/grpo.py); the loop is that of a fleet, since
half of the time goes into drawing answers, and a large batch draws at the price of a small one. Under `accelerate launch` the
experts are dealt out to the processes. Every expert has questions, draws, groups of answers, a gradient norm, a schedule and a
mask of its own: it learns what it would learn alone.

The reference of the KL term is where this training began: the experts as they were given, a snapshot of their factors and not
the base, which is what a copy loaded from disk would be.
Shapes: G learners, N answers of a step, B answers of a pass, T tokens, K answers to one question, M questions of a step.
"""

import dataclasses
import math
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor

from yosegi import registry
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import Banks
from yosegi.engine.chat import stop_strings
from yosegi.engine.generate import rooms, sample, tokens
from yosegi.engine.request import cut, stop_ids
from yosegi.engine.rows import Row, order, to_batch
from yosegi.errors import Invalid
from yosegi.objectives import IGNORED, log_probabilities
from yosegi.objectives.grpo import clipped, divergence
from yosegi.routers.by_request import ByRequest
from yosegi.run import Run
from yosegi.tasks import Example, Task, subset
from yosegi.training.data import Place, digest, digest_of, passes, row_length
from yosegi.training.fit import fit, plan_of
from yosegi.training.fleet import Masks, stacked
from yosegi.training.job import ExpertOptions, Job, attached
from yosegi.training.loop import Columns, run_steps
from yosegi.training.settings import GrpoSettings
from yosegi.training.update import Outcome, Part, Update


class Question(NamedTuple):
    """What an expert is asked, and the task that scores what it answers."""

    task: Task
    example: Example


def questions(task: Task, examples: Sequence[Example]) -> list[Question]:
    """Returns the examples of one task as questions; lists of several tasks may be joined."""
    return [Question(task, example) for example in examples]


class Answers(NamedTuple):
    """What was drawn in one step: for each answer, all learners' in a row, its tokens with those of the prompt, its learner, by
    how much it beats the others of its group, and the divisor of its loss, so that every learner has a mean of its own.
    `columns` are those of each learner's row of metrics."""

    rows: list[Row]
    learner_N: list[int]
    advantage_N: list[float]
    divisor_N: list[float]
    columns: list[dict[str, float]]


def grpo(
    base: Base,
    experts: Sequence[Expert],
    asked: Mapping[str, Sequence[Question]],
    run: Run,
    settings: GrpoSettings | None = None,
    *,
    masks: Masks | None = None,
    **options: Unpack[ExpertOptions],
) -> list[Expert]:
    """Goes on training experts by reward. Returns those that this process trained, in the order given.

    Args:
        base: the model that they are trained beside; it stays as it was.
        experts: where they begin.
        asked: expert's name -> the questions that it answers, of one task or several.
        run: gets a row for each step and expert (reward, KL, length, share of groups without variance, share of time spent
            drawing), and the checkpoint while the training lasts.
        settings: the same for all.
        masks: which entries are updated, as for `fleet`. One that is narrower than the expert's rank freezes the rest: the
            second half of an expert that began as PiSSA is its origin.
        options: see `ExpertOptions`; there is no validation.

    Raises:
        Invalid: an expert has no questions; a checkpoint of another training is in the way.
        Diverged: some experts' loss stopped being finite; all others were trained and kept.
        KeyboardInterrupt: after the step was finished and saved.
    """
    settings = settings or GrpoSettings()
    if options.get("validation"):
        raise Invalid("Experts that learn by reward are not measured on validation texts.")
    for expert in experts:
        if not asked.get(expert.name):
            raise Invalid(f"Expert {expert.name!r} has no questions to answer.")
    job, trained = Job(base, run, settings, **options), list[Expert]()
    experts = job.deal(experts, "grpo")
    names = [expert.name for expert in experts]
    if not names:  # more processes than experts: this one has nothing to do
        job.finish()
        return []
    asked = {name: subset(asked[name], settings.limit, lambda question: question.example.id) for name in names}
    with attached(base, experts, ByRequest()) as banks:
        moves = {} if masks is None else stacked(banks, {name: masks.get(name) for name in names})
        every = [
            (q.task.name, q.example.id, q.example.prompt, q.example.answers) for name in names for q in asked[name]
        ]
        data = digest(digest_of(experts), every, *(moves[name] for name in sorted(moves)))
        outcome, steps = grpo_loop(job, banks, list(asked.values()), moves or None, data)
        experts_now = banks.experts()
    metrics = {"steps": steps, "fleet": len(names), "fleet_tokens": outcome.tokens}
    for expert, start in zip(experts_now, experts, strict=True):
        if (name := expert.name) not in outcome.diverged:
            fields = job.card(outcome, name, expert.tasks, data, {"examples": len(asked[name]), **metrics}, start)
            trained.append(dataclasses.replace(expert, card=fields))
            job.keep(trained[-1])
    job.finish(outcome.diverged, len(names))
    return trained


def grpo_loop(
    job: Job, banks: Banks, asked: Sequence[Sequence[Question]], moves: Mapping[str, Tensor] | None, data: str
) -> tuple[Outcome, int]:
    """Draws answers, scores them, updates; step by step. Returns what it cost, and the number of steps.

    Args:
        job: the model, with `banks` in it.
        banks: the experts that answer.
        asked: the questions of each.
        moves: True where an entry is updated, by parameter.
        data: hash of all that is given (`Job.identity`).
    """
    base, settings, device, names = job.base, job.settings, job.device, list(banks.names)
    assert isinstance(settings, GrpoSettings)
    per_step, turns = settings.per_device_train_batch_size, settings.num_iterations
    steps = settings.max_steps or max(math.ceil(settings.num_train_epochs * len(each) / per_step) for each in asked)
    longest, K = _longest([question for each in asked for question in each], base, settings), settings.num_generations
    fit(job, plan_of(job, banks, [longest], per_step, method="grpo", generations=K))
    parameters = banks.parameters()
    update = Update([Part(parameters, settings.learning_rate, steps * turns)], names, settings, moves)
    reference = {name: p.detach().clone() for name, p in parameters.items()} if settings.kl_coef else {}
    orders = [order(len(each), steps * per_step, settings.seed) for each in asked]
    started, drawing_s = time.monotonic(), 0.0

    def log_p(batch: Mapping[str, Tensor]) -> Tensor:
        with job.autocast():
            return log_probabilities(base.model, batch, batch["labels"], settings.temperature)

    def take_step(step: int, active: list[int]) -> Columns:
        nonlocal drawing_s
        began = time.monotonic()
        chosen = {g: [asked[g][i] for i in orders[g][step * per_step : (step + 1) * per_step]] for g in active}
        with job.autocast():
            drawn = draw(base, banks, chosen, settings, seed=settings.seed * 1_000_003 + step)
        drawing_s += time.monotonic() - began
        places = [
            Place(row_length(row, base.seq2seq), g, n)
            for n, (row, g) in enumerate(zip(drawn.rows, drawn.learner_N, strict=True))
            if drawn.advantage_N[n] or reference  # without a reference nothing pulls at an answer like all others
        ]
        every_pass = list(passes(places, job.budget))
        old: dict[int, Tensor] = {}
        kl_G2, losses_G = torch.zeros(len(names), 2, device=device), torch.zeros(len(names), device=device)
        rows: Columns = {}
        for turn in range(turns):
            losses_G.zero_()
            for n, part in enumerate(every_pass):
                batch = to_batch(base, [drawn.rows[p.row] for p in part])
                learner_B = torch.tensor([p.learner for p in part], device=device)
                batch["advantage_B"] = torch.tensor([drawn.advantage_N[p.row] for p in part], device=device)
                banks.set_batch(experts=[names[p.learner] for p in part], mask_BT=batch["attention_mask"])
                if reference:
                    with torch.no_grad(), _swapped(parameters, reference):
                        batch["reference_BT"] = log_p(batch)
                logp_BT = log_p(batch)
                if turn:
                    batch["old_BT"] = old[n]
                elif turns > 1:
                    old[n] = logp_BT.detach()
                divisor_B = torch.tensor([drawn.divisor_N[p.row] for p in part], device=device)
                loss_B = clipped(logp_BT, batch, divisor_B, settings.kl_coef, settings.epsilon)
                loss_B.sum().backward()
                losses_G.index_add_(0, learner_B, loss_B.detach().float())
                if turn == 0 and reference:
                    real_BT = batch["labels"] != IGNORED
                    kl_BT = divergence(logp_BT.detach(), batch["reference_BT"]) * real_BT
                    kl_G2.index_add_(0, learner_B, torch.stack([kl_BT.sum(1), real_BT.sum(1).to(kl_BT)], 1))
            rows = update.step(step * turns + turn, active, losses_G)
        update.outcome.tokens += turns * sum(len(drawn.rows[p.row]["input_ids"]) for p in places)
        kl_G = (kl_G2[:, 0] / kl_G2[:, 1].clamp(min=1)).tolist()
        more = {"drawing": round(drawing_s / (time.monotonic() - started), 3)}
        of = dict(zip(active, drawn.columns, strict=True))
        return {g: columns | {"kl": kl_G[g], **of[g], **more} for g, columns in rows.items()}

    base.model.eval()  # with dropout the model would not be the one that drew the answers
    title, identity = f"grpo {len(names)} experts", job.identity(names, data)
    return run_steps(job, update, take_step, [steps] * len(names), identity, title, stage="grpo"), steps


def draw(
    base: Base, banks: Banks, chosen: Mapping[int, Sequence[Question]], settings: GrpoSettings, seed: int
) -> Answers:
    """Returns every learner's answers to its questions, with by how much each beats the others of its group."""
    K, M = settings.num_generations, settings.per_device_train_batch_size
    each = [(g, m, question) for g, asked in chosen.items() for m, question in enumerate(asked)]
    asked_N = [(g, question) for g, _, question in each for _ in range(K)]
    limit = settings.max_completion_length or max(question.task.max_new_tokens for *_, question in each)
    limit, room = rooms(base, limit)
    prompts = tokens(base, [question.example for *_, question in each], room)
    seeds = [f"{seed}/{m}" for _, m, _ in each]  # an expert draws the same whoever learns beside it
    known = {"experts": [banks.names[g] for g, *_ in each]}
    new = sample(
        base, prompts, seeds, n=K, max_new_tokens=limit, temperature=settings.temperature, banks=banks, known=known
    )
    prompts = [prompt for prompt in prompts for _ in range(K)]
    texts = base.tokenizer.batch_decode(new, skip_special_tokens=True)
    reward_N = [_rewards(base, question, text, settings) for (_, question), text in zip(asked_N, texts, strict=True)]
    total_MK = torch.tensor([sum(settings.rewards[k] * v for k, v in r.items()) for r in reward_N]).view(-1, K)
    spread_M = total_MK.std(1)
    advantage_MK = total_MK - total_MK.mean(1, keepdim=True)
    if settings.scale_rewards:
        advantage_MK = advantage_MK / (spread_M[:, None] + 1e-4)
    rows: list[Row] = []
    for prompt, ids in zip(prompts, new, strict=True):
        before = [] if base.seq2seq else [IGNORED] * len(prompt)
        rows.append({"input_ids": prompt if base.seq2seq else prompt + ids, "labels": before + ids})
    divisors, columns, ends = list[float](), [], stop_ids(base)
    for n in range(len(chosen)):
        answers, groups = slice(n * K * M, (n + 1) * K * M), slice(n * M, (n + 1) * M)
        lengths = [len(ids) for ids in new[answers]]
        by_answer = settings.loss_type == "grpo"
        divisors += [float(length * len(lengths)) if by_answer else float(sum(lengths)) for length in lengths]
        columns.append(
            {"reward": float(total_MK[groups].mean()), "reward_std": float(spread_M[groups].mean())}
            | {f"reward_{name}": fmean(r[name] for r in reward_N[answers]) for name in settings.rewards}
            | {"length": fmean(lengths), "truncated": fmean(ids[-1] not in ends for ids in new[answers])}
            | {"no_variance": float((spread_M[groups] < 1e-6).float().mean())}
        )
    return Answers(rows, [g for g, _ in asked_N], advantage_MK.flatten().tolist(), divisors, columns)


def _longest(asked: Sequence[Question], base: Base, settings: GrpoSettings) -> Row:
    """Returns a row as long as the longest question with the longest answer."""
    limit, room = rooms(base, settings.max_completion_length or max(question.task.max_new_tokens for question in asked))
    prompt = max(map(len, tokens(base, [question.example for question in asked], room)))
    return {"input_ids": [0] * (prompt + limit), "labels": [IGNORED] * prompt + [0] * limit}


def _rewards(base: Base, question: Question, text: str, settings: GrpoSettings) -> dict[str, float]:
    text = cut(text, stop_strings(base, question.task.stop))
    score = question.task.score(question.example, text)
    return {name: registry.find("rewards", name)(question.example, text, score) for name in settings.rewards}


@contextmanager
def _swapped(parameters: Mapping[str, Any], others: Mapping[str, Tensor]) -> Generator[None]:
    """The experts are those others while the block lasts; nothing is copied."""
    before = {name: p.data for name, p in parameters.items()}
    try:
        for name, p in parameters.items():
            p.data = others[name]
        yield
    finally:
        for name, p in parameters.items():
            p.data = before[name]
