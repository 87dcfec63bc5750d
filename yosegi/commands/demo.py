"""`yosegi demo`: the whole chain on the embedded base or a real one, in minutes."""

from pathlib import Path
from typing import Annotated

import typer

from yosegi.commands._options import Data, RunDir, Seed, begin


def demo(
    run: RunDir = None,
    base: Annotated[
        str, typer.Option(help="nano, or a pretrained base such as smollm2, which is asked real tasks.")
    ] = "nano",
    data: Data = None,
    seed: Seed = 0,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with an earlier demo, or delete it.")
    ] = True,
) -> None:
    """Train a library, route it, merge it, evaluate everything, write report.html. Interrupted, it goes on.

    Examples: yosegi demo · yosegi demo --base smollm2 --data DIR
    """
    begin(data)
    import shutil
    from dataclasses import asdict

    from yosegi import files
    from yosegi.errors import Invalid
    from yosegi.recipes.demo import config_for, main
    from yosegi.reporting import report
    from yosegi.run import Run

    folder = run or Path("runs/demo" if base == "nano" else f"runs/demo-{Path(base).name.removesuffix('.gguf')}")
    if not resume and folder.exists():
        if not (it := folder / "config.json").is_file() or files.read_json(it).get("recipe") != "demo":
            raise Invalid(f"{folder} is not the folder of a demo, so --no-resume will not delete it.")
        shutil.rmtree(folder)
    config = config_for(base, seed)
    main(config, Run(folder, {"recipe": "demo", **asdict(config)}))
    print(f"\nOpen {report([folder], folder / 'report.html')}")
