"""What `loramoe` says of its answers: claims held against the paper, forgetting, who is right where, could answers be read."""

import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from yosegi import files
from yosegi.bases import Base
from yosegi.engine.generate import rooms
from yosegi.evaluation.statistics import mcnemar, wilson
from yosegi.recipes._claims import Scores, cell, dots, judge, labels, paragraph, scores
from yosegi.recipes._moe_data import KEEPS, KINDS, LONGER, OFF, Plan, bank, lora
from yosegi.recipes._moe_routes import routes
from yosegi.run import Run

LISTED = 8
"""Ids told one by one; the rest are in the items."""
NEAR_NOTHING = 0.05
"""A share of right answers at which arms are told apart by luck."""
LEAST = 6
"""Questions that only one of two arms has right, all of them the same one: from here on McNemar's test says something."""


def findings(run: Run, config: Any, plan: Plan, base: Base) -> None:
    """Write `findings.json` (reporting/findings.py) from the rows, items and traces of the run."""
    every = plan.some("both", plan.whole)
    kinds = {"all": [task.name for task in every]}
    kinds |= {kind: [task.name for task in plan.some(kind, plan.whole)] for kind in KINDS}
    if len(plan.languages) > 1:
        kinds |= {language: [task.name for task in plan.some("both", language)] for language in plan.languages}
    guessed = [task.name for task in plan.known if blank(run, task.name, config.seeds[0])]
    kinds |= {"known": [task.name for task in plan.known if task.name not in guessed]}
    kinds |= {"texts": [task.name for task in plan.texts]}
    kinds = {kind: names for kind, names in kinds.items() if names}
    # Of a question with choices it counts which letter is likelier: a written one says as much of the form of an answer.
    score = {
        kind: scores(run, names, *(("letter", "score") if kind == "known" else ("score",)))
        for kind, names in kinds.items()
    }
    logp = {kind: scores(run, names, "logp") for kind, names in kinds.items()}
    # One label for all: the intervals are about other seeds and other questions of these tasks.
    whose = {kind: [kind] * len(labels(run, names)) for kind, names in kinds.items()}
    arms = list(score["all"])
    judged = [row for claim in claims(config, plan) if (row := judge(claim, score, logp, whose)) is not None]
    figure = dots("Easy and hard questions, every arm", score["all"], whose["all"], "score")
    found = [
        {
            "heading": "One bank or one LoRA, for easy and hard questions",
            "text": [
                f"{len(every)} tasks, {len(config.seeds)} seed{'s' * (len(config.seeds) > 1)}, {config.asked} questions a task, "
                f"{config.steps} steps of {config.batch} questions. Every LoRA has as many parameters as the bank, its routers "
                "counted, but the one whose rank is told. Intervals: 95 %, over seeds and questions of these tasks; they do not "
                "speak of other tasks.",
                *chosen(run, config),
            ],
            "table": {
                "columns": ["", *(f"{kind}, {what}" for kind in kinds for what in ("score", "log p"))],
                "rows": [[arm, *(cell(of[kind].get(arm)) for kind in kinds for of in (score, logp))] for arm in arms],
            },
            "figure": figure | {"caption": "All questions, easy and hard; 95 % intervals over seeds and questions."},
        },
        {
            "heading": "Held against the paper",
            "text": paragraph(judged, len(config.seeds)) if judged else ["No two arms to compare."],
            "table": {
                "columns": ["claim", "questions", "paper", "difference, score", "", "difference, log p", ""],
                "rows": judged,
                "note": "On the same questions. What the paper claims is of LLaMA-2 7B, against fine-tuning all weights and "
                "one LoRA; a control that it does not have is marked (ours).",
            },
        },
        *frontier(run, plan),
        *routes(run, config, plan),
    ]
    if plan.known or plan.texts:
        found.append(forgotten(config, plan, score, logp, guessed))
    found += [overlaps(run, config, plan), audit(run, config, plan)]
    if plan.shown:
        found.append(worked_examples(run, config, plan, base))
    files.write_json(
        run.path / "findings.json", {"title": "LoRAMoE: easy and hard, and nothing forgotten?", "findings": found}
    )


