"""An evaluation from its settings alone: which arms it has, what it tells, and what it refuses before anything is loaded."""

import dataclasses

import pytest

from yosegi import files
from yosegi.engine.arm import Arm
from yosegi.engine.kept import save_arm
from yosegi.errors import Invalid, NoData, WrongBase
from yosegi.evaluation.arms import EvalSettings, evaluate_arms
from yosegi.library.store import Library

ASKED = {"task": ["skills/add"], "limit": 3}


@pytest.fixture
def library(nano, pair, tmp_path):
    library = Library(tmp_path / "shelf", nano.hash, nano.name)
    for expert in pair:
        library.add(expert)
    return library


@pytest.fixture(autouse=True)
def one_base(nano, monkeypatch):
    monkeypatch.setattr("yosegi.evaluation.arms.load", lambda *_, **__: nano)


def names(found):
    return list(dict.fromkeys(row["model"] for row in found.rows))


def test_the_usual_arms_of_a_library(library, pair, tmp_path):
    a, b = (expert.name for expert in pair)
    found = evaluate_arms(EvalSettings(library=str(library.path), **ASKED), tmp_path / "run")
    assert names(found) == ["base", a, b, "uniform", "arrow"] and found.run.path == tmp_path / "run"
    assert files.read_json(tmp_path / "run" / "config.json")["arms"] == names(found)
    again = evaluate_arms(EvalSettings(library=str(library.path), **ASKED), tmp_path / "run")
    assert again.rows == found.rows, "nothing is measured twice"
    library.remove(b)
    assert names(evaluate_arms(EvalSettings(library=str(library.path), **ASKED), tmp_path / "one")) == ["base", a]
    assert names(evaluate_arms(EvalSettings(**ASKED), tmp_path / "none")) == ["base"]


def test_arms_by_their_specs_and_what_a_reader_should_know(library, pair, tmp_path):
    a, b = (expert.name for expert in pair)
    save_arm(library, Arm("kept", library.load([a]), training={"steps": 1}))
    arms, lines = ["kept", f"{a}*.5+{b}*.5", "uniform{ablate=each}"], []
    found = evaluate_arms(EvalSettings(library=str(library.path), arm=arms, **ASKED), tmp_path / "run", lines.append)
    every = ["base", "kept", f"{a}*0.5+{b}*0.5", "uniform", f"uniform{{ablate=[{a}]}}", f"uniform{{ablate=[{b}]}}"]
    assert names(found) == every
    assert lines == ["kept has the 1 experts it was trained with, not all 2."]
    halves, uniform = (next(r for r in found.rows if r["model"] == n and r["metric"] == "logp") for n in every[2:4])
    assert halves["value"] == pytest.approx(uniform["value"], abs=1e-5), "the same weights, written or by the router"


def test_questions_by_type_are_traced(library, tmp_path):
    types = {"type": ["small: task == skills/add", "other"], "arm": ["uniform", "oracle"]}
    evaluate_arms(EvalSettings(library=str(library.path), **types, **ASKED), tmp_path / "run")
    routers = files.read_json(tmp_path / "run" / "routing.json")["routers"]
    assert {"uniform by type", "oracle by type"} <= set(routers) and list(routers["uniform by type"]["tasks"]) == [
        "small"
    ]


@pytest.mark.parametrize(("settings", "said"), [
    ({"task": []}, "nothing to ask"), ({"arm": ["arrow"]}, "--library is the folder"), ({"type": ["a b"]}, "not a rule"),
    ({"type": ["easy"]}, "none of these arms has a router"), ({"base": ["nano", "nano"], "library": "x"}, "one --base"),
    ({"base": ["nano", "nano"]}, "named twice"),
])  # fmt: skip
def test_what_does_not_go_together_is_refused(settings, said, tmp_path, monkeypatch):
    monkeypatch.setattr("yosegi.evaluation.arms.load", None)
    with pytest.raises(Invalid, match=said):
        evaluate_arms(EvalSettings(**{**ASKED, **settings}), tmp_path / "run")


def test_experts_of_another_base(library, nano, tmp_path, monkeypatch):
    other = dataclasses.replace(nano, hash="f" * 12, name="other")
    monkeypatch.setattr("yosegi.evaluation.arms.load", lambda *_, **__: other)
    with pytest.raises(WrongBase, match="trained beside"):
        evaluate_arms(EvalSettings(library=str(library.path), **ASKED), tmp_path / "run")
    with pytest.raises(NoData, match="no library at"):
        evaluate_arms(EvalSettings(library=str(tmp_path / "nowhere"), **ASKED), tmp_path / "run")


def test_experts_that_were_taught_otherwise_are_named(nano, pair, tmp_path, monkeypatch):
    plain, taught = (dataclasses.replace(e, card={**e.card, "training": {"objective": "sft"}}) for e in pair)
    template = "{% for m in messages %}{{ m['content'] }}<unk>{% endfor %}"
    chatty = dataclasses.replace(nano, chat_template=template)
    taught = dataclasses.replace(taught, card={**taught.card, **chatty.reads})
    library, lines = Library(tmp_path / "shelf", nano.hash, nano.name), []
    for expert in (plain, taught):
        library.add(expert)
    settings = EvalSettings(library=str(library.path), arm=["experts"], **ASKED)
    rows = evaluate_arms(settings, tmp_path / "plain", lines.append).rows
    assert [line for line in lines if "Warning" in line] == [
        f"Warning: {taught.name} learnt with the chat template {chatty.reads['chat_template']} and are asked with plain prompts."
    ]
    assert not any("chat_template" in row for row in rows)
    monkeypatch.setattr("yosegi.evaluation.arms.load", lambda *_, **__: chatty)
    again = evaluate_arms(settings, tmp_path / "plain", lines.append).rows
    assert lines[-1].startswith(f"Warning: {plain.name} learnt with plain prompts and are asked with the chat template")
    assert all(row["chat_template"] == chatty.reads["chat_template"] for row in again), "measured anew, and said"
    save_arm(library, Arm("soup", library.load(), "uniform", training={"template": ""}))
    evaluate_arms(settings.model_copy(update={"arm": ["soup"]}), tmp_path / "soup", lines.append)
    assert "soup learnt with plain prompts" in lines[-1].replace(f"{plain.name}, ", "")
