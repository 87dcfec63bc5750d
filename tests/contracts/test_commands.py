"""Every verb of the command line: help at once, and bad input is one line on stderr, exit code 2, nothing half-written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from yosegi import commands, registry
from yosegi.library.card import FIELDS

ROOT = Path(commands.__file__).parents[2]
VERBS = {
    "doctor",
    "eval",
    "train-router",
    "label",
    "library",
    "ls",
    "merge",
    "report",
    "run",
    "search",
    "show",
    "train",
}
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "numpy", "sklearn", "optuna", "matplotlib"}


def tree():
    """Every command line without arguments, down to the verbs below verbs."""
    found = []

    def walk(command, words):
        found.append(words)
        for name, below in getattr(command, "commands", {}).items():
            walk(below, [*words, name])

    walk(typer.main.get_command(commands.app()), [])
    return found


LINES = tree()
LEAVES = [words for words in LINES if not any(other[:-1] == words for other in LINES)]


def test_the_drawer_was_walked():
    assert {words[0] for words in LINES if words} >= VERBS
    assert len(LEAVES) >= 15


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run one command line in an empty folder -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["yosegi", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            commands.main()
        return done.value.code, *capsys.readouterr()

    return call


def test_nothing_heavy_is_imported_for_help_or_ls(tmp_path):
    """One process runs them all; importing torch would cost each of them seconds."""
    lines = [[*words, "--help"] for words in LINES]
    expert = tmp_path / "library" / "e"
    expert.mkdir(parents=True)
    (expert / "expert.json").write_text(json.dumps(dict.fromkeys(FIELDS)))
    lines += [["library", "ls", str(expert.parent)]]
    lines += [["ls"], ["ls", "routers"], ["ls", "--json"], ["show", "arrow"], ["nosuch"], ["ls", "rooters"]]
    program = f"""
import contextlib, io, sys
from yosegi.commands import main
for words in {lines!r}:
    sys.argv = ["yosegi", *words]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try: main()
        except SystemExit as done: code = done.code
    heavy = {HEAVY!r} & set(sys.modules)
    assert not heavy, (words, heavy)
    assert (code, bool(out.getvalue())) == ((2, False) if words[-1] in ("nosuch", "rooters") else (0, True)), (words, code)
