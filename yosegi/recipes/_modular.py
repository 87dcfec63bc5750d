"""What `mbc_arrow` says of its numbers: tables, claims held against the paper, and a paragraph that follows from them."""

from collections.abc import Sequence
from typing import Any

from yosegi import files
from yosegi.recipes._claims import cell, dots, judge, labels, paragraph, scores
from yosegi.run import Run

CLAIMS = (
    ("MBC beats MHR", "mbc · uniform · outputs", "mhr", "new", "+1.2"),
    ("Arrow beats the uniform blend on MBC", "mbc · arrow · outputs", "mbc · uniform · outputs", "new", "+0.3"),
    ("Arrow beats the uniform blend on private", "private · arrow · outputs", "private · uniform · outputs", "new", "+1.8"),
    ("TP beats the uniform blend on private", "private · predictor · outputs", "private · uniform · outputs", "new", "+0.9"),
    ("CM beats the uniform blend on private", "private · centroid · outputs", "private · uniform · outputs", "new", "+0.9"),
    ("MBC with Arrow beats the base", "mbc · arrow · outputs", "base", "new", "+3.6"),
    ("MBC with Arrow beats one expert for all", "mbc · arrow · outputs", "shared", "new", "+1.8"),
    ("MBC beats random clusters", "mbc · uniform · outputs", "random · uniform · outputs", "new", "> 0"),
    ("MBC beats random clusters on its own tasks", "mbc · oracle · outputs", "random · oracle · outputs", "seen", "> 0"),
    ("Arrow beats the uniform blend on private", "private · arrow · outputs", "private · uniform · outputs", "seen", "> 0"),
    ("TP is as good as the oracle on private", "private · predictor · outputs", "private · oracle · outputs", "seen", "≈ 0"),
    ("Arrow is as good as the oracle on private", "private · arrow · outputs", "private · oracle · outputs", "seen", "≈ 0"),
    ("Arrow is as good as the oracle on MBC", "mbc · arrow · outputs", "mbc · oracle · outputs", "seen", "≈ 0"),
)  # fmt: skip
"""What is claimed, which arm, against which, on which tasks, and what the paper measured (points of a mean of ten tasks)."""


def findings(run: Run, config: Any, seen: Sequence[str], unseen: Sequence[str]) -> None:
    """Write `findings.json` (reporting/findings.py) from the rows and items of the run."""
    metrics = {row["metric"] for row in run.results() if "against" not in row} - {"logp"}
    own = " / ".join(sorted(metrics))
    score = {"seen": scores(run, seen, "score"), "new": scores(run, unseen, "score")}
    logp = {"seen": scores(run, seen, "logp"), "new": scores(run, unseen, "logp")}
    whose = {"seen": labels(run, seen), "new": labels(run, unseen)}
    judged = [judge(claim, score, logp, whose) for claim in CLAIMS]
    judged = [row for row in judged if row is not None]
    arms = [arm for arm in score["seen"] if not arm.startswith("few-shot")]
    shots = [arm for arm in score["new"] if arm == "base" or arm.startswith("few-shot")]
    about = (
        f"{len(seen)} tasks to learn from, {len(unseen)} new ones, {config.limit} examples a task, "
        f"{len(config.seeds)} seeds, {config.asked} questions a task. Intervals: 95 %, over seeds and tasks."
    )
    found = [
        {
            "heading": "Every library under every router",
            "text": [about],
            "table": {
                "columns": ["", f"known tasks, {own}", "log p", f"new tasks, {own}", "log p"],
                "rows": [
                    [
                        arm,
                        *(
                            cell(part[where].get(arm), whose[where])
                            for where in ("seen", "new")
                            for part in (score, logp)
                        ),
                    ]
                    for arm in arms
                ],
                "note": "log p: of the gold answer, a token. An oracle has no answer to a new task.",
            },
            "figure": dots(
                f"New tasks, {own}",
                {arm: score["new"].get(arm) for arm in arms},
                whose["new"],
                "no example of the task",
            ),
        },
        {
            "heading": "The paper's findings, held against ours",
            "text": paragraph(judged, len(config.seeds)),
            "table": {
                "columns": ["claim", "tasks", "paper", f"ours, {own}", "", "ours, log p", ""],
                "rows": judged,
                "note": "The difference on the same questions. The paper's numbers are points of accuracy of Phi-2 or Mistral "
                "on ten benchmarks; ours are other tasks and a far smaller base, so it is the signs that can be compared. "
                "The default learning rates were chosen on validation questions of known and new tasks alike.",
            },
            "figure": dots(
                "log p of the gold answer, new tasks",
                {arm: logp["new"].get(arm) for arm in arms},
                whose["new"],
                "nats a token",
            ),
        },
        {
            "heading": "A few examples of a new task",
            "text": [
                f"{config.shots} examples a task. fresh: a new expert; the others begin as that library's (mean) expert; "
                "poly-z and mhr-z learn a row of the table and nothing else."
            ],
            "table": {
                "columns": ["", own, "log p"],
                "rows": [[arm, *(cell(part["new"].get(arm), whose["new"]) for part in (score, logp))] for arm in shots],
            },
            "figure": dots(
                f"Few-shot, {own}", {arm: score["new"].get(arm) for arm in shots}, whose["new"], "new tasks"
            ),
        },
        arrow_and_oracle(run, seen),
    ]
    title = "A library of LoRAs: who builds it, who routes it"
    files.write_json(run.path / "findings.json", {"title": title, "findings": found})


def arrow_and_oracle(run: Run, seen: Sequence[str]) -> dict[str, Any]:
    """Insight (c): Arrow against the oracle, task by task."""
    points, rows = [], []
    for task in seen:
        for way in ("private", "mbc"):
            one = scores(run, [task], "logp")
            pair = [one.get(f"{way} · {router} · outputs") for router in ("oracle", "arrow")]
            if pair[0] is None or pair[1] is None:
                continue
            oracle, arrow = cell(pair[0]), cell(pair[1])
            assert oracle is not None and arrow is not None
            points.append({"x": oracle["value"], "y": arrow["value"], "label": task.rpartition("/")[2], "group": way})
            rows.append([task.rpartition("/")[2], way, oracle, arrow])
    return {
        "heading": "Arrow against the oracle, task by task",
        "text": ["On the diagonal, a router that was told nothing does as well as one that was told the task."],
        "table": {"columns": ["task", "library", "oracle, log p", "arrow, log p"], "rows": rows},
        "figure": {
            "kind": "scatter", "title": "Arrow and oracle", "caption": "log p of the gold answer on known tasks.",
            "x": "oracle", "y": "arrow", "points": points, "diagonal": True,
        },
    }  # fmt: skip
