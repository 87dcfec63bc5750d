"""Specs of methods: what is read, what is refused in one line, and that everything written reads back as the same."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest

from tests.conftest import each
from yosegi.errors import Invalid, UnknownName
from yosegi.spec import (
    Quoted,
    arguments,
    arguments_of,
    call,
    make_method,
    parse_method,
    quote,
    read,
    typed,
    write_method,
    write_value,
)


def method(
    count: int = 1, share: float = 0.5, flag: bool = False, text: str = "", most: int | None = None, rank: int | str | None = 2,
    names: Sequence[str] = (), pair: tuple[float, float] = (0.9, 0.99), side: Literal["left", "right"] = "left",
    path: Path | None = None, more: Mapping[str, int] | None = None, words: str | list[str] = "", bare=3, anything=None,
):  # fmt: skip
    """Has an argument of every type."""


def values(text):
    name, options = read(text)
    return typed(name, options, arguments_of(method))


@each("text, wanted", [
    ("m", {}), ("m{}", {}), (" m { count = 3 } ", {"count": 3}), ("m{count=1e3}", {"count": 1000}), ("m{count=-2,}", {"count": -2}),
    ("m{share=.25}", {"share": 0.25}), ("m{share=1}", {"share": 1.0}), ("m{flag=true}", {"flag": True}),
    ("m{text=7}", {"text": "7"}), ("m{text=true}", {"text": "true"}), ("m{text=null}", {"text": "null"}), ('m{text=""}', {"text": ""}),
    ("m{most=null}", {"most": None}), ("m{rank=8}", {"rank": 8}), ("m{rank=sum}", {"rank": "sum"}), ('m{rank="8"}', {"rank": "8"}),
    ("m{names=[a,b c,7]}", {"names": ("a", "b c", "7")}), ("m{names=a}", {"names": ("a",)}), ("m{names=[]}", {"names": ()}),
    ('m{names=["a,b",c]}', {"names": ("a,b", "c")}), ("m{pair=[.9,.95]}", {"pair": (0.9, 0.95)}), ("m{side=right}", {"side": "right"}),
    ("m{path=a/b+c.jsonl}", {"path": Path("a/b+c.jsonl")}), ("m{more={a=1,b=2}}", {"more": {"a": 1, "b": 2}}),
    ("m{words=x}", {"words": "x"}), ("m{words=[x]}", {"words": ["x"]}), ("m{bare=4}", {"bare": 4}),
    ("m{anything=[1,.5,x,\"2\",null,{a=false}]}", {"anything": [1, 0.5, "x", "2", None, {"a": False}]}),
    ("m{text=perplexity{base=nano,windows=2},count=3}", {"text": "perplexity{base=nano,windows=2}", "count": 3}),
    ("m{text=http://host/v1?a=b&c=(d,e)}", {"text": "http://host/v1?a=b&c=(d,e)"}),
])  # fmt: skip
def test_values_are_what_the_annotation_says(text, wanted):
    result = values(text)
    assert result == wanted and all(type(result[key]) is type(wanted[key]) for key in wanted)


def test_values_of_a_yaml_file_are_checked_alike():
    known = arguments_of(method)
    assert typed("m", {"count": 3, "pair": [0.9, 1], "most": None, "names": "a"}, known) == {
        "count": 3, "pair": (0.9, 1.0), "most": None, "names": ("a",),
    }  # fmt: skip
    for key, value in (("count", 2.5), ("count", True), ("text", 7), ("names", [1]), ("pair", [1]), ("flag", 1)):
        with pytest.raises(Invalid, match=f"m: {key} is of type"):
            typed("m", {key: value}, known)


@each("text, message", [
    ("", "a name is expected"), ("{a=1}", "a name is expected"), ("m{count}", "'=' is expected before '}'"),
    ("m{count=1", "'}' is expected at its end"), ("m{count=}", "a value is expected"), ("m{count=1}}", "nothing more is expected"),
    ("m{count=1,count=2}", "count is given twice"), ("m{names=[a", "']' is expected at its end"), ('m{text="a}', "a closing quote"),
    ("m{=1}", "a key is expected"), ("m{count=1 share=2}", "count is of type int; 1 share=2 was given"),
    ("m{count=many}", "count is of type int; many"), ("m{count=2.5}", "count is of type int; 2.5"), ('m{count="2"}', "type int; 2"),
    ("m{share=nan}", "share is of type float; nan"), ("m{share=inf}", "inf was given"), ("m{flag=1}", "flag is of type bool; 1"),
    ("m{count=true}", "type int; true"), ("m{count=null}", "type int; null"), ("m{pair=[1,2,3]}", r"pair is of type tuple\[float, float\]"),
    ("m{side=up}", "side is of type .*left"), ("m{more={a=x}}", "more is of type"), ("m{count=[1]}", "type int"),
])  # fmt: skip
def test_what_cannot_be_right_is_one_line(text, message):
    with pytest.raises(Invalid, match=message) as error:
        values(text)
    assert "\n" not in str(error.value)


def test_unknown_names_say_what_was_near():
    with pytest.raises(UnknownName, match="No argument of m is called 'cuont'. Did you mean 'count'"):
        values("m{cuont=1}")
    with pytest.raises(UnknownName, match="No router is called 'arow'. Did you mean 'arrow'"):
        parse_method("routers", "arow{top_k=2}")
    with pytest.raises(UnknownName, match="argument of arrow is called 'topk'. Did you mean 'top_k'"):
        parse_method("routers", "arrow{topk=2}")


def test_methods_of_any_drawer():
    assert parse_method("routers", "arrow{top_k=2}") == ("arrow", {"top_k": 2})
    assert parse_method("routers", "yosegi.routers.arrow:Arrow{top_k=2}") == (
        "yosegi.routers.arrow:Arrow",
        {"top_k": 2},
    )
    assert parse_method("optimizers", "galore{betas=[.9,.95]}") == ("galore", {"betas": (0.9, 0.95)})
    assert not {"lr", "weight_decay", "params"} & set(
        arguments("optimizers", "torch.optim:SGD")
    ) and "momentum" in arguments("optimizers", "torch.optim:SGD")
    assert make_method("scores", "keywords{words=[a b,c]}").weights == {"a b": 1.0, "c": 1.0}
    with pytest.raises(Invalid, match=r"perplexity needs its base, as in perplexity\{base=BASE\}"):
        make_method("scores", "perplexity{windows=2}")
    assert call("method", lambda a=1: a, {}) == 1


def test_a_value_may_mean_more():
    """A search reads ranges; what it does not know is left to the annotation."""
    result = parse_method(
        "routers",
        "arrow{top_k=1:4,temperature=.5}",
        lambda value, convert: (convert("1"), 4) if value == "1:4" else None,
    )
    assert result == ("arrow", {"top_k": (1, 4), "temperature": 0.5})
    with pytest.raises(Invalid, match="top_k is of type int; 1:4"):
        parse_method("routers", "arrow{top_k=1:4}")


LETTERS = "ab zé鉄7.-_/~@%+*(){}[],:=\"'\\|#\n"


def test_everything_written_reads_back_as_the_same():
    draw = random.Random(0)

    def text():
        return "".join(draw.choices(LETTERS, k=draw.randrange(8)))

    def number():
        return draw.choice(
            [draw.uniform(-2, 2), draw.uniform(0, 1) * 10 ** draw.randint(-30, 30), float(draw.randint(-9, 9))]
        )

    def anything(depth=2):
        kinds = [
            text,
            number,
            lambda: draw.randint(-(10**12), 10**12),
            lambda: draw.choice([None, True, False, "null", "7", "1e3"]),
        ]
        if depth:
            kinds += [lambda: [anything(depth - 1) for _ in range(draw.randrange(3))]]
            kinds += [lambda: {f"k{n}": anything(depth - 1) for n in range(draw.randint(1, 2))}]
        return draw.choice(kinds)()

    for _ in range(3000):
        given = {
            "count": draw.randint(-5, 10**17), "share": number(), "flag": draw.random() < 0.5, "text": text(),
            "most": draw.choice([None, 3]), "rank": draw.choice([None, 8, "8", "null", text()]), "side": draw.choice(["left", "right"]),
            "names": tuple(text() for _ in range(draw.randrange(4))), "pair": (number(), number()), "anything": anything(),
            "more": draw.choice([None, {"a": 1}, {"a": 1, "b": -2}]), "words": draw.choice([text(), [text(), text()]]),
        }  # fmt: skip
        given = dict(draw.sample(sorted(given.items()), draw.randint(0, len(given))))
        spec = write_method("m", given)
        result = values(spec)
        assert result == given and all(type(result[k]) is type(given[k]) for k in given), spec
        assert write_method("m", result) == spec


def test_a_number_that_no_float_holds():
    for given in (10**400, "9" * 400, "1e999"):
        with pytest.raises(Invalid, match="share is of type float"):
            typed("m", {"share": given}, arguments_of(method))


def test_plain_names_have_no_quotes():
    assert [quote(name) for name in ("a", "gsm8k", "maths-ja.v2", "鉄道", "a b", "runs/x")] == [
        "a", "gsm8k", "maths-ja.v2", "鉄道", "a b", "runs/x",
    ]  # fmt: skip
    for name in ("a+b", "a*b", "f(x)", "{a}", "a,b", "a:b", "a=b", 'a"b', " a", "a\n"):
        assert quote(name)[0] == '"' and read(quote(name)) == (name, {}) and isinstance(read(quote(name))[0], Quoted)
    assert write_value(("7", 7, "true", True, None)) == '["7",7,"true",true,null]'
