"""The rules of the house. Each test walks every file and lists all the offenders, so one run shows everything to mend."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import yosegi
from tests.conftest import each
from yosegi import registry

ROOT = Path(registry.HERE).parent
PACKAGE = ROOT / "yosegi"
TESTS = ROOT / "tests"
FILES = sorted(PACKAGE.rglob("*.py"))
TEST_FILES = sorted(p for p in TESTS.rglob("*.py") if "data" not in p.relative_to(TESTS).parts)

DRAWERS = {*registry.KINDS, "commands"}
OF_PAPERS = ("inits", "routers", "merges", "masks", "objectives", "optimizers", "teachers", "scores")
METHODS = [path for kind in OF_PAPERS for path in sorted((PACKAGE / kind).glob("*.py")) if path.name[0] != "_"]

TESTED_ELSEWHERE = {
    "yosegi.__main__": "contracts/test_commands.py",
    "yosegi.curate.corpus": "commands/test_curate.py",  # these three are tested as a user meets them
    "yosegi.curate.label": "commands/test_label.py",
    "yosegi.curate.quiz": "commands/test_terms.py",
    "yosegi.curate.settings": "commands/test_curate.py",
    "yosegi.sandbox.jail": "sandbox/test_sandbox.py",  # these four run in processes that only the sandbox starts
    "yosegi.sandbox.judge": "sandbox/test_judge.py",
    "yosegi.sandbox.program": "sandbox/test_hostile.py",
    "yosegi.sandbox.remote": "sandbox/test_judge.py",
}
"""Modules that no test imports, and the test that runs them all the same."""

HEAVY = {
    "accelerate",
    "datasets",
    "lm_eval",
    "matplotlib",
    "optuna",
    "peft",
    "ray",
    "rouge_score",
    "scipy",
    "sklearn",
    "transformers",
    "trl",
}
"""Packages that cost seconds to import: a test imports them where it needs them, or collecting all tests is slow."""

ON_DISK = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {"torch.load", "torch.save", "yaml.load", "yaml.unsafe_load"}
UNSAFE = {"trust_remote_code", "allow_pickle"}

PLAIN_ROOMS = {
    "commands",
    "trackers",
    "training",
    "optimizers",
    "estimate",
    "core",
    "search",
    "errors",
    "files",
    "progress",
    "registry",
    "run",
    "spec",
    "curate",
    "evaluation",
    "exporting",
    "findings",
    "inits",
    "library",
    "masks",
    "merges",
    "objectives",
    "partitions",
    "recipes",
    "reporting",
    "rewards",
    "routers",
    "sandbox",
    "scores",
    "study",
    "tasks",
    "teachers",
}
"""Rooms whose words have been checked against the table of architecture §3 (DIALECT)."""

PLAIN_TESTS = {
    "core", "curate", "inits", "library", "merges", "partitions", "routers", "sandbox", "scores", "teachers",
}  # fmt: skip
"""Folders of tests whose words have been checked likewise."""

DIALECT = re.compile(
    r"\bhears?\b|\bheard\b|\bheard_|\bby lot\b|\bMind:|numbers that move|\bsails?\b|_nats\b|\bNats\b|\bnats\(|\bnats ="
    r"|\bweigh(s|ed|ing)?\b|\bwho(ever)? is (heard|asked)\b|\bOf the expert\b|\bOf everything\b|\bunmuted?\b|\bmuted_"
    r"|\b(said|told) (of|by)\b|\bloud(ly)?\b|\bone row a step\b|\bdescend\b|_climb\b|\bLesson\b|\bsit\(|\bremember\b"
)
"""Words of our first version. The field's own words stand in the table of architecture §3."""

VARIABLES = {"said", "told", "found", "some", "own", "beside", "shelf", "where", "heard"}
"""Names that do not say what they hold."""


@cache
def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def imports(path):
    """Every module that a file names in an import, wherever in the file: `from a.b import c` gives a.b and a.b.c."""
    names = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {"." * node.level + (node.module or ""), *(f"{node.module}.{a.name}" for a in node.names)}
    return names


def name(path):
    return str(path.relative_to(ROOT))


