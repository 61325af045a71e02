"""The small mistakes that are tried: each makes one place of a module say something else.

What cannot change what a program does is left alone: annotations, docstrings, decorators, the words of an error.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_PAIRS = [
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)),
    *((ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Add), (ast.Mod, ast.Mult)),
]
_OTHER: dict[type[ast.AST], type[ast.AST]] = {b: a for a, b in _PAIRS} | dict(_PAIRS)
_SILENT = ("annotation", "returns", "decorator_list")


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake in it."""

    module: str
    line: int
    what: str
    tree: ast.Module


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module; those that come to the same only once. Each has a name of its own."""
    tree = ast.parse(source)
    seen, names = {ast.unparse(tree)}, Counter[str]()
    for path, node in _places(tree, ()):
        for what, new in _mistakes(node):
            mutated: Any = copy.deepcopy(tree)
            parent = mutated
            for step in path[:-1]:
                parent = parent[step] if isinstance(step, int) else getattr(parent, step)
            if isinstance(path[-1], int):
                parent[path[-1]] = new
            else:
                setattr(parent, path[-1], new)
            text = ast.unparse(mutated)
            if text not in seen:
                seen.add(text)
                names[what] += 1
                name = f"{what} ({names[what]})" if names[what] > 1 else what
                yield Mutant(module, node.lineno, name, ast.fix_missing_locations(mutated))


def _places(node: ast.AST, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], ast.expr | ast.stmt]]:
    """Yield every expression and statement, with the fields and places that lead to it."""
    if isinstance(node, ast.expr | ast.stmt):
        yield path, node
    for field, value in ast.iter_fields(node):
        if field in _SILENT or (isinstance(node, ast.Raise) and field == "exc"):
            continue
        children = [((field, n), child) for n, child in enumerate(value)] if isinstance(value, list) else []
        for here, child in children or [((field,), value)]:
            if isinstance(child, ast.AST):
                yield from _places(child, (*path, *here))


def _mistakes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:  # noqa: C901 - a table
    say = ast.unparse(node).splitlines()[0][:60]
    match node:
        case ast.Compare(ops=ops):
            for n, op in enumerate(ops):
                changed = [*ops[:n], _OTHER[type(op)](), *ops[n + 1 :]]
                yield f"{say}: comparison {n + 1} the other way round", _with(node, ops=changed)
        case ast.BoolOp(op=op, values=values):
            yield f"{say}: and for or, or for and", _with(node, op=_OTHER[type(op)]())
            yield from ((f"{say}: only part {n + 1}", value) for n, value in enumerate(values))
        case ast.BinOp(left=left, op=op, right=right):
            yield f"{say}: only the left", left
            yield f"{say}: only the right", right
            if type(op) in _OTHER:
                yield f"{say}: another operator", _with(node, op=_OTHER[type(op)]())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"{say}: without not", operand
        case ast.IfExp(body=body, orelse=orelse):
            yield f"{say}: always", body
            yield f"{say}: never", orelse
        case ast.Constant(value=bool(value)):
            yield f"{say}: {not value}", ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield f"{say}: {value + 1}", ast.Constant(value + 1)
            yield f"{say}: {value - 1}", ast.Constant(max(value - 1, 0))
        case ast.Call(func=func, args=args, keywords=keywords):
            for n, keyword in enumerate(keywords):
                yield f"{say}: without {keyword.arg}", _with(node, keywords=[*keywords[:n], *keywords[n + 1 :]])
            for n in range(len(args) if isinstance(func, ast.Name) and func.id == "max" and len(args) > 1 else 0):
                yield f"{say}: without argument {n + 1}", _with(node, args=[*args[:n], *args[n + 1 :]])
        case ast.If(test=test) if not isinstance(test, ast.NamedExpr):
            yield f"{say}: always", _with(node, test=ast.Constant(True))
            yield f"{say}: never", _with(node, test=ast.Constant(False))
        case ast.Return(value=value) if value is not None:
            yield f"{say}: None", _with(node, value=ast.Constant(None))
        case ast.Raise() | ast.AugAssign() | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield f"{say}: dropped", ast.Pass()
        case ast.Expr(value=value) if not isinstance(value, ast.Constant):
            yield f"{say}: dropped", ast.Pass()


def _with(node: ast.AST, **changed: object) -> ast.AST:
    new = copy.copy(node)
    for field, value in changed.items():
        setattr(new, field, value)
    return new
