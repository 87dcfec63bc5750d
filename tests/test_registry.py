"""A folder is a registry: files are methods, plug-ins join, a colon reaches outside."""

import importlib.metadata
import subprocess
import sys
import types

import pytest

from tests.conftest import each
from yosegi import registry
from yosegi.errors import Invalid, UnknownName

KNOWN = {
    "inits": {"gaussian", "kaiming", "normal", "olora", "pissa"},
    "masks": {"everything"},
    "merges": {"cat", "dare", "knots", "linear", "slerp", "svd", "task_arithmetic", "ties"},
    "objectives": {"lm", "sft"},
    "optimizers": {"adamw"},
    "routers": {"arrow", "by_request", "oracle", "uniform"},
    "tasks": {"skills"},
    "teachers": {"endpoint", "local", "random", "structure"},
}


@each("kind", KNOWN)
def test_names_are_the_files_of_the_folder(kind):
    names = registry.names(kind)
    assert set(names) >= KNOWN[kind] and names == sorted(set(names))
    files = {path.stem for path in (registry.HERE / kind).glob("*.py") if path.name[0] != "_"}
    assert set(names) >= files and not any(name.startswith("_") for name in names)


def test_every_kind_is_a_folder():
    assert set(registry.KINDS) >= set(KNOWN)
    assert all((registry.HERE / kind / "__init__.py").exists() for kind in registry.KINDS)


def test_find_takes_the_function_or_the_class_of_the_files_name():
    from yosegi.merges.svd import svd
    from yosegi.routers.by_request import ByRequest

    assert registry.find("merges", "svd") is svd
    assert registry.find("routers", "by_request") is ByRequest


def test_find_reaches_outside():
    from collections import OrderedDict

    assert registry.find("routers", "collections:OrderedDict") is OrderedDict


@each("name", ["no_such_package:X", "collections:NoSuch", ":X", "collections:", ".core:X", ":"])
def test_outside_names_that_lead_nowhere(name):
    with pytest.raises(Invalid, match=r"Cannot reach .* The form is 'package.module:Object'"):
        registry.find("routers", name)


@each("look", [registry.find, registry.load, registry.about])
def test_unknown_names_say_what_is_near_and_what_there_is(look):
    with pytest.raises(UnknownName, match="No router is called 'arow'. Did you mean 'arrow'[?] There are: arrow, "):
        look("routers", "arow")


@each("name", ["", "_learnt", "__init__", "../routers/arrow", "arrow.py", "os"])
def test_only_methods_have_names(name):
    with pytest.raises(UnknownName):
        registry.find("routers", name)


def test_about_is_the_docstring_of_the_file():
    from yosegi.routers import arrow

    assert registry.about("routers", "arrow") == arrow.__doc__.strip()
    assert registry.about("routers", "arrow").startswith("Arrow: ")


@pytest.fixture
def plugin(monkeypatch):
    """An installed package with a router of its own, and one that takes a name of ours."""
    module = types.ModuleType("theirs")
    module.Mine = type("Mine", (), {})
    monkeypatch.setitem(sys.modules, "theirs", module)
    installed = [importlib.metadata.EntryPoint(name, "theirs:Mine", "yosegi.routers") for name in ("mine", "arrow")]
    monkeypatch.setattr(registry, "_entry_points", lambda: importlib.metadata.EntryPoints(installed))
    registry._plugins.cache_clear()
    yield module.Mine
    registry._plugins.cache_clear()


@each(
    "kind, name, arguments",
    [
        ("merges", "svd", "A_ERI: Tensor, B_EOR: Tensor, w_E: Tensor, rank: int | str | None=None"),  # a function's
        ("routers", "arrow", "top_k: int=3, temperature: float=1.0"),  # a class's are those of its constructor
        ("routers", "by_request", ""),
    ],
)
def test_signature_is_read_from_the_file(kind, name, arguments):
    assert registry.signature(kind, name).partition(" ->")[0] == f"({arguments})"


def test_signature_of_what_has_none():
    assert registry.signature("routers", "nobody") == ""


def test_plugins_join(plugin):
    assert "mine" in registry.names("routers") and "mine" not in registry.names("merges")
    assert registry.find("routers", "mine") is plugin
    assert registry.load("routers", "mine") is plugin
    assert registry.about("routers", "mine") == registry.signature("routers", "mine") == ""


def test_a_plugin_that_takes_our_name_is_listed_once(plugin):
    assert registry.names("routers").count("arrow") == 1
    assert registry.find("routers", "arrow") is plugin


def test_names_and_docs_are_found_without_importing_anything():
    program = (
        "import sys; from yosegi import registry\n"
        "found = {(k, n): registry.about(k, n) for k in registry.KINDS for n in registry.names(k)}\n"
        "assert len(found) > 20, len(found)\n"
        "assert not {'torch', 'transformers', 'numpy', 'yosegi.routers', 'yosegi.tasks'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=registry.HERE.parent)
