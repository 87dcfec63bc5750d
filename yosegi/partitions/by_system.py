"""By system: teachers vote whether a question is answered at once (System 1) or step by step (System 2); one learner each.

LoRA-PAR, Huang et al. 2025, arXiv:2507.20999. Each teacher plays the model that is to be trained and labels each question,
together with its reference answer (teachers/). The paper has 1, 3 or 5 teachers and two systems; here both numbers are free. On
GSM8K after SFT it reports 25.85 for a random split, 26.84 for the best single teacher and 27.60 for a vote of five.

The system with the most votes wins. Missing votes (`LOST` in teachers/) do not count; a tie goes to the slowest of the tied
systems; an example without any vote goes to the slowest system, and is counted. Fleiss' kappa (1971, doi.org/10.1037/h0031619)
measures the agreement beyond chance over the examples without missing votes.

Examples of one task may have different learners. The evidence has each example's label, votes and rationales.
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
BY_STRUCTURE = "no teacher was given: `structure` counted the steps of the reference solutions"


def by_system(
    data: Data,
    teachers: Sequence[Teacher] = (),
    k: int = 2,
    *,
    systems: Sequence[System] = (),
    target_model: str = "",
) -> Partition:
    """Returns one learner for each system that has examples.

    Args:
        data: the examples of each task.
        teachers: the voters; by default `structure`, and the evidence says so.
        k: the number of systems, unless they are given.
        systems: the systems from the fastest to the slowest, with their descriptions; by default the paper's two.
        target_model: name and size of the model that the teachers play; "" is the ablation without role-play.
    """
    question = Question(tuple(systems) or scale(k), target_model)
    names = [system.name for system in question.systems]
    if len(names) < 2 or len(set(names)) < len(names):
        raise Invalid(f"Systems {', '.join(names)}: at least two are needed, each with its own name.")
    voters = list(teachers) or [load("structure")]
    voter_names = [teacher.name for teacher in voters]
    if len(set(voter_names)) < len(voter_names):
        raise Invalid(f"Teacher {max(voter_names, key=voter_names.count)!r} was given twice: each votes once.")
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
                "text": _hash(example),
                "system": names[system],
                "how": how,
                "votes": {name: _vote(vote, names) for name, vote in zip(voter_names, cast, strict=True)},
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
        "note": "" if teachers else BY_STRUCTURE,
    }
    return _partition(places, {"summary": summary, "rows": rows})


def decide(votes: Sequence[int | None], k: int) -> tuple[int, str]:
    """Returns the winning system and how it won: unanimous, majority, tie (the slowest tied one), nobody (the slowest)."""
    counts = Counter(vote for vote in votes if vote is not None)
    if not counts:
        return k - 1, "nobody"
    winners = [vote for vote, n in counts.items() if n == max(counts.values())]
    if len(winners) > 1:
        return max(winners), "tie"
    return winners[0], "unanimous" if len(counts) == 1 else "majority"


def fleiss(table: Sequence[Sequence[int]]) -> tuple[float | None, float | None]:
    """Returns Fleiss' kappa and the mean share of agreeing pairs for a table [N examples, k systems] of vote counts.

    Each row has the same number of votes, two or more. Kappa is None without rows, and where all votes are for one system:
    there, agreement by chance is complete.
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


def write(path: Path, labelling: Partition, config: dict[str, Any], teachers: Sequence[Teacher] = ()) -> dict[str, Any]:
    """Writes a labelling as a folder: votes.jsonl has a row for each example, summary.json the counts and `config`.

    Args:
        path: the folder, created if missing.
        labelling: the result of `by_system`.
        config: the arguments; `read` loads the examples by its `tasks` and `split`.
        teachers: the voters; the summary has the requests, retries and seconds of this call.

    Returns the summary.
    """
    spent = {
        t.name: {w: t.spent[w] for w in ("requests", "retries")} | {"seconds": round(t.seconds, 3)} for t in teachers
    }
    summary = {**labelling.evidence["summary"], "spent": spent, "config": config}
    rows = labelling.evidence["rows"]
    files.write(path / VOTES, files.lines(rows))
    files.write_json(path / SUMMARY, summary)
    return summary


def read(path: str | Path, data: Data | None = None) -> Partition:
    """Reads a labelling from its folder as a partition.

    Args:
        path: the folder.
        data: the examples of each task, of which unlabelled ones are left out; by default they are loaded as for the labelling.

    Raises:
        NoData: there is no labelling.
        Invalid: a labelled example is missing or has changed.
    """
    path = Path(path)
    if not (path / VOTES).is_file() or not (path / SUMMARY).is_file():
        raise NoData(f"{path} holds no labelling: `yosegi label --out {path}` makes one.")
    rows, summary = files.read_jsonl(path / VOTES), files.read_json(path / SUMMARY)
    try:
        config, _ = summary.pop("config"), summary.pop("spent")
        labelled = {(row["task"], row["id"]): row for row in rows}
        systems, total = summary["systems"], summary["examples"]
        unknown = [row["system"] for row in rows if row["system"] not in systems]
        wanted = list(dict.fromkeys(task for task, _ in labelled))
        if data is None:
            data = {t: tasks.load(t).examples(config["split"]) for t in config["tasks"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"{path} is not a labelling of `yosegi label` ({type(error).__name__}: {error}).") from error
    if total != len(rows) or len(labelled) != len(rows) or unknown:
        raise Corrupt(f"{path}: {VOTES} and {SUMMARY} do not belong together. Run the same `yosegi label` again.")
    places = [(task, example) for task in wanted for example in data.get(task, ()) if (task, example.id) in labelled]
    present = {(task, example.id) for task, example in places}
    if gone := [place for place in labelled if place not in present]:
        raise Invalid(f"{path} labels {gone[0][1]!r} of {gone[0][0]}, which the data does not have ({len(gone)} such).")
    for task, example in places:
        if labelled[task, example.id]["text"] != _hash(example):
            raise Invalid(f"{path} labelled {example.id!r} of {task}, which has changed since. Label it again.")
    return _partition(places, {"summary": summary, "rows": [labelled[task, example.id] for task, example in places]})


def _partition(places: Sequence[tuple[str, Example]], evidence: dict[str, Any]) -> Partition:
    systems = (row["system"] for row in evidence["rows"])
    labelled = ((system, *place) for system, place in zip(systems, places, strict=True))
    return Partition.of(labelled, evidence, evidence["summary"]["systems"])


def _account(teacher: Teacher, votes: Sequence[Vote], names: Sequence[str]) -> dict[str, Any]:
    """Returns the votes of one teacher in total and their cost: the tokens of every answer used, new or stored."""
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


def _vote(vote: Vote, names: Sequence[str]) -> dict[str, Any]:
    """Returns one vote as JSON, with the raw text if the vote is missing."""
    if vote.system is not None:
        return {"system": names[vote.system], "rationale": vote.rationale}
    return {"system": None, "lost": vote.lost, "rationale": vote.rationale, "raw": vote.raw[:2000]}


def _hash(example: Example) -> str:
    """Returns a hash that shows whether an example has changed."""
    return blake2b(f"{example.prompt}\0{example.target}".encode(), digest_size=6).hexdigest()