def claims(config: Any, plan: Plan) -> Iterator[tuple[str, str, str, str, str]]:
    """What is claimed, which arm, against which, on what, and what the paper says."""
    whole, ours, one = plan.whole, bank(config.betas[-1], plan.whole), lora("both", plan.whole)
    for where in ("all", *KINDS):
        yield "LoRAMoE beats one LoRA of equal parameters", ours, one, where, "> 0"
    yield "LoRAMoE beats one LoRA of equal time", ours, LONGER, "all", "> 0 (ours)"
    yield "LoRAMoE beats one LoRA that keeps as much", ours, KEEPS, "all", "> 0 (ours)"
    yield f"LoRAMoE beats one LoRA of rank {config.rank}", ours, f"LoRA rank {config.rank}", "all", "> 0"
    for kind in KINDS:
        yield f"One bank for both is as good as a LoRA on {kind} alone", ours, lora(kind, whole), kind, "≈ 0"
    if len(config.betas) > 1:
        least = bank(config.betas[0], whole)
        yield f"β {config.betas[-1]:g} beats β {config.betas[0]:g}", ours, least, "all", "> 0"
        yield f"β {config.betas[-1]:g} keeps more than β {config.betas[0]:g}", ours, least, "known", "> 0"
    yield "The types matter: better than types by lot", ours, "LoRAMoE, random types", "all", "> 0 (ours)"
    yield "Which way the types pull does not matter", ours, "LoRAMoE, attract", "all", "≈ 0"
    yield "Types by kind beat types by language", ours, "LoRAMoE, types by language", "all", "> 0 (ours)"
    yield "The router matters: better than all experts alike", ours, OFF, "all", "> 0 (ours)"
    for where in ("known", "texts"):
        yield "LoRAMoE keeps what the base knew", ours, "base", where, "≈ 0"
        yield "LoRAMoE keeps more than one LoRA of equal parameters", ours, one, where, "> 0"
    yield "LoRAMoE keeps as much as the LoRA that is to keep as much", ours, KEEPS, "known", "≈ 0"
    for language in plan.languages if len(plan.languages) > 1 else ():
        own = bank(config.betas[-1], language)
        yield f"The bank for all languages is as good as that for {language}", ours, own, language, "≈ 0"


def chosen(run: Run, config: Any) -> list[str]:
    """The learning rates, and whether the grid was wide enough to say so."""
    path = run.path / "settings.json"
    if not path.exists():
        return []
    found = files.read_json(path)
    said = "Learning rates, chosen on validation questions: " + "; ".join(
        f"{way} {of['chosen']:g}" for way, of in found.items()
    )
    ends = (min(config.rates), max(config.rates))
    edge = [way for way, of in found.items() if of["chosen"] in ends]
    if len(config.rates) == 1:
        return [said + ". There was only one to choose from."]
    if edge:
        said += f". At an end of the grid, so that a wider one might do better: {'; '.join(edge)}"
    lost = [name for seed in config.seeds for name in files.read_json(run.path / f"arms-s{seed}.json")["lost"]]
    return [said + ".", *([f"These diverged and are missing: {'; '.join(lost)}."] if lost else [])]


def frontier(run: Run, plan: Plan) -> list[dict[str, Any]]:
    """What every learning rate learns and what it keeps: who learns more may only have forgotten more."""
    path = run.path / "settings.json"
    tried = {way: of["tried"] for way, of in (files.read_json(path) if path.exists() else {}).items()}
    if not any(known is not None for rows in tried.values() for *_, known in rows):
        return []
    rows = [
        [way, f"{rate:g}", round(learnt, 4), round(known, 4)]
        for way, some in tried.items()
        for rate, learnt, known in some
    ]
    shown = [way for way in tried if way in (lora("both", plan.whole), LONGER) or "LoRAMoE" in way]
    series = [{"name": way, "points": [[round(x, 4), round(y, 4)] for _, x, y in best(tried[way])]} for way in shown]
    told = [f"{way} {', '.join(f'{rate:g}' for rate, *_ in best(tried[way]))}" for way in shown]
    text = [
        "Validation questions, the first seed, every learning rate that was tried: log p of what is learnt and of what the base "
        "knew. Up and to the right is better: a way beats another where its line lies above it.",
        f"Drawn are the rates that no other rate of the same way beats at both: {'; '.join(told)}.",
    ]
    figure = {
        "kind": "lines", "title": "Learnt and kept", "x": "log p of what is learnt", "y": "log p of what was known",
        "series": series, "caption": "A point a learning rate; lines join those of one way, from the least learnt to the most.",
    }  # fmt: skip
    table = {"columns": ["", "learning rate", "learnt, log p", "known, log p"], "rows": rows}
    return [{"heading": "Learnt and kept, at every learning rate", "text": text, "table": table, "figure": figure}]


