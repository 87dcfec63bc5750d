"""Prompts come from where people have them."""

import io
import json

import pytest

from yosegi.engine.prompts import read_prompts
from yosegi.errors import Invalid, NoData


def test_texts_and_the_lines_of_a_file(tmp_path):
    (tmp_path / "p.txt").write_text("one\n\n two \n")
    assert read_prompts(["zero"], tmp_path / "p.txt") == ["zero", "one", "two"]


def test_rows_of_any_form(tmp_path):
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    rows = [{"prompt": "a"}, {"messages": turns}, {"instruction": "b", "input": "c"}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_prompts([], tmp_path / "p.jsonl") == ["a", turns[:1], "b\n\nc"]


def test_a_row_without_a_prompt_is_named(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"x": 1}\n')
    with pytest.raises(Invalid, match=r"p\.jsonl, line 2, has no prompt"):
        read_prompts([], tmp_path / "p.jsonl")
    with pytest.raises(NoData):
        read_prompts([], tmp_path / "missing.jsonl")


def test_standard_input_is_one_prompt_and_its_lines_are_asked_for(monkeypatch):
    from pathlib import Path

    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert read_prompts([]) == ["one\ntwo"]
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert read_prompts([], Path("-")) == ["one", "two"]


def test_a_system_message_stands_before_each():
    system = {"role": "system", "content": "s"}
    assert read_prompts(["a"], system="s") == [[system, {"role": "user", "content": "a"}]]
