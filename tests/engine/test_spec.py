"""Arms as they are written: what each spec makes, what is refused in one line, and that everything written reads back."""

import random

import pytest
import torch

from yosegi import files
from yosegi.core.expert import Expert, Factors
from yosegi.engine.arm import Arm
from yosegi.engine.kept import save_arm
from yosegi.engine.spec import parse_arm, parse_arms, spec
from yosegi.errors import Invalid, UnknownName
from yosegi.library.store import Library
from yosegi.merges import merge

NAMES = ("a", "b", "maths ja", "c+d", 'f(x)*"2"', "7", "鉄道", "x:y", "1e-3")


def expert(name, **card):
    generator = torch.Generator().manual_seed(len(name) + ord(name[0]))
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return Expert(
        name, {"m.q": Factors(draw(2, 5), draw(3, 2))}, {"task": [f"t/{name}"], "base_hash": "b" * 12, **card}
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    library = Library(tmp_path_factory.mktemp("x") / "shelf", "b" * 12, "base")
    for name in NAMES:
        library.add(expert(name, init="kaiming", init_seed=0))
    library.add(merge(library.load(["a", "b"]), "svd", name="soup"))
    state = {"m.q|learnt.prototype_EI": torch.randn(2, 5)}
    save_arm(library, Arm("near", library.load(["b", "a"]), "centroid", {"top_k": 1}, state, tasks=("t/a",)))
    save_arm(
        library,
        Arm("layers", library.load(["a", "b"]), merge="svd", merge_args={"weights": {"m.q": [1.0, 0.5]}, "rank": 2}),
    )
    return library


def same(one, other):
    """Whether two arms are the same but for their names."""
    fields = ("router", "router_args", "mix", "heads", "ablate", "merge", "base_delta")
    plain = lambda arm: [  # noqa: E731
        *(getattr(arm, field) for field in fields), [e.name for e in arm.experts],
        {k: tuple(v) if k == "weights" and not isinstance(v, dict) else v for k, v in arm.merge_args.items()},
        {key: value.tolist() for key, value in arm.router_state.items()},
    ]  # fmt: skip
    return plain(one) == plain(other)


def test_the_kinds_of_arms(library):
    assert same(parse_arm("base"), Arm("base")) and parse_arm("base").name == "base"
    alone = parse_arm("a", library)
    assert (alone.name, [e.name for e in alone.experts], alone.router) == ("a", ["a"], "uniform")
    arrow = parse_arm("arrow{top_k=2,mix=factors}(a,b)", library)
    assert (arrow.router, arrow.router_args, arrow.mix) == ("arrow", {"top_k": 2}, "factors")
    assert [e.name for e in arrow.experts] == ["a", "b"]
    merged = parse_arm("merge:ties{density=.3}(a*.7,b*.3)", library)
    assert (merged.merge, merged.merge_args) == ("ties", {"density": 0.3, "weights": (0.7, 0.3)})
    assert same(merged, parse_arm("merge:ties{density=.3,weights=[.7,.3]}(a,b)", library))
    summed = parse_arm("a*.7 + b*-3e-1 + 7", library)
    assert summed.weights == [0.7, -0.3, 1.0] and [e.name for e in summed.experts] == ["a", "b", "7"]
    assert parse_arm("yosegi.routers.arrow:Arrow{top_k=1}(a,b)", library).router_args == {"top_k": 1}
    assert parse_arm('"f(x)*\\"2\\""', library).experts[0].name == 'f(x)*"2"'


def test_without_experts_it_takes_the_pool(library):
    every = sorted(NAMES)
    assert [e.name for e in parse_arm("arrow", library).experts] == every, "the originals: not what was merged of them"
    assert (
        parse_arm("arrow", library).name == "arrow"
        and parse_arm("merge:svd{rank=2}", library).name == "merge:svd{rank=2}"
    )
    some = parse_arm("arrow{top_k=1}", library, ["b", "a"])
    assert [e.name for e in some.experts] == ["b", "a"] and some.name == "arrow{top_k=1}(b,a)"
    assert parse_arm("arrow(soup,a)", library, ["b"]).name == "arrow(soup,a)"
    assert parse_arm("arrow(b)", library).name == "arrow(b)"


def test_kept_arms(library):
    near = parse_arm("near", library)
    assert (near.router, near.router_args, near.name, near.tasks) == ("centroid", {"top_k": 1}, "near", ("t/a",))
    louder = parse_arm("near{temperature=.1,mix=factors,ablate=a}", library)
    assert louder.router_args == {"top_k": 1, "temperature": 0.1} and (louder.mix, louder.ablate) == ("factors", ("a",))
    assert louder.name == "near{temperature=0.1,mix=factors,ablate=[a]}" and same(
        parse_arm(louder.name, library), louder
    )
    layers = parse_arm("layers{rank=1}", library)
    assert layers.merge_args == {"weights": {"m.q": [1.0, 0.5]}, "rank": 1} and spec(layers) == "layers{rank=1}"


def test_several_at_once(library):
    names = [
        arm.name for arm in parse_arms(["base", "experts", "arrow{ablate=each}", "a", "base"], library, ["a", "c+d"])
    ]
    assert names == [
        "base",
        "a",
        '"c+d"',
        'arrow(a,"c+d")',
        'arrow{ablate=[a]}(a,"c+d")',
        'arrow{ablate=["c+d"]}(a,"c+d")',
    ]
    names = [arm.name for arm in parse_arms(["near{ablate=each}"], library)]
    assert names == ["near", "near{ablate=[b]}", "near{ablate=[a]}"]
    one, other = parse_arms(["a", "arrow(a,b)"], library)
    assert one.experts[0] is other.experts[0], "an expert is loaded once"


@pytest.mark.parametrize(("text", "said"), [
    ("", "an arm is expected"), ("arow", "No arm is called 'arow'. Did you mean 'arrow'"), ("ties", "Did you mean 'merge:ties'"),
    ("nearr", "Did you mean 'near'"), ("merge:tis", "No merge is called 'tis'. Did you mean 'ties'"), ("arrow(z)", "expert .* called 'z'"),
    ("arrow{topk=2}", "argument of arrow is called 'topk'. Did you mean 'top_k'"), ("a{rank=2}", "No argument of a is called 'rank'"),
    ("arrow{mix=both}", "mix is of type"), ("arrow(a,a)", "a is there twice"), ("a*.5+a*.5", "a is there twice"),
    ("a*1e400", "the weight '1e400' of a is too large"),
    ("a(b)", "a takes no experts"), ("base(a)", "base takes no experts"), ("near(a)", "near takes no experts"), ("a*b", "a number is expected"),
    ("a*.5+", "an expert is expected"), ("arrow(a", r"'\)' is expected"), ("arrow(a))", "nothing more"), ("arrow(a*.5,b)", "weights its experts itself"),
    ("merge:ties(a*.5,b)", "every expert has a weight or none"), ("merge:ties{weights=[1,2]}(a*.5,b*1)", "written once"),
    ("merge:ties{weights=[1]}(a,b)", "2 experts need 2 weights, not 1"), ("merge:ties{ablate=a}(a,b)", "leave it out of the merge"),
    ("uniform{ablate=z}(a,b)", "expert of this arm is called 'z'"), ("near{top_k=x}", "near: top_k is of type"), ("near{over=last,oder=1}", "'oder'"),
    ("by_request", "the arm of one expert is its NAME"), ("softmax(a,b)", "has to be trained: yosegi train-router --library .* --arm softmax"),
    ("centroid", "Trained ones are kept here as near"), ("task_table", r"together with its experts \(yosegi train --build\)"),
    ("base{base_delta=nowhere,x=1}", "argument of base is called 'x'"), ("uniform{heads=two}", "heads is of type int"),
])  # fmt: skip
def test_what_cannot_be_is_one_line(library, text, said):
    with pytest.raises((Invalid, UnknownName), match=said) as error:
        parse_arms([text], library)
    assert "\n" not in str(error.value)


def test_without_a_library(tmp_path, library):
    for text in ("a", "arrow", "a*.5", "merge:ties(a,b)", "experts", "softmax"):
        with pytest.raises(Invalid, match="--library is the folder"):
            parse_arms([text])
    with pytest.raises(Invalid, match="has no experts yet"):
        (tmp_path / "empty").mkdir()
        parse_arm("arrow", Library(tmp_path / "empty"))


def test_factors_of_different_origins_are_refused(tmp_path):
    library = Library(tmp_path / "shelf")
    for seed, name in enumerate("ab"):
        library.add(expert(name, init="kaiming", init_seed=seed))
    with pytest.raises(Invalid, match="cannot be mixed.*mix=outputs"):
        parse_arm("arrow{mix=factors}", library)
    assert parse_arm("a{mix=factors}", library).mix == "factors", "one expert is mixed with nobody"


def test_reserved_words_are_no_names(tmp_path, library):
    for name in ("arrow", "ties", "base", "experts", "each", "arms", "merge:ties"):
        with pytest.raises(Invalid, match=f"cannot be called '{name}'"):
            Library(tmp_path / "shelf").add(expert(name))
        with pytest.raises(Invalid, match=f"cannot be called '{name}'"):
            save_arm(library, Arm(name, library.load(["a"])))
    with pytest.raises(Invalid, match="keeps an arm called 'near'"):
        library.add(expert("near"))


def test_a_router_of_an_earlier_version_is_refused_with_its_command(tmp_path):
    library = Library(tmp_path / "shelf")
    library.add(expert("a"))
    files.write_json(library.path / ".routers" / "soup" / "router.json", {"router": "static"})
    with pytest.raises(
        Invalid, match="Train it again: yosegi train-router --library .* --arm static --name soup-router"
    ):
        parse_arm("soup", library)


def test_everything_written_reads_back_as_the_same(library):
    draw = random.Random(0)
    number = lambda: draw.choice([draw.uniform(-2, 2), 0.7, 1.0, -1e-7, 3e20])  # noqa: E731
    seen = set()
    for _ in range(500):
        experts = library.load(draw.sample(NAMES, draw.randint(1, 4)))
        keys = {"mix": draw.choice(["outputs", "factors"]), "heads": draw.choice([1, 1, 2])}
        ablate = tuple(draw.sample([e.name for e in experts], draw.randint(0, len(experts))))
        kind = draw.choice(["base", "router", "merge", "sum"])
        if kind == "base":
            arm = Arm("base", base_delta=draw.choice([None, library.path / "runs, 1" / 'whole "x"']))
        elif kind == "router":
            router, args = draw.choice([
                ("arrow", {"top_k": draw.randint(1, 3), "temperature": abs(number())}), ("arrow", {}), ("uniform", {}),
                ("oracle", {}), ("spectr", {"weighted": draw.random() < 0.5}),
            ])  # fmt: skip
            arm = Arm(
                "", experts, router, args, ablate=ablate if router != "uniform" or len(experts) > 1 else (), **keys
            )
        elif kind == "merge":
            method, args = draw.choice([
                ("ties", {"density": draw.uniform(0.1, 1), "rank": draw.choice([None, 8, "full", "sum"])}), ("cat", {}), ("svd", {"rank": 2}),
                ("knots", {"by": "dare", "seed": draw.randint(0, 10**12)}),
            ])  # fmt: skip
            if draw.random() < 0.5:
                args = {**args, "weights": tuple(number() for _ in experts)}
            arm = Arm("", experts, merge=method, merge_args=args, **keys)
        else:
            arm = Arm.weighted("", experts, [number() for _ in experts], ablate=ablate, **keys)
        text = spec(arm)
        again = parse_arm(text, library)
        assert same(again, arm), text
        assert again.name == text == spec(again)
        seen.add(text)
    assert len(seen) > 330
