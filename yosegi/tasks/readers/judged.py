"""What tests take from a program, read off the tests and the reference solution, so that a program cannot choose it.

Of the names that the tests use and do not define, those that the reference solution defines are the program's. Its imports run
beside the tests, and so does what the prompt defines before the function that is asked for. Where there is no solution, every
name that Python does not know is the program's, and one with a capital letter is a class, whose objects may say how they compare.
"""

import ast
import builtins
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from symtable import SymbolTable, symtable

from yosegi.sandbox import Check

ORDER = ("__lt__", "__le__", "__gt__", "__ge__")
ARITHMETIC = (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
    "matmul",
)
OPERATORS = (*ORDER, "__eq__", "__ne__", "__hash__", "__contains__", *(f"__{name}__" for name in ARITHMETIC))


@lru_cache(maxsize=4096)
def judged(code: str, solution: str = "", before: str = "", module: str = "", name: str = "") -> Check:
    """Returns the tests as the sandbox judges by them.

    Args:
        code: the tests.
        solution: the reference solution, if there is one.
        before: what stands before the function that is asked for; it is the data's and not the program's.
        module: the name under which the tests import the program.
        name: of what is asked for, if the data say it.
    """
    known, wanted = _parsed(solution), _free(code)
    given = set(_defined(_parsed(before)))
    names = wanted & (set(_defined(known)) - given)
    imports = [ast.unparse(node) for node in known.body if wanted & set(_imported(node))]
    modules = wanted & sys.stdlib_module_names - {one for node in known.body for one in _imported(node)} - names
    if not names and not module:
        names = wanted - set(vars(builtins)) - sys.stdlib_module_names - given
        names = names or {one for one in wanted & set(_called(code))}
    if name:
        names |= {name}
    lines = [*(f"import {one}" for one in sorted(modules - given)), *imports, before]
    classes = {node.name for node in known.body if isinstance(node, ast.ClassDef)}
    used = {getattr(node, "id", getattr(node, "attr", getattr(node, "name", ""))) for node in ast.walk(_parsed(code))}
    operators = sorted(set(_operators(known))) if classes & used else []
    if not solution and any(one[0].isupper() for one in names):
        operators = sorted(OPERATORS)
    return Check(code, tuple(sorted(names)), "\n".join(lines).strip(), module, tuple(operators))


def _parsed(code: str) -> ast.Module:
    with suppress(SyntaxError, ValueError, RecursionError), warnings.catch_warnings(action="ignore"):
        return ast.parse(code)
    return ast.Module([], [])


def _free(code: str) -> set[str]:
    """Returns the names that code uses and does not bind itself."""
    try:
        with warnings.catch_warnings(action="ignore"):
            top = symtable(code, "<check>", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return set()

    def used(table: SymbolTable) -> Iterator[str]:
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table is top or symbol.is_global()):
                yield symbol.get_name()
        for child in table.get_children():
            yield from used(child)

    bound = {one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported()}
    return set(used(top)) - bound


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from (
                one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
            )


def _imported(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)


def _called(code: str) -> Iterator[str]:
    for node in ast.walk(_parsed(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def _operators(tree: ast.Module) -> Iterator[str]:
    """Returns the special methods of the classes of a program, with those that a decorator or a base adds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = {one.name for one in node.body if isinstance(one, ast.FunctionDef) and one.name[:2] == "__"}
            dressed = " ".join(map(ast.unparse, node.decorator_list))
            yield from methods - {"__init__", "__new__"}
            if "dataclass" in dressed:
                yield "__eq__"
            if "total_ordering" in dressed or "order=True" in dressed or methods & set(ORDER):
                yield from ORDER