def dotted(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(path):
    """The folder under yosegi/ that a file lies in; a file that lies in none is a room of its own."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def listed(offenders):
    """Fails with one line for each offender."""
    offenders = sorted(map(str, offenders))
    assert not offenders, f"{len(offenders)} to mend:\n" + "\n".join(offenders)


def test_the_house_was_walked():
    assert len(FILES) >= 200 and len(TEST_FILES) >= 150 and len(METHODS) >= 40
    assert {room(path) for path in METHODS} == set(OF_PAPERS)
    assert all((PACKAGE / drawer).is_dir() for drawer in DRAWERS)


def test_every_module_begins_with_a_docstring():
    listed(name(path) for path in FILES if not ast.get_docstring(parse(path)))


def test_every_method_cites_its_paper():
    cited = r"arXiv:\d{4}\.\d{4,5}|doi\.org/|\b[A-Z]\w+ (et al\.|and [A-Z]\w+) \d{4}"
    listed(name(path) for path in METHODS if not re.search(cited, ast.get_docstring(parse(path)) or ""))


def test_no_file_is_longer_than_400_lines():
    counted = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    listed(f"{name(path)}: {lines} lines" for path, lines in counted.items() if lines > 400)


def test_no_file_is_a_place_for_leftovers():
    leftovers = {"util", "utils", "common", "helper", "helpers", "misc"}
    paths = [p for folder in (PACKAGE, TESTS) for p in folder.rglob("*") if "__pycache__" not in p.parts]
    listed(path for path in paths if leftovers & set(re.split(r"[_\W]", path.stem.lower())))


def test_methods_of_a_drawer_never_import_each_other():
    """Nor does anybody import by dots. What methods share begins with "_", or lies in a room such as tasks/readers."""
    offenders = [f"{name(path)} imports by dots" for path in FILES if any(one[0] == "." for one in imports(path))]
    for drawer in DRAWERS:
        methods = {p.stem if p.suffix else p.name for p in (PACKAGE / drawer).iterdir() if p.name[0] not in "_."}
        for path in sorted((PACKAGE / drawer).rglob("*.py")):
            method = path.relative_to(PACKAGE / drawer).parts[0].removesuffix(".py")
            siblings = {f"yosegi.{drawer}.{other}" for other in methods - registry.ROOMS - {method}}
            offenders += [f"{name(path)} imports {one}" for one in imports(path) & siblings]
    listed(offenders)


def test_core_imports_torch_and_nothing_of_ours_but_the_errors():
    """And `regex`, whose matches have an end in time."""
    files = sorted((PACKAGE / "core").glob("*.py"))
    assert len(files) >= 8
    allowed = re.compile(
        r"(torch|regex|" + "|".join(sys.stdlib_module_names) + r"|yosegi\.core|yosegi\.errors)(\.|$)|yosegi$"
    )
    listed(f"{name(path)} imports {one}" for path in files for one in imports(path) if not allowed.match(one))


def test_reporting_reads_results_and_never_a_model():
    heavy = {"torch", "transformers", "peft", "trl", "datasets"}
    files = sorted((PACKAGE / "reporting").rglob("*.py"))
    listed(f"{name(path)} imports {one}" for path in files for one in imports(path) if one.split(".")[0] in heavy)


def test_arrows_only_go_down():
    """The contracts are in pyproject.toml; the same check by hand is `lint-imports`."""
    pytest.importorskip("importlinter", reason="import-linter comes with yosegi-lora[dev]")
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[done.stdout.find("Contracts:") :] + done.stderr
    assert "Contracts: 3 kept, 0 broken" in done.stdout


def test_what_is_found_by_name_lies_below():
    """`registry.find("routers", …)` is an import that import-linter cannot see: the drawer lies below who asks for it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "arrows")
    height = {word: -i for i, layer in enumerate(layers) for word in re.findall(r"yosegi\.(\w+)", layer)}
    assert set(registry.KINDS) <= set(height)
    offenders, asked = [], 0
    for path in FILES:
        for node in ast.walk(parse(path)):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) in ("registry.find", "registry.load")):
                continue
            kind = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
            asked += 1
            if dotted(path) == "yosegi.library.routers":  # it moves up into the engine
                continue
            if kind in height and room(path) in height and kind != room(path) and height[kind] >= height[room(path)]:
                offenders.append(f"{name(path)}:{node.lineno} asks for {kind}")
    assert asked >= 10
    listed(offenders)


