"""By system: teachers vote whether a question is answered at once (System 1) or step by step (System 2); one learner each.

LoRA-PAR, Huang et al. 2025, arXiv:2507.20999. Each teacher plays the model that is to be trained and labels each question with
its reference answer before it (teachers/). The paper takes 1, 3 or 5 of them and two systems; here both are any number. On
GSM8K after SFT it reports 25.85 for a random split, 26.84 for the best single teacher and 27.60 for a vote of five.

The vote: the most votes win; missing votes (teachers/__init__.py says which these are) are left out; a tie goes to the slowest
of the tied systems; an example without any vote goes to the slowest of all, and is counted. How far teachers agree beyond
chance is Fleiss' kappa (1971, doi.org/10.1037/h0031619) over the examples for which no vote is missing.

Examples of one task may have different learners. The evidence holds each example's label, votes and rationales.
"""

import time
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from yosegi import files, tasks
from yosegi.errors import Corrupt, Invalid, NoData
from yosegi.partitions import Data, Partition
from yosegi.tasks import Example
from yosegi.teachers import LOST, Question, System, Teacher, Vote, load, scale

VOTES, SUMMARY = "votes.jsonl", "summary.json"
ALONE = "no teacher was given: the reference solutions were counted by `structure`"


def by_system(
    data: Data,
    teachers: Sequence[Teacher] = (),
    k: int = 2,
    *,
    systems: Sequence[System] = (),
    target_model: str = "",
) -> Partition:
    """One learner a system, called as the system; a system that nobody belongs to has none.

    Args:
        data: the examples of each task.
        teachers: who votes; without any, `structure`, and the evidence says so.
        k: how many systems, unless they are given.
        systems: from the fastest to the slowest, with what teachers are told about them; by default the paper's two.
        target_model: whom the teachers play, name and size; "" is the ablation without role-play.
    """
    question = Question(tuple(systems) or scale(k), target_model)
    names = [system.name for system in question.systems]
    if len(names) < 2 or len(set(names)) < len(names):
        raise Invalid(f"Systems {', '.join(names)}: at least two are needed, each with a name of its own.")
    voters = list(teachers) or [load("structure")]
    called = [teacher.name for teacher in voters]
    if len(set(called)) < len(called):
        raise Invalid(f"Teacher {max(called, key=called.count)!r} was given twice: a voice counts once.")
    places = [(task, example) for task, examples in data.items() for example in examples]
    if not places:
        raise Invalid("There are no examples to label.")
    ballots, about = [], {}
    for teacher in voters:
        start = time.monotonic()
        votes = teacher.label([example for _, example in places], question)
        if len(votes) != len(places):
            raise Invalid(f"Teacher {teacher.name!r} gave {len(votes)} votes on {len(places)} examples.")
        teacher.seconds = time.monotonic() - start
        ballots.append(votes)
        about[teacher.name] = _account(teacher, votes, names)
    rows: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for (task, example), cast in zip(places, zip(*ballots, strict=True), strict=True):
        system, how = decide([vote.system for vote in cast], len(names))
        counts[how] += 1
        rows.append(
            {
                "task": task,
                "id": example.id,
                "text": _mark(example),
                "system": names[system],
                "how": how,
                "votes": {name: _said(vote, names) for name, vote in zip(called, cast, strict=True)},
            }
        )
    complete = [cast for cast in zip(*ballots, strict=True) if all(vote.system is not None for vote in cast)]
    table = [[sum(vote.system == s for vote in cast) for s in range(len(names))] for cast in complete]
    kappa, agreement = fleiss(table) if len(voters) > 1 else (None, None)
    sizes = Counter(row["system"] for row in rows)
    summary = {
        "examples": len(rows),
        "systems": {s.name: {"about": s.about, "examples": sizes[s.name]} for s in question.systems},
        "target_model": target_model or None,
        "decided": {how: counts[how] for how in ("unanimous", "majority", "tie", "nobody")},
        "kappa": kappa,
        "agreement": agreement,
        "complete": len(complete),
        "teachers": about,
        "note": "" if teachers else ALONE,
    }
    return _partition(places, {"summary": summary, "rows": rows})


def decide(votes: Sequence[int | None], k: int) -> tuple[int, str]:
    """The system that wins, and how: unanimous, majority, tie (the slowest of the tied), nobody (the slowest of all)."""
    found = Counter(vote for vote in votes if vote is not None)
    if not found:
        return k - 1, "nobody"
    most = max(found.values())
    winners = [vote for vote, n in found.items() if n == most]
    if len(winners) > 1:
        return max(winners), "tie"
    return winners[0], "unanimous" if len(found) == 1 else "majority"


def fleiss(table: Sequence[Sequence[int]]) -> tuple[float | None, float | None]:
    """Fleiss' kappa and the mean share of agreeing pairs, of a table [N examples, k systems] of numbers of votes.

    Each row has the same number of votes, two or more. Kappa is None without rows, and where all votes are for one system:
    chance alone agrees fully there.
    """
    if not table:
        return None, None
    n = sum(table[0])
    if n < 2 or any(sum(row) != n for row in table):
        raise Invalid("Fleiss' kappa needs the same number of votes on each example, two or more.")
    observed = sum(sum(c * (c - 1) for c in row) for row in table) / (n * (n - 1) * len(table))
    shares = [sum(column) / (n * len(table)) for column in zip(*table, strict=True)]
    chance = sum(share**2 for share in shares)
    alone = max(shares) == 1
    return None if alone else (observed - chance) / (1 - chance), observed


