"""Small changes of Python code, one at a time: the faults that `run.py` plants.

Another operator, a comparison flipped, a constant moved, a `not`, an argument or a statement dropped, two arguments
swapped, a condition that is always true or false, `return None`. Texts, types, imports and messages of errors stay.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

SWAPPED: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,), ast.Mod: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,), ast.Pow: (ast.Mult,), ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,), ast.Or: (ast.And,),
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
Node = TypeVar("Node", bound=ast.AST)
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file.

    Args:
        file: relative to the tree.
        line: where the change is.
        before, after: the changed piece of code.
        place: position among the file's places.
        turn: position among the changes of that place.
    """

    file: str
    line: int
    before: str
    after: str
    place: int
    turn: int


def mutants_of(source: str, file: str) -> list[Mutant]:
    """All mutants of one file, in order of the code."""
    return [
        Mutant(file=file, line=node.lineno, before=_text(node), after=_text(changed), place=place, turn=turn)
        for place, node in enumerate(_places(ast.parse(source)))
        for turn, changed in enumerate(_changes(node))
    ]


def mutated(source: str, mutant: Mutant) -> str:
    """The file with the change."""
    tree = ast.parse(source)
    old = list(_places(tree))[mutant.place]
    changed = list(_changes(old))[mutant.turn]
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, changed)
            elif isinstance(value, list):
                setattr(parent, name, [changed if each is old else each for each in value])
    return ast.unparse(ast.fix_missing_locations(tree))


def _text(node: ast.AST) -> str:
    """A piece of code on one line; of a condition, its head."""
    if isinstance(node, (ast.If, ast.While)):
        return f"{type(node).__name__.lower()} {ast.unparse(node.test)}:"
    return " ".join(ast.unparse(ast.fix_missing_locations(node)).split())


def _places(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Expressions and statements that decide something: no docstrings, annotations, imports, texts or messages."""
    skipped = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.arg)
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, skipped):
                continue
            # At the top of a module, `|` joins types.
            if isinstance(node, ast.Module) and isinstance(child, ast.Assign) and isinstance(child.value, ast.BinOp):
                continue
            if isinstance(child, (ast.expr, ast.stmt)):
                yield child
            yield from _places(child)


def _changes(node: ast.expr | ast.stmt) -> Iterator[ast.expr | ast.stmt]:
    """Every mutant of one node; the node itself is left alone."""
    match node:
        case ast.BinOp(op=op) | ast.AugAssign(op=op) | ast.BoolOp(op=op):
            for other in SWAPPED.get(type(op), ()):
                yield _with(node, op=other())
        case ast.Compare(ops=[op]):
            for other in SWAPPED[type(op)]:
                yield _with(node, ops=[other()])
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield copy.deepcopy(operand)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(value * 2 if value else 1.0)
        case ast.Call():
            yield from _other_calls(node)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.If() | ast.While():
            yield from (_with(node, test=ast.Constant(value)) for value in (True, False)[isinstance(node, ast.While) :])
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()


def _other_calls(call: ast.Call) -> Iterator[ast.expr]:
    """The first two arguments swapped; the last one dropped; `min` for `max` and such."""
    symmetric = ast.unparse(call.func).split(".")[-1] in NAMES
    if len(call.args) >= 2 and not symmetric:
        yield _with(call, args=[call.args[1], call.args[0], *call.args[2:]])
    if len(call.args) >= 2:
        yield _with(call, args=call.args[:-1])
    if call.keywords:
        yield _with(call, keywords=call.keywords[:-1])
    match call.func:
        case ast.Name(id=name) if name in NAMES:
            yield _with(call, func=ast.Name(NAMES[name]))
        case ast.Attribute(attr=name, value=owner) if name in NAMES:
            yield _with(call, func=ast.Attribute(owner, NAMES[name]))


def _with(node: Node, **fields: object) -> Node:
    """A copy with other fields."""
    changed = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, copy.deepcopy(value))
    return changed
