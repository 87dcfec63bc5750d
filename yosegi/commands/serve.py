"""`yosegi serve`: a base and its library over HTTP."""

import os
import sys
from typing import Any

from yosegi.commands._config import check
from yosegi.commands._flags import flags
from yosegi.commands._options import ABase, ALibrary, begin
from yosegi.errors import Invalid, MissingExtra

EXAMPLE = "yosegi serve --base smollm2 --library library"


@flags("serve/settings.py", "ServeSettings", panel="Server")
def serve(base: ABase = None, library: ALibrary = None, **options: Any) -> None:
    """Serve every arm of a library over HTTP, as OpenAI's API has it, all arms in one batch; a page to try them is at /.

    Base, experts, kept arms, routers and merges are models; experts may come, change and go meanwhile.
    """
    begin()
    from importlib.util import find_spec

    for package in ("fastapi", "uvicorn", "prometheus_client"):
        if find_spec(package) is None:
            raise MissingExtra.named(package, "serve")
    import logging
    from pathlib import Path

    from yosegi.bases import load
    from yosegi.errors import NoData
    from yosegi.serve.limits import is_local
    from yosegi.serve.settings import ServeSettings

    if key := os.environ.get("YOSEGI_API_KEY"):
        options["api_key"] = [*options.get("api_key", []), key]
    settings: ServeSettings = check(ServeSettings, options)
    if not is_local(settings.host) and not settings.api_key and not settings.open:
        raise Invalid(f"{settings.host} is open to other machines: give an --api-key, or --open to let everybody ask.")
    folder = library or Path("library")
    if library is not None and not library.is_dir():
        raise NoData(f"There is no library at {library}.")
    from yosegi.serve.run import serve as run
    from yosegi.serve.service import Service

    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("yosegi.serve").setLevel(logging.INFO)
    run(Service(load(base or "nano", **settings.loading), folder if folder.is_dir() else None, settings))
