"""Options that several verbs share, spelt the same everywhere."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def _folder(text: str) -> Path:
    if not text.strip():
        raise typer.BadParameter("the name of a folder is empty.")
    return Path(text)


BASES = "nano, smollm2, a folder, a GGUF file or a Hub id."
Folder = Annotated[Path, typer.Argument(metavar="LIBRARY", parser=_folder, help="The folder of the library.")]
ExpertName = Annotated[str, typer.Argument(help="An expert.")]
ExpertNames = Annotated[list[str] | None, typer.Argument(help="Experts; by default all.")]
LibraryDir = Annotated[Path, typer.Option("--library", parser=_folder, help="The folder of the experts.")]
ABase = Annotated[str | None, typer.Option("--base", help=f"{BASES} \\[nano]")]
ALibrary = Annotated[
    Path | None, typer.Option("--library", parser=_folder, help="The folder of the experts. \\[library]")
]
Config = Annotated[
    Path | None, typer.Option(help="A YAML file with these and all other settings, such as run.yaml of a run.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what has the same name.")]
Resume = Annotated[
    bool, typer.Option("--resume/--no-resume", help="Go on from the checkpoint of an interrupted training.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, and no progress bars.")]
Data = Annotated[
    Path | None, typer.Option("--data", parser=_folder, help="A folder of data; else $YOSEGI_DATA, then the Hub.")
]
DataFile = Annotated[
    list[str] | None,
    typer.Option(
        "--data-file", help="Data of your own: a file in any usual form, or hf:ID\\[:SPLIT]. May be repeated."
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(help="How the fields of --data-file are called: prompt=question,completion=answer."),
]
ReportTo = Annotated[
    list[str] | None,
    typer.Option("--report-to", help="Send the metrics on: tensorboard, trackio or wandb. May be repeated. \\[none]"),
]
RunDir = Annotated[
    Path | None, typer.Option("--run", parser=_folder, help="The folder for results; by default one below runs/.")
]
Seed = Annotated[int, typer.Option(help="Seed of the data order, of the experts' start and of samples.")]


def begin(data: Path | None = None, as_json: bool = False) -> None:
    """What every long verb does first."""
    import os
    import warnings

    from yosegi.progress import Bar

    Bar.quiet = as_json
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if data is not None:
        from yosegi.tasks.readers.data import set_folder

        set_folder(data)


def one_line(message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """Our own warnings are for whoever typed the command; where in the code they arose is not."""
    ours = Path(filename).is_relative_to(Path(__file__).parents[1])
    return f"Warning: {message}\n" if ours else f"{filename}:{lineno}: {category.__name__}: {message}\n"


def say(value: Any, as_json: bool, text: str | None = None) -> None:
    """Print JSON or words."""
    print(json.dumps(value, ensure_ascii=False, indent=1, default=str) if as_json else text or str(value))


def first_process() -> bool:
    """Whether this one writes: of several that `accelerate launch` started, only the first does."""
    import os

    return os.environ.get("RANK", "0") == "0"


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table that fits the terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from yosegi.errors import printable

    drawn = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:  # an extra is called [serve], which rich would take for a colour
        drawn.add_row(*(escape(printable(cell)) for cell in row))
    wide = None if sys.stdout.isatty() else 200
    Console(width=wide, highlight=False).print(drawn)