print(len({lines!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_python_m_yosegi_is_yosegi():
    done = subprocess.run([sys.executable, "-m", "yosegi", "ls", "merges"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "task_arithmetic" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("words", LINES, ids=lambda words: " ".join(words) or "yosegi")
def test_help_explains_every_argument(call, words):
    code, out, err = call(*words, "--help")
    assert (code, err) == (0, "") and "Usage: " in out
    command = typer.main.get_command(commands.app())
    for word in words:
        command = command.commands[word]
    assert command.help
    for parameter in command.params:
        if parameter.name != "help":
            assert getattr(parameter, "help", None) or parameter.param_type_name == "argument", parameter.name


def refused(call, tmp_path, words):
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call(*words)
    assert code == 2, (words, code, out, err)
    assert out == "" and err.startswith("yosegi: ") and err.count("\n") == 1 and err.endswith("\n"), (words, out, err)
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before, "something was half-written"
    return err


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_an_unknown_option_is_refused(call, tmp_path, words):
    refused(call, tmp_path, [*words, "--no-such-option", "3"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nosuch", "nosuch"),
        ("ls rooters", "Did you mean 'routers'"),
        ("show arow", "Did you mean 'arrow'"),
        ("show routers/svd", "routers/svd"),
        ("run pretrain_nan", "Did you mean 'pretrain_nano'"),
        ("run pretrain_nano --smoke --stepz 3", "Did you mean 'steps'"),
        ("run pretrain_nano --smoke --steps", "--steps needs a value"),
        ("run pretrain_nano --smoke --steps many", "steps is of type int; many was given"),
        ("run pretrain_nano --smoke extra", "'extra'"),
        ("run pretrain_nano --smoke --config nowhere.yaml", "nowhere.yaml"),
        ("run pretrain_nano --smoke --config list.yaml", "list.yaml"),
        ("run pretrain_nano --smoke --config broken.yaml", "broken.yaml"),
        ("train", "--task"),
        ("train --task nosuch", "nosuch"),
        ("train --task skills", "needs a part"),
        ("train --task skills/revers", "Did you mean 'reverse'"),
        ("train --task gsm8k/part", "No part of gsm8k is called"),
        ("train --task skills/add --rank 0", "rank"),
        ("train --task skills/add --dtype 3bit", "dtype"),
        ("eval --task skills/add --dtype bf61", "Did you mean 'bf16'"),
        ("train --task skills/add --rank few", "'--rank'"),
        ("train --task skills/add --alpha -1", "alpha"),
        ("train --task skills/add --method pisa", "Did you mean 'pissa'"),
        ("train --task skills/add --base nanno", "Did you mean 'nano'"),
        ("train --task skills/add --config typo.yaml", "learning_rat"),
        ("train --task skills/add --task skills/sub --name x", "--name"),
        ("train --task skills/add --data nowhere", "nowhere"),
        ("merge --library nowhere", "nowhere"),
        ("merge svd(a,b) --library nowhere", "nowhere"),
        ("merge ties{densty=1}(a,b) --library nowhere", "Did you mean 'density'"),
        ("merge ties{density} --library nowhere", "'=' is expected"),
        ("library ls nowhere", "nowhere"),
        ("library show nowhere x", "nowhere"),
        ("library verify nowhere", "nowhere"),
        ("library arms nowhere", "nowhere"),
        ("library similarity nowhere --space detla", "Did you mean 'delta'"),
        ("library import lib nowhere", "nowhere"),
        ("export a out --to ggu", "Did you mean 'gguf'"),
        ("export a out --library nowhere", "--library is the folder"),
        ("export a out --to hf --dtype q8_0", "No dtype of hf"),
        ("train --task skills/add --report-to wanb", "Did you mean 'wandb'"),
        ("push nowhere me/x", "holds no expert"),
        ("eval", "--task"),
        ("eval --task skills/add --arm arrow", "--library"),
        ("eval --task skills/add --library nowhere --arm arow", "no library at nowhere"),
        (
            "eval --task skills/add --library nowhere --arm centroid(a,b)",
            "yosegi train-router --library nowhere --arm centroid",
        ),
        ("eval --task skills/add --library nowhere --arm task_table(a)", "trained together with its experts"),
        ("train-router", "--arm"),
        ("train-router --arm centroid --library nowhere", "nowhere"),
        ("train-router --arm centroid --name a/b", "path separator"),
        ("train-router --arm centroid --name arrow", "cannot be called 'arrow'"),
        ("train-router --arm centroid{mix=output}", "mix is of type"),
        ("train-router --arm centroid{encoder=x}", "No argument of centroid is called 'encoder'"),
        ("train-router --arm static --granularity word", "--granularity: 'word' was given"),
        ("train-router --arm centroid --top-k 2", "No such option"),
        ("eval --task skills/add --library nowhere --arm merge:svdd(a,b)", "Did you mean 'svd'"),
        ("eval --task skills/add --library nowhere --arm arrow{mix=output}(a,b)", "outputs"),
        ("eval --task skills/add --split tset", "Did you mean 'test'"),
        ("search", "--task"),
        ("search --task skills/add --library nowhere", "nowhere"),
        ("search --task skills/add --trials few", "'--trials'"),
        ("curate", "Missing"),
        ("curate nowhere", "nowhere"),
        ("curate list.yaml", "list.yaml is not one of"),
        ("curate page.txt --score lenght", "Did you mean 'length'"),
        ("curate page.txt --score keywords", "needs its words"),
        ("curate page.txt --score length --keep 2", "share of the pages"),
        ("curate page.txt --score length --keep much", "a share is a number"),
        ("curate page.txt --score length --threshold long", "a number, or a range"),
        ("curate page.txt --score length --keep 0.5 --threshold 3", "not both"),
        ("curate page.txt --score length --keep lenght=0.5", "Did you mean 'length'"),
        ("curate page.txt --score length --score keywords{words=a} --keep 0.5", "write length=0.5"),
        ("curate page.txt --keep 0.5", "say --score as well"),
        ("curate page.txt --lang jp", "Did you mean"),
        ("curate page.txt --near-duplicates 2", "near_duplicates=2"),
        ("curate page.txt --score labelled{path=nowhere}", "--sample 20"),
        ("curate page.txt --score classifier{model=pages}", "cannot be loaded"),
        ("curate pages --out pages/out", "lies inside the corpus"),
        ("curate page.txt --encoding sjiss", "sjiss"),
        *((f"{verb} --columns prompt=q", "there is none") for verb in ("reinforce", "label", "search", "train-router")),
        ("label", "Name a --task or a --data-file"),
        ("report", "Missing"),
        ("report nowhere", "nowhere"),
    ],
)
def test_bad_input_is_one_line_that_helps(call, tmp_path, words, said):
    (tmp_path / "list.yaml").write_text("[1, 2]")
    (tmp_path / "broken.yaml").write_text("a: [1,\nb: }")
    (tmp_path / "typo.yaml").write_text("learning_rat: 0.1")
    (tmp_path / "page.txt").write_text("a page")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.md").write_text("a page")
    assert said in refused(call, tmp_path, words.split())


def test_fresh_deletes_nothing_but_a_demo(call, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("keep me")
    assert "not the folder of a demo" in refused(call, tmp_path, ["demo", "--run", "precious", "--no-resume"])


def test_ls_names_every_method_with_its_first_line(call):
    code, out, _ = call("ls", "--json")
    found = json.loads(out)
    assert code == 0 and set(found) == set(registry.KINDS)
    for kind in registry.KINDS:
        assert list(found[kind]) == registry.names(kind) and all(found[kind].values())
        words = call("ls", kind)[1]
        assert all(name in words for name in registry.names(kind))


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in registry.KINDS for n in registry.names(k)])
def test_show_tells_each_method(call, kind, name):
    code, out, err = call("show", f"{kind}/{name}")
    assert (code, err) == (0, "")
    assert f"{kind}/{name}" in out and registry.about(kind, name).splitlines()[0] in out


def test_an_interruption_says_how_to_go_on(call, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "names", interrupted)
    assert call("ls") == (
        130,
        "",
        "yosegi: Interrupted. What was finished is saved; the same command goes on from there.\n",
    )


def test_a_full_disk_is_one_line(call, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "some/file")

    monkeypatch.setattr(registry, "names", full)
    code, out, err = call("ls")
    assert (code, out) == (2, "") and "disk is full" in err and "some/file" in err and err.count("\n") == 1


def test_a_closed_pipe_is_quiet():
    program = "import sys; sys.argv = ['yosegi', 'ls']; from yosegi.commands import main; main()"
    line = f'"{sys.executable}" -c "{program}" | head -n 1'
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1 and "Traceback" not in done.stderr