def write(path: Path, found: Partition, config: dict[str, Any], teachers: Sequence[Teacher] = ()) -> dict[str, Any]:
    """Keep a labelling as a folder: votes.jsonl has a row an example, summary.json the counts and `config`.

    Args:
        path: of the folder, made when missing.
        found: what `by_system` returned.
        config: how it came about; `tasks`, `split` and `limit` are what `read` loads the examples by.
        teachers: who voted; what this call had to do for it (requests, retries, seconds) is kept beside the evidence.

    Returns the summary.
    """
    spent = {
        t.name: {w: t.spent[w] for w in ("requests", "retries")} | {"seconds": round(t.seconds, 3)} for t in teachers
    }
    summary = {**found.evidence["summary"], "spent": spent, "config": config}
    rows = found.evidence["rows"]
    files.write(path / VOTES, files.lines(rows))
    files.write_json(path / SUMMARY, summary)
    return summary


def read(path: str | Path, data: Data | None = None) -> Partition:
    """A labelling that was kept, as a partition again.

    Args:
        path: of its folder.
        data: the examples of each task; by default they are loaded as they were for the labelling. Those that were not
            labelled are left out.

    Raises:
        NoData: there is no labelling.
        Invalid: an example that was labelled is missing, or reads differently by now.
    """
    path = Path(path)
    if not (path / VOTES).is_file() or not (path / SUMMARY).is_file():
        raise NoData(f"{path} holds no labelling: `yosegi label --out {path}` makes one.")
    rows, summary = files.read_jsonl(path / VOTES), files.read_json(path / SUMMARY)
    try:
        config, _ = summary.pop("config"), summary.pop("spent")
        labelled = {(row["task"], row["id"]): row for row in rows}
        systems, total = summary["systems"], summary["examples"]
        strange = [row["system"] for row in rows if row["system"] not in systems]
        wanted = list(dict.fromkeys(task for task, _ in labelled))
        if data is None:
            data = {t: tasks.load(t).examples(config["split"])[: config["limit"]] for t in config["tasks"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"{path} is not a labelling of `yosegi label` ({type(error).__name__}: {error}).") from error
    if total != len(rows) or len(labelled) != len(rows) or strange:
        raise Corrupt(
            f"{path}: {VOTES} and {SUMMARY} do not belong together. The same `yosegi label` writes them anew."
        )
    places = [(task, example) for task in wanted for example in data.get(task, ()) if (task, example.id) in labelled]
    there = {(task, example.id) for task, example in places}
    if gone := [place for place in labelled if place not in there]:
        raise Invalid(f"{path} labels {gone[0][1]!r} of {gone[0][0]}, which the data does not have ({len(gone)} such).")
    for task, example in places:
        if labelled[task, example.id]["text"] != _mark(example):
            raise Invalid(f"{path} labelled {example.id!r} of {task} when it read differently. Label it again.")
    return _partition(places, {"summary": summary, "rows": [labelled[task, example.id] for task, example in places]})


def _partition(places: Sequence[tuple[str, Example]], evidence: dict[str, Any]) -> Partition:
    """Examples to the systems that the rows of the evidence give them."""
    groups: dict[str, list[Example]] = {name: [] for name in evidence["summary"]["systems"]}
    homes: dict[str, dict[str, None]] = {name: {} for name in groups}
    for (task, example), row in zip(places, evidence["rows"], strict=True):
        groups[row["system"]].append(example)
        homes[row["system"]][task] = None
    used = [name for name, examples in groups.items() if examples]
    return Partition({name: groups[name] for name in used}, {name: tuple(homes[name]) for name in used}, evidence)


def _account(teacher: Teacher, votes: Sequence[Vote], names: Sequence[str]) -> dict[str, Any]:
    """What one teacher said in all, and what it cost: tokens of every answer used, whether bought now or before."""
    cast, lost = Counter(vote.system for vote in votes), Counter(vote.lost for vote in votes)
    read_in, written = sum(vote.tokens_in for vote in votes), sum(vote.tokens_out for vote in votes)
    cost = None
    if teacher.price is not None:
        cost = round((read_in * teacher.price[0] + written * teacher.price[1]) / 1e6, 6)
    return {
        "votes": {name: cast[s] for s, name in enumerate(names)},
        **{why: lost[why] for why in LOST},
        "tokens_in": read_in,
        "tokens_out": written,
        "cost": cost,
        "about": teacher.about(),
        "note": teacher.note,
    }


def _said(vote: Vote, names: Sequence[str]) -> dict[str, Any]:
    """One vote as JSON. The raw words are kept where they are all there is."""
    if vote.system is not None:
        return {"system": names[vote.system], "rationale": vote.rationale}
    return {"system": None, "lost": vote.lost, "rationale": vote.rationale, "raw": vote.raw[:2000]}


def _mark(example: Example) -> str:
    """Tells whether an example still reads as it did."""
    return blake2b(f"{example.prompt}\0{example.target}".encode(), digest_size=6).hexdigest()
