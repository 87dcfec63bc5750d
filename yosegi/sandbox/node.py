"""Programs in JavaScript. Nothing here confines node, so they run only where the environment has YOSEGI_UNJAILED=1.

Each program runs in a node of its own, in an empty folder and an empty environment, with limits on time and memory. It can
still read your files and reach the network: that is what YOSEGI_UNJAILED=1 allows.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

from yosegi.errors import Invalid
from yosegi.sandbox import Outcome

SECONDS = 20.0
MEMORY = "--max-old-space-size=512"


def why_not() -> str:
    """Returns why programs in JavaScript are not run here; "" if they are."""
    if not shutil.which("node"):
        return "there is no node here (https://nodejs.org)"
    if os.environ.get("YOSEGI_UNJAILED") != "1":
        return "nothing here confines node; YOSEGI_UNJAILED=1 runs programs anyway, with your rights"
    return ""


def check() -> None:
    """Raises Invalid where programs in JavaScript are not run."""
    if reason := why_not():
        raise Invalid(f"Programs in JavaScript that a model wrote are not run: {reason}.")


def run(jobs: Sequence[tuple[str, str]]) -> list[Outcome]:
    """Returns the outcome of each program with the checks after it. A console.assert that fails is an exception."""
    check()
    return [_run(f"{program}\n{checks}\n") for program, checks in jobs]


def _run(program: str) -> Outcome:
    with tempfile.TemporaryDirectory() as empty:
        command = [shutil.which("node") or "node", MEMORY, "-"]
        try:
            done = subprocess.run(
                command, input=program.encode(errors="replace"), capture_output=True, timeout=SECONDS, cwd=empty, env={}
            )
        except subprocess.TimeoutExpired:
            return Outcome(error="timeout", message=f"not done after {SECONDS:g} s")
    written = done.stderr.decode(errors="replace")
    failed = done.returncode != 0 or "Assertion failed" in written
    wrong = "syntax" if "SyntaxError" in written else "exception"
    return Outcome(
        error=wrong * failed,
        message=written.strip()[-300:] * failed,
        printed=done.stdout[:2000].decode(errors="replace"),
    )
