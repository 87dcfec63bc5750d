"""The shapes in which people keep prompts and answers."""

import pytest

from tests.conftest import each
from yosegi.tasks.readers.shapes import rename, understand

USER, BOT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
HUMAN, GPT = {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}
PLAIN = ("User: Hi\n\nAssistant:", " Hello")


@each(
    "row, kind, prompt, target",
    [
        ({"messages": [USER, BOT]}, "conversations", *PLAIN),
        ({"conversations": [HUMAN, GPT]}, "conversations", *PLAIN),
        ({"conversations": [HUMAN, GPT, HUMAN]}, "conversations", *PLAIN),
        ({"prompt": [USER], "completion": [BOT]}, "conversations", *PLAIN),
        ({"messages": [{**USER, "content": [{"type": "text", "text": "Hi"}]}, BOT]}, "conversations", *PLAIN),
        ({"chosen": [USER, BOT], "rejected": [USER, USER]}, "preference pairs", *PLAIN),
        ({"prompt": "Hi", "chosen": [USER, BOT], "rejected": []}, "preference pairs", *PLAIN),
        ({"prompt": [USER], "chosen": [BOT], "rejected": [USER]}, "preference pairs", *PLAIN),
        ({"prompt": "Hi", "chosen": "yes", "rejected": "no"}, "preference pairs", "Hi", "yes"),
        ({"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "x"}, "preference pairs", *PLAIN),
        ({"prompt": "a ", "completion": "b"}, "prompts and completions", "a ", "b"),
        ({"prompt": "2+2", "response": 4}, "prompts and completions", "2+2", "4"),
        ({"question": "1+1?", "answer": 2}, "questions and answers", "Question: 1+1?\nAnswer:", " 2"),
        ({"question": "is it?", "answer": True}, "questions and answers", "Question: is it?\nAnswer:", " yes"),
        ({"question": "何?", "answers": ["a", "b"]}, "questions and answers", "問題：何?\n答え：", "a"),
        ({"question": "q", "context": "c.", "answers": {"text": ["x"], "answer_start": [1]}},
         "questions and answers", "c.\n\nQuestion: q\nAnswer:", " x"),
        ({"instruction": "Do", "input": "", "output": "done"},
         "instructions", "### Instruction:\nDo\n\n### Response:", "\ndone"),
        ({"instruction": "Do", "input": "it", "outputs": ["done", "over"]},
         "instructions", "### Instruction:\nDo\n\n### Input:\nit\n\n### Response:", "\ndone"),
        ({"instruction": "Do", "context": "it", "response": "done"},
         "instructions", "### Instruction:\nDo\n\n### Input:\nit\n\n### Response:", "\ndone"),
        ({"text": "Once."}, "texts", "", "Once."),
        ({"prompt": "Say hi", "contains": "hi"}, "prompts with checks", "Say hi", ""),
    ],
)  # fmt: skip
def test_each_shape(row, kind, prompt, target):
    shape = understand(row)
    assert (shape.kind, shape.prompt, shape.target) == (kind, prompt, target)


@each(
    "row",
    [
        {"choices": ["red", "blue"], "answer_index": 1},
        {"choices": ["red", "blue"], "answer": "B"},
        {"choices": ["red", "blue"], "answer": "blue"},
        {"options": ["red", "blue"], "answer": 1},
        {"choices": {"text": ["red", "blue"], "label": ["1", "2"]}, "answerKey": "2"},
        {"choices": [{"label": "A", "text": "red"}, {"label": "B", "text": "blue"}], "answerKey": "B"},
        {"options": {"A": "red", "B": "blue"}, "answer": "B"},
        {"A": "red", "B": "blue", "answer": "B"},
        {"choices": '["red", "blue"]', "answer": "1"},
    ],
)
def test_choices_however_they_are_written(row):
    shape = understand({"question": "Colour?", **row})
    assert (shape.kind, shape.prompt, shape.target) == ("questions with choices", "Question: Colour?\nAnswer:", " blue")
    assert (shape.meta["choices"], shape.meta["answer_index"]) == (["red", "blue"], 1)
    assert shape.meta["listed"] == "Question: Colour?\nA. red\nB. blue\nAnswer:"


def test_a_conversation_keeps_its_turns():
    call = {"role": "assistant", "content": None, "tool_calls": [
        {"function": {"name": "sum", "arguments": '{"a": 1}'}}]}  # fmt: skip
    shape = understand(
        {"system": "Be brief.", "conversations": [HUMAN, call, {"from": "observation", "value": "2"}, GPT]}
    )
    assert [turn["role"] for turn in shape.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert shape.messages[2]["content"] == '<tool_call>\n{"name": "sum", "arguments": {"a": 1}}\n</tool_call>'
    alpaca = understand({"instruction": "Do", "input": "it", "output": "done"})
    assert alpaca.messages == ({"role": "user", "content": "Do\n\nit"}, {"role": "assistant", "content": "done"})


@each(
    "row",
    [
        {"prompt": "alone"},
        {"question": "?", "reply": "!"},
        {"messages": "hello"},
        {"prompt": "x", "completion": {}},
        {},
    ],
)
def test_what_is_not_understood(row):
    assert understand(row) is None


@each(
    "row, message",
    [
        ({"question": "?", "choices": ["a", "b"], "answer": "E"}, "the answer 'E' is none of its 2 choices"),
        ({"question": "?", "choices": ["a", "b"], "answer": 2}, "the answer '2' is none of its 2 choices"),
        ({"question": "?", "choices": ["a"], "answer": "a"}, "it has 1 choices"),
        ({"question": "?", "answers": []}, "the answer is empty"),
        ({"prompt": "?", "completion": " "}, "the answer is empty"),
        ({"prompt": "?", "tests": "f(1) == 2"}, "its tests assert nothing"),
        ({"messages": [USER]}, "no turn is the assistant's"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, BOT]},
            "turn 1 has no role or no text",
        ),
        ({"conversations": [HUMAN, {"from": "gpt", "value": ""}]}, "turn 2 has no role or no text"),
        ({"prompt": [HUMAN], "chosen": ["b"], "rejected": []}, "turn 2 has no role or no text"),
        ({"messages": [{"role": "assistant", "tool_calls": 5}]}, "turn 1 has no role or no text"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": "f"}]}]}, "turn 1 has no role or no text"),
        ({"chosen": "a", "rejected": "b"}, "no turn is the assistant's"),
        ({"prompt": "?", "tests": "assert f", "code": "const f = () => {"}, "no Python program"),
        ({"prompt": "?", "tests": "assert f", "test_kind": "doctest in prompt"}, "are not run"),
    ],
)
def test_what_cannot_be_right_is_said(row, message):
    with pytest.raises(ValueError, match=message):
        understand(row)


def test_programs():
    mbpp = understand(
        {"text": "Add.", "test_list": ["assert f(1) == 2", "assert f(2) == 3"], "code": "def f(x): return x + 1"}
    )
    assert mbpp.prompt == (
        "Add.\nYour code should pass these tests:\n\nassert f(1) == 2\nassert f(2) == 3\n\n```python"
    )
    assert mbpp.target == "\ndef f(x): return x + 1" and mbpp.meta["tests"].endswith("assert f(2) == 3")
    head = "from math import pi\n\ndef area(r):\n"
    human = understand({"prompt": head, "canonical_solution": "    return pi * r * r", "entry_point": "area",
                        "test": "def check(candidate):\n    assert candidate(0) == 0"})  # fmt: skip
    assert human.prompt.startswith("Write the function that this describes.\n\n```python\nfrom math import pi\n")
    assert human.meta["before"] == "from math import pi\n\n" and human.meta["tests"].endswith("\ncheck(area)")
    assert human.target == f"\n{head}    return pi * r * r"
    assert understand({"prompt": "p", "completion": "c", "test": "yes"}).kind == "prompts and completions"


def test_columns_under_other_names():
    row = {"id": 7, "split": "test", "ask": "1+1?", "say": "2", "answer": "noise"}
    assert rename(row, {"prompt": "ask", "completion": "say"}) == {
        "id": 7, "split": "test", "prompt": "1+1?", "completion": "2",
    }  # fmt: skip
    with pytest.raises(ValueError, match="no column 'asks', only id, split, ask"):
        rename(row, {"prompt": "asks"})
