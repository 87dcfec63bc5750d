"""The rules of the house, held by walking every file: docstrings, citations, arrows, mirrors, and what is never imported."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from yosegi import registry

ROOT = Path(registry.HERE).parent
PACKAGE = ROOT / "yosegi"
TESTS = ROOT / "tests"
FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(PACKAGE)) for path in FILES]

DRAWERS = (
    "inits",
    "routers",
    "merges",
    "partitions",
    "masks",
    "objectives",
    "optimizers",
    "tasks",
    "teachers",
    "scores",
    "bases",
    "recipes",
    "commands",
)
OF_PAPERS = ("inits", "routers", "merges", "masks", "objectives", "optimizers", "teachers", "scores")
METHODS = [path for kind in OF_PAPERS for path in sorted((PACKAGE / kind).glob("*.py")) if path.name[0] != "_"]

COVERED = {
    "commands/": "contracts/test_commands.py",  # verbs are tested as a user meets them, by their command lines
    "__main__.py": "contracts/test_commands.py",
    "reporting/sections/": "contracts/test_sections.py",
    "reporting/context.py": "contracts/test_sections.py",
    "recipes/": "contracts/test_recipes.py",  # a recipe's test is its smoke run
    "bases/__init__.py": "contracts/test_bases.py",
    "masks/__init__.py": "contracts/test_masks.py",
    "partitions/__init__.py": "contracts/test_partitions.py",
    "tasks/__init__.py": "contracts/test_tasks.py",
    "rewards/__init__.py": "contracts/test_rewards.py",
    "sandbox/jail.py": "sandbox/test_sandbox.py",  # the other side of the sandbox: a script that only the sandbox starts
    "tasks/readers/skills.py": "tasks/test_skills.py",
    "teachers/__init__.py": "contracts/test_teachers.py",
    "scores/__init__.py": "contracts/test_scores.py",
    "training/trainer.py": "training/test_sft.py",  # the trainer's promises are those of the function that runs it
}
"""Where a module is tested that has no mirrored file of its own: a file, or a folder, and the test that walks it."""


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path):
    """Every module that a file names in an import, wherever in the file: `from a.b import c` gives a.b and a.b.c."""
    found = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports by dots; write the whole name"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_the_house_was_walked():
    assert len(FILES) >= 50 and len(METHODS) >= 17
    assert {path.parent.name for path in METHODS} == set(OF_PAPERS)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_file_says_what_it_is(path):
    assert ast.get_docstring(parse(path)), "a module begins with a docstring"


@pytest.mark.parametrize("path", METHODS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_method_cites_its_paper(path):
    cited = re.search(
        r"arXiv:\d{4}\.\d{4,5}|doi\.org/|\b[A-Z]\w+ (et al\.|and [A-Z]\w+) \d{4}", ast.get_docstring(parse(path))
    )
    assert cited, "an arXiv id, a DOI, or author and year"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_no_file_is_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_no_file_is_a_place_for_leftovers():
    names = [p for folder in (PACKAGE, TESTS) for p in folder.rglob("*") if "__pycache__" not in p.parts]
    assert len(names) > 100
    for path in names:
        assert not {"util", "utils", "common", "helper", "helpers", "misc"} & set(
            re.split(r"[_\W]", path.stem.lower())
        ), path


def siblings(path):
    """The other methods of the drawer that a file lies in; what begins with "_" is there to be shared."""
    drawer = path.relative_to(PACKAGE).parts[0]
    own = path.relative_to(PACKAGE / drawer).parts[0].removesuffix(".py")
    names = {p.stem for p in (PACKAGE / drawer).iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    return {f"yosegi.{drawer}.{name}" for name in names - registry.ROOMS if name[0] != "_"} - {f"yosegi.{drawer}.{own}"}


@pytest.mark.parametrize("drawer", [d for d in DRAWERS if (PACKAGE / d).is_dir()])
def test_siblings_of_a_drawer_never_import_each_other(drawer):
    files = sorted((PACKAGE / drawer).rglob("*.py"))
    assert files
    for path in files:
        assert not imports(path) & siblings(path), path


def test_core_imports_torch_and_nothing_of_ours_but_the_errors():
    files = sorted((PACKAGE / "core").glob("*.py"))
    assert len(files) >= 8
    for path in files:
        for name in imports(path):
            assert name.split(".")[0] in {"torch", *sys.stdlib_module_names} or re.match(
                r"yosegi\.(core|errors)(\.|$)", name
            ), (path, name)


def test_report_reads_results_and_never_a_model():
    for path in sorted((PACKAGE / "reporting").rglob("*.py")):
        heavy = {"torch", "transformers", "peft", "trl", "datasets"} & {name.split(".")[0] for name in imports(path)}
        assert not heavy, (path, heavy)


def test_arrows_only_go_down():
    """The contracts are in pyproject.toml; the same check by hand is `lint-imports`."""
    pytest.importorskip("importlinter", reason="import-linter comes with yosegi[dev]")
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[done.stdout.find("Contracts:") :] + done.stderr
    assert "Contracts: 3 kept, 0 broken" in done.stdout


def mirror(path):
    """The test that a module has to have: tests/a/test_b.py for yosegi/a/b.py, tests/a/test_a.py for its __init__."""
    place = path.relative_to(PACKAGE)
    if place.name == "__init__.py":
        folder = place.parent
        above = folder if (PACKAGE / folder / "..").resolve() == PACKAGE else folder.parent
        return TESTS / above / f"test_{folder.name}.py"
    return TESTS / place.parent / f"test_{place.stem.lstrip('_')}.py"


def has_code(path):
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(parse(path)))


@pytest.mark.parametrize("place", [i for i, p in zip(IDS, FILES, strict=True) if p.stem != "__init__" or has_code(p)])
def test_every_module_has_a_mirrored_test(place):
    for covered, test in COVERED.items():
        if place == covered or (covered.endswith("/") and place.startswith(covered)):
            assert (TESTS / test).is_file()
            return
    test = mirror(PACKAGE / place)
    assert test.is_file(), f"{test.relative_to(ROOT)} is missing"


def test_every_test_file_has_tests():
    files = [p for p in TESTS.rglob("*.py") if p.name != "conftest.py" and "data" not in p.relative_to(TESTS).parts]
    assert len(files) > 40
    for path in files:
        tests = [n for n in ast.walk(parse(path)) if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
        assert path.name.startswith("test_") and tests, path


FORBIDDEN = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {"torch.load", "torch.save", "yaml.load", "yaml.unsafe_load"}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_nothing_on_disk_is_ever_executed(path):
    """Only safetensors and JSON (and YAML, safely) are read: no pickle, and no code out of a model's folder."""
    assert not FORBIDDEN & {name.split(".")[0] for name in imports(path)}
    assert not CALLS & imports(path)
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in CALLS, node.lineno
        if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
            assert ast.unparse(node.value) == "False", node.arg


def test_what_is_light_stays_light():
    """`import yosegi` and all of the bottom layer, without torch: `yosegi ls` has to be instant."""
    program = (
        "import sys, yosegi, yosegi.registry, yosegi.errors, yosegi.files, yosegi.run, yosegi.progress, yosegi.commands\n"
        "heavy = {'torch', 'transformers', 'numpy', 'peft', 'trl', 'datasets', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_version_is_said_once():
    import tomllib

    import yosegi

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project.get("version", yosegi.__version__) == yosegi.__version__
