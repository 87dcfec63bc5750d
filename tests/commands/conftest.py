"""Commands are run as a user runs them, in one process where that is enough (starting Python and torch takes seconds)."""

import sys

import pytest

from yosegi import commands
from yosegi.progress import Bar


@pytest.fixture
def yosegi(monkeypatch, capsys, tmp_path):
    """Run a command line; gives (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Bar, "quiet", False)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["yosegi", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            commands.main()
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    return run


@pytest.fixture
def refused(yosegi):
    """Run a command line that must fail as users expect: one line on stderr, exit code 2. Gives the line."""

    def run(*words):
        code, _, err = yosegi(*words)
        lines = err.strip().splitlines()
        assert code == 2 and len(lines) == 1 and lines[0].startswith("yosegi: ") and "Traceback" not in err, err
        return lines[0]

    return run