def best(tried: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """Of (learning rate, learnt, known) those that no other beats at both, from the least learnt to the most."""
    found = [
        one for one in tried
        if not any(o[1] >= one[1] and o[2] >= one[2] and tuple(o[1:]) != tuple(one[1:]) for o in tried)
    ]  # fmt: skip
    return sorted(found, key=lambda one: one[1])


def blank(run: Run, task: str, seed: int) -> bool:
    """Whether the base is at chance on questions with choices: what is guessed cannot be forgotten."""
    rows = [row for row in own_rows(run) if (row["model"], row["task"], row["seed"]) == ("base", task, seed)]
    items = files.read_jsonl(run.path / rows[0]["items"]) if rows else []
    if not items or not all(item["meta"].get("choices") for item in items):
        return False
    chance = fmean(1 / len(item["meta"]["choices"]) for item in items)
    right = sum(item.get("letter", item["score"]) for item in items)
    return wilson(round(right), len(items))[0] <= chance


def forgotten(
    config: Any, plan: Plan, score: Mapping[str, Scores], logp: Mapping[str, Scores], guessed: Sequence[str]
) -> dict[str, Any]:
    """What the base knew, arm by arm: the change on the same questions and texts."""
    rows: list[list[Any]] = []
    measured: list[tuple[str, Scores]] = [("known", score.get("known", {})), ("known", logp.get("known", {}))]
    measured.append(("texts", logp.get("texts", {})))
    for arm in next((of for kind in ("known", "texts") if (of := score.get(kind))), {}):
        if arm == "base":
            continue
        seeds = [sorted(of.get(arm, {}).keys() & of.get("base", {}).keys()) for _, of in measured]
        changes = [change_of(of, arm, some) if some else None for (_, of), some in zip(measured, seeds, strict=True)]
        moved: list[float | None] = [None, None]
        if seeds[0]:
            after, before = (measured[0][1][one] for one in (arm, "base"))
            moved = [
                round(
                    fmean(sum(sign * (a - b) > 0 for a, b in zip(after[s], before[s], strict=True)) for s in seeds[0]),
                    1,
                )
                for sign in (-1, 1)
            ]
        rows.append([arm, *changes[:2], *moved, changes[2]])
    text = []
    if names := ", ".join(task.name for task in plan.known if task.name not in guessed):
        text.append(
            f"General questions that nothing here was trained on ({names}). Lost and gained: questions, mean over seeds."
        )
    if guessed:
        text.append(
            f"The base does no better than who guesses, so that nothing can be lost: {', '.join(guessed)}, left out here."
        )
    if plan.texts:
        text.append(f"General texts, log p a token: {', '.join(task.name for task in plan.texts)}.")
    before = cell(score.get("known", {}).get("base"))
    if before is not None:
        little = " Almost nothing: what is not known cannot be forgotten." if before["value"] <= NEAR_NOTHING else ""
        text.append(f"The base alone scores {before['value']:.3f} on the questions.{little}")
    for arm in (lora("both", plan.whole), bank(config.betas[-1], plan.whole)):
        for place, of_what in ((1, "of the questions"), (5, "of the log p of a text's token")):
            if (row := next((row for row in rows if row[0] == arm), None)) and row[place] is not None:
                low, high = row[place]["low"], row[place]["high"]
                how = "loses" if high < 0 else "gains" if low > 0 else "is not shown to change"
                text.append(f"{arm} {how}, {of_what}: {row[place]['value']:+.3f} ({low:+.3f} to {high:+.3f}).")
    columns = ["", "change of the score", "change of log p", "lost", "gained", "texts, change of log p"]
    return {"heading": "What is still known", "text": text, "table": {"columns": columns, "rows": rows}}


def change_of(of: Scores, arm: str, seeds: Sequence[int], against: str = "base") -> dict[str, float] | None:
    """The mean change with its interval."""
    return cell({s: [a - b for a, b in zip(of[arm][s], of[against][s], strict=True)] for s in seeds})


def overlaps(run: Run, config: Any, plan: Plan) -> dict[str, Any]:
    """Are two arms right about the same questions? With few right answers any two arms are alike, and this says so."""
    whole, seed = plan.whole, config.seeds[0]
    one, top, least = lora("both", whole), bank(config.betas[-1], whole), bank(config.betas[0], whole)
    arms = list(dict.fromkeys(["base", one, least, top]))
    pairs = [(arm, top) for arm in arms if arm != top]
    right = {task.name: rights(run, task.name, seed) for task in plan.some("both", whole)}
    files.write_json(run.path / "right.json", {"seed": seed, "right": right})
    rows: list[list[Any]] = []
    told: list[str] = []
    clear = 0
    for task, of_arms in right.items():
        for a, b in pairs:
            if a not in of_arms or b not in of_arms:
                continue
            n, (in_a, in_b) = of_arms[a]["n"], (set(of_arms[a]["ids"]), set(of_arms[b]["ids"]))
            both, only_a, only_b = len(in_a & in_b), len(in_a - in_b), len(in_b - in_a)
            p = mcnemar(only_b, only_a)
            clear += p < 0.05
            said = "differ" if p < 0.05 else f"no finding: {only_a + only_b} differ, {LEAST} is the least"
            said = "no difference found" if p >= 0.05 and only_a + only_b >= LEAST else said
            chance = round(len(in_a) * len(in_b) / n, 1)
            rows.append([task, a, b, len(in_a), len(in_b), both, chance, only_a, only_b, round(p, 4), said])
        if few := [
            f"{len(of_arms[arm]['ids'])} by {arm} ({ids(set(of_arms[arm]['ids']))})" for arm in arms if arm in of_arms
        ]:
            n, most = of_arms[arms[0]]["n"], max(len(of_arms[arm]["ids"]) for arm in arms if arm in of_arms)
            if most <= NEAR_NOTHING * n:
                low, high = wilson(most, n)
                told.append(
                    f"{task}, right of {n}: {'; '.join(few)}. This is near nothing: {most} of {n} means from {100 * low:.1f} to "
                    f"{100 * high:.1f} %, and no order of these arms."
                )
    text = [
        f"Seed {seed}. By chance: how many both would have right if being right were drawn by lot. McNemar's test asks only "
        f"those that one of the two has right; fewer than {LEAST} of these can never be a finding. All ids are in right.json.",
        f"{clear} of {len(rows)} pairs differ with p < .05; one in twenty would where nothing is the matter.",
        *told,
    ]
    columns = ["task", "A", "B", "A right", "B right", "both", "by chance", "only A", "only B", "p (McNemar)", ""]
    return {"heading": "Right about the same questions?", "text": text, "table": {"columns": columns, "rows": rows}}


def rights(run: Run, task: str, seed: int) -> dict[str, dict[str, Any]]:
    """Of each arm, the ids it has right, where an answer is right or wrong."""
    found: dict[str, dict[str, Any]] = {}
    for row in own_rows(run):
        if row["task"] == task and row["seed"] == seed and row["model"] not in found:
            items = files.read_jsonl(run.path / row["items"])
            if all(item["score"] in (0, 1) for item in items):
                found[row["model"]] = {"n": len(items), "ids": [item["id"] for item in items if item["score"] == 1]}
    return found


def ids(some: set[str]) -> str:
    """The first of them."""
    listed = ", ".join(sorted(some)[:LISTED]) or "none"
    return listed + (f" and {len(some) - LISTED} more" if len(some) > LISTED else "")


def own_rows(run: Run) -> list[dict[str, Any]]:
    """One row a measurement: not the comparisons, not log p."""
    seen: dict[tuple[str, str, int], dict[str, Any]] = {}
    for row in run.results():
        if "against" not in row and row["metric"] != "logp":
            seen.setdefault((row["model"], row["task"], row["seed"]), row)
    return list(seen.values())


def audit(run: Run, config: Any, plan: Plan) -> dict[str, Any]:
    """Could the answers be read? A wrong answer that says the right one may be the reader's fault."""
    whole = plan.whole
    shown = ["base", lora("both", whole), *(bank(beta, whole) for beta in config.betas)]
    golds = {
        task.name: {example.id: example.answers for example in task.examples("test")[: config.asked]}
        for task in plan.some("both", whole)
    }
    groups: dict[tuple[str, str], list[list[dict[str, Any]]]] = {}
    for row in own_rows(run):
        if row["model"] in shown and row["task"] in golds:
            groups.setdefault((row["task"], row["model"]), []).append(files.read_jsonl(run.path / row["items"]))
    rows: list[list[Any]] = []
    examples: list[str] = []
    for (task, arm), several in groups.items():
        items = [item for some in several for item in some]
        missed = [item for item in items if item["score"] == 0 and holds(item["prediction"], golds[task][item["id"]])]
        share = [sum(not i["parsed"] for i in items), sum(i["truncated"] for i in items), len(missed)]
        rows.append([task, arm, len(items), *(round(100 * n / len(items), 1) for n in share)])
        if missed and len(examples) < 3:
            wrote = " ".join(missed[0]["prediction"].split())[-80:]
            examples.append(f"{missed[0]['id']} ({arm}): “…{wrote}”, and {golds[task][missed[0]['id']][0]} is right")
    most = max((row[3] for row in rows), default=0.0)
    text = [
        f"At most {most:g} % of the answers of an arm to a task held nothing that could be read. “Says it”: marked wrong, "
        "and the right answer stands somewhere in the text; some of these are steps on the way to another number."
    ]
    return {
        "heading": "Could the answers be read?",
        "text": [*text, *(["To look at: " + "; ".join(examples) + "."] if examples else [])],
        "table": {
            "columns": ["task", "", "answers", "unreadable, %", "cut off, %", "wrong, but says it, %"],
            "rows": rows,
        },
    }


def holds(text: str, answers: Sequence[str]) -> bool:
    """Whether an answer stands in a text by itself: 12 is not in 312."""
    return any(a and re.search(rf"(?<![A-Za-z0-9.,]){re.escape(a)}(?![A-Za-z0-9]|[.,]\d)", text) for a in answers)


def worked_examples(run: Run, config: Any, plan: Plan, base: Base) -> dict[str, Any]:
    """The base alone, after worked examples: what it can do without training."""
    seed, rows = config.seeds[0], []
    for name, shown in plan.shown.items():
        before, after = (scores(run, [task], "score").get("base", {}).get(seed) for task in (name, shown.name))
        if before is None or after is None or len(before) != len(after):
            continue
        gained, lost = (sum(sign * (a - b) > 0 for a, b in zip(after, before, strict=True)) for sign in (1, -1))
        _, room = rooms(base, shown.max_new_tokens)
        prompts = [example.prompt for example in shown.examples("test")[: config.asked]]
        long = sum(len(base.tokenizer(prompt)["input_ids"]) > room for prompt in prompts)
        p = round(mcnemar(gained, lost), 4)
        rows.append(
            [name, cell({seed: before}), cell({seed: after}), gained, lost, p, round(100 * long / len(prompts))]
        )
    without = [task.name for task in plan.asked if task.name not in plan.shown]
    text = [
        f"{config.shots} worked examples before each question, the same questions; p is McNemar's. Too long: of these the "
        "context cannot hold all that is shown, and the beginning is left out."
    ]
    text += [f"There is no such form of {', '.join(without)}."] if without else []
    columns = ["task", "zero-shot", f"{config.shots} shown", "gained", "lost", "p", "too long, %"]
    return {"heading": "The base after worked examples", "text": text, "table": {"columns": columns, "rows": rows}}
