"""What others wrote is read within limits, and what is beyond them is one short line."""

import json
import time

import pytest

from yosegi import files, untrusted
from yosegi.errors import Corrupt, Invalid, YosegiError, printable, shown

DEEP = 100_000
JSON = {
    "deep lists": "[" * DEEP + "]" * DEEP,
    "deep objects": '{"a":' * 3000 + "1" + "}" * 3000,
    "a little too deep": "[" * 70 + "]" * 70,
    "a long number": '{"a": ' + "9" * 5000 + "}",
    "a key twice": '{"a": 1, "b": {"c": 1, "c": 2}}',
    "half a character": '{"a": "\\ud800"}',
    "half a character in a key": '{"\\uDC00": 1}',
    "half a character as it is": b'{"a": "\xed\xb2\x80"}',
    "half a character in UTF-16": '{"a": "'.encode("utf-16-le") + b"\x00\xd8" + '"}'.encode("utf-16-le"),
    "cut off": '{"a": [1, 2',
    "nothing": "",
    "not UTF-8": b'{"a": "\xff"}',
}
YAML = {
    "a bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "itself": "a: &a [*a]",
    "deep": "[" * DEEP,
    "a little too deep": "[" * 70 + "]" * 70,
    "a number as a key": "1: 2",
    "a list as a key": "? [1, 2]\n: 3",
    "null as a key": "null: 2",
    "a key twice": "a: 1\na: 2",
    "a long number": "a: " + "9" * 5000,
    "a python object": "!!python/object/apply:os.system ['true']",
    "control characters": "a: \x1b[31m",
    "an int without digits": "a: !!int ''",
    "a date that is none": "a: !!timestamp x",
    "large": "a: " + "x" * (untrusted.YAML_BYTES + 1),
    "not closed": "a: [1",
}


@pytest.mark.parametrize("text", JSON.values(), ids=JSON)
def test_bad_json_is_one_short_line(text, tmp_path):
    (path := tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    for read in (lambda: untrusted.read_json(text, "it"), lambda: files.read_json(path)):
        with pytest.raises(Corrupt) as error:
            read()
        assert len(str(error.value)) < 600 and str(error.value).isprintable()


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
def test_bad_yaml_is_one_short_line(text):
    with pytest.raises(Invalid) as error:
        untrusted.read_yaml(text, "it")
    assert str(error.value).startswith("it ") and len(str(error.value)) < 600 and str(error.value).isprintable()


def test_what_is_right_is_read():
    value = {"a": [1, 2.5, None, True, "é😀한"], "b": {"c": []}}
    assert (
        untrusted.read_json(json.dumps(value), "it") == value == untrusted.read_json(json.dumps(value).encode(), "it")
    )
    assert untrusted.read_yaml("a: &x [1, b]\nc: *x\nd: {<<: {e: 1}, f: 2}", "it") == {
        "a": [1, "b"], "c": [1, "b"], "d": {"e": 1, "f": 2}
    }  # fmt: skip
    assert untrusted.read_yaml("", "it") is None


def test_a_file_that_is_none_and_one_that_is_too_large(tmp_path, monkeypatch):
    with pytest.raises(Corrupt, match="is not a file"):
        files.read_json(tmp_path)
    files.write_json(tmp_path / "a.json", [1] * 100)
    monkeypatch.setattr(untrusted, "BYTES", 99)
    with pytest.raises(Corrupt, match="up to 99 are read"):
        files.read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text", ["(a+)+$", "(a|aa)+$", "(.*)*x", "(?:(?:a?){30}a{30})+b", "^(([a-z])+.)+[A-Z]([a-z])+$"]
)
def test_a_pattern_never_takes_long(text, monkeypatch):
    monkeypatch.setattr(untrusted, "SECONDS", 0.2)
    began, pattern = time.process_time(), untrusted.Pattern(text, "the pattern")
    try:
        assert not pattern.fullmatch("a" * 60 + "!")
    except Invalid as error:
        assert "the pattern" in str(error) and "takes too long" in str(error)
    assert time.process_time() - began < 10  # the naive search takes years


def test_patterns_share_their_time(monkeypatch):
    first = untrusted.Pattern("a", "it")
    assert first.search("a")
    again = untrusted.Pattern("b", "it", first)
    monkeypatch.setattr(untrusted, "SECONDS", 1e-9)
    with pytest.raises(Invalid, match="takes too long"):
        again.fullmatch("b")


@pytest.mark.parametrize("text", ["(", "*", "a" * 2000, "[z-a]", 5, None, "(?P<a>x)(?P<a>y"])
def test_what_is_no_pattern(text):
    with pytest.raises(Invalid, match="regular expression") as error:
        untrusted.Pattern(text, "it")
    assert len(str(error.value)) < 400


def test_a_pattern_is_that_of_python():
    assert untrusted.Pattern(r"(?!.*vision).*\.(q|v)_proj", "it").fullmatch("model.layers.0.q_proj")
    assert not untrusted.Pattern(r"(?!.*vision).*\.(q|v)_proj", "it").fullmatch("vision.layers.0.q_proj")
    assert untrusted.Pattern(r"\d+", "it").search("a 12") and not untrusted.Pattern(r"\d+", "it").fullmatch("a 12")


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        "\x1b[31m\x07" * 500,
        ["\x9b"] * 10**5,
        {"a": {"b": ["c" * 10**5] * 99}},
        "\u202e",
        "\ud800",
        "a\u2028b",
    ],
)
def test_a_message_is_short_and_harmless(value):
    for text in (shown(value), str(YosegiError(f"It is {value}.")), str(YosegiError(f"It is {shown(value)}."))):
        assert len(text) < 2100 and text.isprintable() and text.encode()
    assert len(shown(value)) <= 200
    assert printable("日本 é 😀 👩‍💻") == "日本 é 😀 👩‍💻"
