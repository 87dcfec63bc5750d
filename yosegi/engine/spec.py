"""How an arm is written, everywhere the same:

    base                                   the base alone; base{base_delta=FOLDER} with other whole weights (engine/whole.py)
    NAME                                   an expert of the library, or an arm that the library keeps
    a*.7+b*.3                              experts with fixed weights: the sum of their weighted outputs
    arrow{top_k=2}(a,b)                    experts under a router
    merge:ties{density=.3}(a*.7,b*.3)      experts merged into one; without weights each method has its own

`mix`, `heads` and `ablate` are keys of every arm. Without (experts) a router or a merge takes the pool: the experts it is given,
by default the originals of the library. Names of routers and merges, `base` and a few more words (library/card.py) cannot name
experts; a name with +*(){},:= in it is quoted. What no text can hold, such as weights for every layer, is a kept arm.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from yosegi import registry
from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms, is_earlier, load_arm, read_arm
from yosegi.errors import Invalid, UnknownName, shown
from yosegi.files import is_finite
from yosegi.library.origin import check_origin
from yosegi.library.store import Library
from yosegi.spec import Quoted, Reader, Vary, arguments, arguments_of, quote, typed, write_method, write_value
from yosegi.spec import parse_method as parse_method  # the same grammar, for methods of any drawer

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
MERGE = "merge:"
Terms = tuple[list[str], list[float | None]] | None
"""Experts with their weights, None where there is none; None for the pool."""


def _keys(mix: Literal["outputs", "factors"] = "outputs", heads: int = 1, ablate: Sequence[str] = ()) -> None:
    """The keys of every arm, with their types; the same for the two below."""


def _of_base(base_delta: Path | None = None) -> None: ...
def _of_merges(weights: Sequence[float] | None = None) -> None: ...


KEYS, BASE_KEYS, MERGE_KEYS = map(arguments_of, (_keys, _of_base, _of_merges))


def parse_arm(
    text: str,
    library: Library | None = None,
    experts: Sequence[str] = (),
    vary: Vary | None = None,
    untrained: bool = False,
) -> Arm:
    """Returns the arm that a spec describes, its experts loaded.

    Args:
        text: the spec.
        library: where its experts are; `base` needs none.
        experts: the pool, by name; by default the originals of the library.
        vary: see `parse_method`.
        untrained: whether a router may be one that has yet to be trained.

    Raises:
        UnknownName: nothing is called that. Invalid: the text is no spec, or asks for what cannot be.
    """
    return _Parser(library, experts, vary, untrained).arm(text)


def parse_arms(texts: Iterable[str], library: Library | None = None, experts: Sequence[str] = ()) -> list[Arm]:
    """Returns the arms of several specs, each once. `experts` stands for every expert of the pool alone, and `ablate=each` for
    the arm as it is and once more without each of its experts."""
    parser, found = _Parser(library, experts), list[Arm]()
    for text in texts:
        if text.strip() == "experts":
            found += [parser.arm(quote(name)) for name in parser.pool()]
            continue
        found.append(arm := parser.arm(text))
        if parser.each:
            found += [parser.arm(text, each=expert.name) for expert in arm.experts]
    return list({arm.name: arm for arm in found}.values())


def read_names(texts: Iterable[str]) -> list[str]:
    """Returns the names of experts in texts such as `a,b`; a name with a special character in it is quoted."""
    names: list[str] = []
    for text in texts:
        reader = Reader(text)
        names.append(reader.word("an expert"))
        while reader.take(","):
            names.append(reader.word("an expert"))
        reader.end()
    return list(dict.fromkeys(names))


def spec(arm: Arm, experts: bool = True) -> str:
    """Returns an arm as it is written, with its experts or without; `parse_arm` reads it back as the same.

    An arm with a state of its own, such as a trained router, has no spec but its name in the library.
    """
    if not arm.experts:
        return write_method("base", {} if arm.base_delta is None else {"base_delta": arm.base_delta})
    keys = {key: getattr(arm, key) for key in KEYS if getattr(arm, key) != KEYS[key].default}
    names = [quote(expert.name) for expert in arm.experts]
    if len(names) == 1 and arm.router == "uniform" and not arm.merge:
        return write_method(names[0], keys)
    weights = arm.merge_args.get("weights") if arm.merge else arm.weights
    if (arm.router_state and weights is None) or isinstance(weights, dict):
        return arm.name
    terms = (
        names
        if weights is None
        else [f"{name}*{write_value(w).removesuffix('.0')}" for name, w in zip(names, weights, strict=True)]
    )
    if weights is not None and not arm.merge:
        return "+".join(terms) + write_method("", keys)
    given = arm.merge_args if arm.merge else arm.router_args
    given = {key: value for key, value in given.items() if key not in ("weights", *keys)} | keys
    head = write_method(MERGE + arm.merge if arm.merge else arm.router, given)
    return head + f"({','.join(terms)})" * (experts or weights is not None)


class _Parser:
    """Reads the specs of one library, each expert once."""

    def __init__(
        self, library: Library | None, experts: Sequence[str], vary: Vary | None = None, untrained: bool = False
    ):
        self.folder, self.experts, self.vary, self.untrained = library, list(dict.fromkeys(experts)), vary, untrained
        self.loaded: dict[str, Expert] = {}
        self.each = False

    def arm(self, text: str, each: str | None = None) -> Arm:
        reader = Reader(text)
        head = reader.word("an arm")
        terms: Terms = None
        if summed := reader.peek() in ("*", "+"):
            reader.at = 0
            terms = self._terms(reader, "+")
        options = reader.options()
        self.each = options.get("ablate") == "each"
        if self.each:
            options.pop("ablate")
            options |= {} if each is None else {"ablate": [Quoted(each)]}
        if not summed and reader.take("("):
            terms = self._terms(reader, ",")
            reader.expect(")")
        reader.end()
        plain = not isinstance(head, Quoted)
        if summed:
            given = typed("a weighted sum", options, KEYS)
            names, weights = terms or ([], [])
            arm = Arm.weighted("", self._load(names), [1.0 if w is None else w for w in weights], **given)
        elif plain and head.startswith(MERGE):
            arm = self._merge(head.removeprefix(MERGE), options, terms)
        elif plain and (":" in head or head in registry.names("routers")):
            arm = self._router(head, options, terms)
        elif terms is not None:
            raise Invalid(f"{text!r}: {head} takes no experts; a router does, and merge:METHOD.")
        elif plain and head == "base":
            arm = Arm("base", **typed(head, options, BASE_KEYS))
        elif head in (library := self.library(head)):
            arm = Arm("", self._load([head]), **typed(head, options, {key: KEYS[key] for key in ("mix", "heads")}))
        else:
            arm, terms = self._kept(head, library, options), None
        names = [expert.name for expert in arm.experts]
        for name in arm.ablate:
            if name not in names:
                raise UnknownName.among("expert of this arm", name, names)
        if arm.name:
            return arm if arm.experts else replace(arm, name=spec(arm))
        if arm.mix == "factors" and arm.routed:
            check_origin(arm.experts, "mixed", "mix=outputs")
        return replace(arm, name=spec(arm, experts=terms is not None or bool(self.experts)))

    def pool(self) -> list[str]:
        return self.experts or self.library("experts").originals()

    def library(self, asked: str) -> Library:
        if self.folder is None:
            near = difflib.get_close_matches(asked, ["base", *registry.names("routers")], 1)
            hint = f" Did you mean {near[0]!r}?" if near and near[0] != asked else ""
            raise Invalid(f"The arm {asked} has experts: --library is the folder they are in.{hint}")
        return self.folder

    def _terms(self, reader: Reader, between: str) -> tuple[list[str], list[float | None]]:
        """Names with their weights: a*.7"""
        names, weights = list[str](), list[float | None]()
        while not names or reader.take(between):
            names.append(reader.word("an expert"))
            weights.append(None)
            if reader.take("*"):
                reader.peek()
                if (number := NUMBER.match(reader.text, reader.at)) is None:
                    raise reader.fail("a number")
                weights[-1], reader.at = float(number[0]), number.end()
                if not is_finite(weights[-1]):
                    raise Invalid(f"{shown(reader.text)}: the weight {shown(number[0])} of {names[-1]} is too large.")
        if twice := [name for name in names if names.count(name) > 1]:
            raise Invalid(f"{reader.text!r}: {twice[0]} is there twice.")
        return names, weights

    def _merge(self, method: str, options: dict[str, Any], terms: Terms) -> Arm:
        given = typed(MERGE + method, options, KEYS | MERGE_KEYS | arguments("merges", method), self.vary)
        names, weights = terms or (self.pool(), [])
        if any(w is not None for w in weights):
            if None in weights or "weights" in given:
                raise Invalid(f"{MERGE}{method}: every expert has a weight or none has, and they are written once.")
            given["weights"] = tuple(weights)
        if len(given.get("weights") or names) != len(names):
            raise Invalid(
                f"{MERGE}{method}: {len(names)} experts need {len(names)} weights, not {len(given['weights'])}."
            )
        keys = {key: given.pop(key) for key in KEYS if key in given}
        if "ablate" in keys:
            raise Invalid(f"{MERGE}{method}: only an expert under a router can be ablated; leave it out of the merge.")
        return Arm("", self._load(names), merge=method, merge_args=given, **keys)

    def _router(self, name: str, options: dict[str, Any], terms: Terms) -> Arm:
        make, own = registry.find("routers", name), arguments("routers", name)
        given = typed(name, options, KEYS | own, self.vary)
        names, weights = terms or (self.pool(), [])
        if any(w is not None for w in weights):
            raise Invalid(f"{name} weights its experts itself; fixed weights are written a*.7+b*.3.")
        if make.needs == "experts":
            raise Invalid(f"{name} takes the expert from each request; the arm of one expert is its NAME.")
        if make.learns and not self.untrained:
            library = self.library(name)
            how = f"yosegi train-router --library {library.path} --arm {name}"
            kept = [arm for arm in arms(library) if read_arm(library, arm)["router"] == name]
            raise Invalid(
                f"The router {name} has to be trained"
                + (" together with its experts (yosegi train --build)." if make.learns == "jointly" else f": {how}")
                + f" Trained ones are kept here as {', '.join(kept)}." * bool(kept)
            )
        keys = {key: given[key] for key in KEYS if key in given}
        return Arm("", self._load(names), name, {key: value for key, value in given.items() if key in own}, **keys)

    def _kept(self, name: str, library: Library, options: dict[str, Any]) -> Arm:
        if name not in (kept := arms(library)) and not is_earlier(library, name):
            methods = [*registry.names("routers"), *(MERGE + merge for merge in registry.names("merges"))]
            raise UnknownName.among("arm", name, ["base", *methods, *library, *kept])
        arm = load_arm(library, name)
        own = arguments("merges", arm.merge) if arm.merge else arguments("routers", arm.router)
        given = typed(name, options, KEYS | own, self.vary)
        keys = {key: value for key, value in given.items() if key in KEYS}
        changed = {key: value for key, value in given.items() if key in own}
        if arm.merge:
            return replace(arm, name=write_method(quote(name), given), merge_args={**arm.merge_args, **changed}, **keys)
        return replace(arm, name=write_method(quote(name), given), router_args={**arm.router_args, **changed}, **keys)

    def _load(self, names: Sequence[str]) -> list[Expert]:
        library = self.library(", ".join(names))
        if not names:
            raise Invalid(f"{library.path} has no experts yet.")
        self.loaded |= {
            expert.name: expert for expert in library.load(name for name in names if name not in self.loaded)
        }
        return [self.loaded[name] for name in names]
