"""`yosegi label`: teachers vote which system each question belongs to, and the labels are kept for training."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._config import check, read_config
from yosegi.commands._flags import flags
from yosegi.commands._options import Columns, Data, DataFile, Json, begin, say, table
from yosegi.errors import Invalid

EXAMPLE = "yosegi label --task gsm8k --limit 100 --teacher http://localhost:8000/v1#judge --target-model Qwen3-0.6B"


@flags("curate/label.py", "LabelSettings", panel="Labelling")
def label(
    task: Annotated[
        list[str] | None, typer.Option(help="A task whose questions are labelled. May be repeated.")
    ] = None,
    data_file: DataFile = None,
    columns: Columns = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the labels; by default one below runs/.")] = None,
    data: Data = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Sort questions into System 1 and System 2 by vote (LoRA-PAR). Killed, the same command asks nothing twice."""
    begin(data, as_json)
    from yosegi.curate.label import LabelSettings
    from yosegi.curate.label import label as run

    tasks = read_config(None, {"task": task, "data_file": data_file, "columns": columns}).get("task")
    if not tasks:
        raise Invalid("Name a --task or a --data-file to label.")
    summary = run(tasks, check(LabelSettings, options), out)
    if not as_json:
        _print(summary)
    say(summary, as_json, f"Labels in {summary['out']}: yosegi.partitions.by_system.read({summary['out']!r})")


def _print(summary: dict[str, Any]) -> None:
    """Prints the counts of the systems and of the teachers."""
    total = summary["examples"]
    rows = [[n, str(s["examples"]), f"{s['examples'] / total:.1%}", s["about"]] for n, s in summary["systems"].items()]
    table("", ["system", "examples", "share", "what it is"], rows)
    rows = []
    for name, account in summary["teachers"].items():
        lost = ", ".join(f"{account[why]} {why}" for why in ("abstained", "unparsable", "failed") if account[why])
        cost = "" if account["cost"] is None else f"{account['cost']:.4f}"
        votes = " / ".join(map(str, account["votes"].values()))
        tokens = f"{account['tokens_in']} + {account['tokens_out']}"
        spent = summary["spent"].get(name)  # the default teacher has no account of its own
        work = [str(spent["requests"]), tokens, cost, f"{spent['seconds']:.1f}"] if spent else ["0", tokens, cost, ""]
        rows.append([name, votes, lost or "none", *work, account["note"]])
    table("", ["teacher", "votes", "lost", "requests", "tokens", "cost", "s", "note"], rows)
    if summary["note"]:
        print(f"Warning: {summary['note']}.")
    if len(summary["teachers"]) > 1:
        decided = ", ".join(f"{n} {word}" for word, n in summary["decided"].items())
        kappa = "undefined" if summary["kappa"] is None else f"{summary['kappa']:.3f}"
        print(f"Fleiss' kappa {kappa} over {summary['complete']} complete votes; decided: {decided}")