def test_every_module_is_tested():
    """A test imports it, or the contract of its drawer walks it (tests/contracts)."""
    walked = {drawer for drawer in DRAWERS if (TESTS / "contracts" / f"test_{drawer}.py").is_file()}
    assert walked == DRAWERS
    tested = {one for path in TEST_FILES for one in imports(path)}
    walked |= {"sections"}  # of the report
    missing = [path for path in FILES if not {room(path), path.parent.name} & walked and path.name != "__init__.py"]
    missing = [path for path in missing if dotted(path) not in tested | set(TESTED_ELSEWHERE)]
    listed(f"{name(path)}: no test imports it" for path in missing)
    assert all((TESTS / test).is_file() for test in TESTED_ELSEWHERE.values())


def test_every_test_file_has_tests_and_is_quick_to_collect():
    offenders = []
    for path in TEST_FILES:
        names = [node.name for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef)]
        if path.name not in ("conftest.py", "browser.py", "__main__.py", "crash.py", "fuzz.py", "mutate.py") and not (
            path.name.startswith("test_") and any(n[:5] == "test_" for n in names)
        ):
            offenders.append(f"{name(path)} has no tests")
        for node in parse(path).body:
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")]
            if isinstance(node, ast.Import | ast.ImportFrom) and HEAVY & {one.split(".")[0] for one in modules}:
                offenders.append(f"{name(path)}:{node.lineno} imports {modules[0]} at its top")
    listed(offenders)


def test_nothing_on_disk_is_ever_executed():
    """Only safetensors and JSON (and YAML, safely) are read: no pickle, and no code out of a model's folder."""
    offenders = []
    for path in FILES:
        offenders += [f"{name(path)} imports {one}" for one in imports(path) if one.split(".")[0] in ON_DISK]
        offenders += [f"{name(path)} imports {one}" for one in imports(path) & CALLS]
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in CALLS:
                offenders.append(f"{name(path)}:{node.lineno} calls {ast.unparse(node)}")
            if isinstance(node, ast.keyword) and node.arg in UNSAFE and ast.unparse(node.value) != "False":
                offenders.append(f"{name(path)}:{node.value.lineno} sets {node.arg}")
    listed(offenders)


def test_words_are_those_of_the_field():
    """No word of the dialect in an identifier, a docstring, a comment or a message, and no variable without a meaning."""
    rooms = {room(path) for path in FILES}
    assert rooms >= PLAIN_ROOMS
    offenders = []
    tests = [path for path in TEST_FILES if path.relative_to(TESTS).parts[0] in PLAIN_TESTS]
    for path in [path for path in FILES if room(path) in PLAIN_ROOMS] + tests:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            offenders += [f"{name(path)}:{number} {match[0]}" for match in DIALECT.finditer(line)]
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VARIABLES:
                offenders.append(f"{name(path)}:{node.lineno} names a variable {node.id}")
            if isinstance(node, ast.arg) and node.arg in VARIABLES:
                offenders.append(f"{name(path)}:{node.lineno} names an argument {node.arg}")
    listed(offenders)


def test_a_table_lists_all_its_wrong_rows():
    @each("a, b", [(1, 1), (1, 2), (2, 2), (3, "x")])
    def equal(a, b):
        assert a == b, "differs"

    with pytest.raises(AssertionError, match=r"(?s)2 of 4 rows:\n1, 2\n    AssertionError: differs.*\n3, 'x'"):
        equal()


def test_what_is_light_stays_light():
    """`import yosegi` and all of the bottom layer, without torch: `yosegi ls` has to be instant."""
    program = (
        "import sys, yosegi, yosegi.registry, yosegi.errors, yosegi.files, yosegi.run, yosegi.progress, yosegi.commands\n"
        "heavy = {'torch', 'transformers', 'numpy', 'peft', 'trl', 'datasets', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_version_is_said_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project.get("version", yosegi.__version__) == yosegi.__version__
