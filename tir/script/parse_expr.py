"""Expressions of the script, from Python's AST to interned nodes.

>>> parse_expr("cast(i8, max(min(x, 127), -128))", {"x": parse_type("i16x64")})
cast(i8, max(min(x, 127), -128))
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..arithmetic import NUMBERS
from ..expr import Expr, binary, const, hole, make, var, written
from ..ops import OPS
from ..stmt import Buffer, load
from ..types import Type, boolean, i32, parse_type
from .errors import ParseError, error_at
from .scope import Scope
from .symbols import BINARY, CHAINED, MIRRORED

Value = Expr | int | float | bool


def parse_expr(text: str, names: Mapping[str, Expr | Buffer | Type | object]) -> Expr:
    """The expression ``text``; a name given as a type is a variable of that type."""
    meanings = {k: var(k, v) if isinstance(v, Type) else v for k, v in names.items()}
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as fault:
        raise ParseError(
            f"expression: Python must accept the text, but {fault.msg}",
            fault.lineno or 1, (fault.offset or 1) - 1, text,
        ) from None  # fmt: skip
    return expression(tree.body, Scope(text.strip().splitlines(), meanings))


def expression(node: ast.expr, scope: Scope, want: Type | None = None) -> Expr:
    """``node`` as an expression; a bare number takes the type ``want``."""
    value = parse_value(node, scope)
    if isinstance(value, Expr):
        return value
    if want is None and not isinstance(value, bool):
        raise error_at(
            f"number: its type must follow from another operand, but got {value!r} alone; "
            f"write i32({value!r})", node, scope.lines)  # fmt: skip
    return const(value, want or boolean)


def number(node: ast.expr, scope: Scope, what: str) -> int:
    """``node`` as an integer that is known while parsing."""
    value = parse_value(node, scope)
    if isinstance(value, bool) or not isinstance(value, int):
        raise error_at(
            f"{what} must be an integer known now, but got {ast.unparse(node)}", node, scope.lines
        )
    return value


def parse_value(node: ast.expr, scope: Scope) -> Value:
    """``node`` as an expression, or as a number whose type is still open."""
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return value
        case ast.Name(id=name):
            return _named(node, name, scope)
        case ast.Subscript():
            return _load(node, scope)
        case ast.Call():
            return _call(node, scope)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return _binary(node, BINARY[type(op)], left, right, scope)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in BINARY:
            return _binary(node, BINARY[type(op)], left, right, scope)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in MIRRORED:
            return _binary(node, MIRRORED[type(op)], right, left, scope)
        case ast.BoolOp(op=op, values=values):
            parts = [expression(value, scope) for value in values]
            return _built(node, scope, lambda: _chain(CHAINED[type(op)], parts))  # type: ignore[no-any-return]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            negated = parse_value(operand, scope)
            return 0 - negated if isinstance(negated, Expr) else -negated
    raise error_at(
        f"expression: operators, calls, loads and numbers are allowed, but got {ast.unparse(node)}",
        node, scope.lines)  # fmt: skip


def _chain(op: str, parts: list[Expr]) -> Expr:
    first, *rest = parts
    for part in rest:
        first = make(op, first, part)
    return first


def _built(node: ast.AST, scope: Scope, build: Callable[[], Any]) -> Any:
    """``build()``, its refusal told at the place of ``node``."""
    try:
        return build()
    except (TypeError, ValueError, ZeroDivisionError) as fault:
        raise error_at(str(fault), node, scope.lines) from None


def _named(node: ast.expr, name: str, scope: Scope) -> Value:
    found = scope.find(name)
    stale = scope.stale(name)
    if stale is not None:
        raise error_at(
            f"{name}: a named value must be used before its buffers change, but {stale} was "
            "stored to since", node, scope.lines)  # fmt: skip
    if isinstance(found, Expr | bool | int | float):
        return found
    if isinstance(found, np.integer | np.floating):
        return found.item()
    got = "a buffer without an index" if isinstance(found, Buffer) else "an unknown name"
    if found is not None and not isinstance(found, Buffer):
        got = f"a {type(found).__name__}"
    raise error_at(f"{name}: a name must be an axis or a value, but got {got}", node, scope.lines)


def _binary(node: ast.AST, op: str, left: ast.expr, right: ast.expr, scope: Scope) -> Value:
    a, b = parse_value(left, scope), parse_value(right, scope)
    if not isinstance(a, Expr) and not isinstance(b, Expr):
        return _built(node, scope, lambda: _of_numbers(op, (a, b)))  # type: ignore[no-any-return]
    return _built(node, scope, lambda: binary(op, a, b))  # type: ignore[no-any-return,arg-type]


# Loads and boxes ----------------------------------------------------------------------------


def buffer_of(node: ast.expr, scope: Scope) -> Buffer:
    """The buffer that a name stands for."""
    found = scope.find(node.id) if isinstance(node, ast.Name) else None
    if not isinstance(found, Buffer):
        raise error_at(
            f"index: a buffer must stand before the bracket, but got {ast.unparse(node)}",
            node, scope.lines)  # fmt: skip
    return found


def box(node: ast.Subscript, scope: Scope) -> tuple[Buffer, tuple[Expr, ...], tuple[int, ...]]:
    """Buffer, start and extent of ``x[i, j:j + 32]``; an index alone has extent 1."""
    buffer = buffer_of(node.value, scope)
    axes = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if len(axes) != len(buffer.shape):
        raise error_at(
            f"index: an index an axis of {buffer.name}{list(buffer.shape)} must be given, "
            f"but got {len(axes)}", node, scope.lines)  # fmt: skip
    pairs = [_span(axis, scope) for axis in axes]
    return buffer, tuple(start for start, _ in pairs), tuple(extent for _, extent in pairs)


def _span(node: ast.expr, scope: Scope) -> tuple[Expr, int]:
    if not isinstance(node, ast.Slice):
        return expression(node, scope, i32), 1
    if node.lower is None or node.upper is None or node.step is not None:
        raise error_at(
            "index: a span must be written start:start + n", node.lower or node, scope.lines
        )
    extent = _difference(node.lower, node.upper, scope)
    if extent < 1:
        raise error_at(
            f"index: a span must hold at least one element, but got {extent}",
            node.lower, scope.lines)  # fmt: skip
    return expression(node.lower, scope, i32), extent


def _difference(lower: ast.expr, upper: ast.expr, scope: Scope) -> int:
    """The number of elements of lower:upper, where it shows from the text."""
    match upper:
        case ast.BinOp(left=left, op=ast.Add(), right=right) if ast.dump(left) == ast.dump(lower):
            return number(right, scope, "index: the length of a span")
    a, b = parse_value(lower, scope), parse_value(upper, scope)
    if isinstance(a, int) and isinstance(b, int):
        return b - a
    raise error_at(
        f"index: a span must be written start:start + n, but got {ast.unparse(upper)}",
        upper, scope.lines)  # fmt: skip


def _load(node: ast.Subscript, scope: Scope) -> Expr:
    buffer, start, extent = box(node, scope)
    if any(n != 1 for n in extent[:-1]):
        raise error_at(
            "index: only the last axis of a load or store may span lanes", node, scope.lines
        )
    lanes = extent[-1] if extent else 1
    return _built(node, scope, lambda: load(buffer, *start, lanes=lanes))  # type: ignore[no-any-return]


# Calls --------------------------------------------------------------------------------------


def type_of(node: ast.expr, scope: Scope) -> Type:
    """The type that a name spells, or that the Python code around gives."""
    if isinstance(node, ast.Name):
        found = scope.outer.get(node.id)
        if isinstance(found, Type):
            return found
        try:
            return parse_type(node.id)
        except ValueError:
            pass
    raise error_at(
        f"type: a type is an element and lanes, such as i32x32, but got {ast.unparse(node)}",
        node, scope.lines)  # fmt: skip


def _call(node: ast.Call, scope: Scope) -> Value:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    if node.keywords:
        raise error_at(f"{name}: operands must stand without keywords", node, scope.lines)
    match name, node.args:
        case ("cast" | "sat_cast" | "reinterpret", [kind, value]):
            element, operand = type_of(kind, scope), expression(value, scope)
            return _built(node, scope, lambda: written(name, element, operand))  # type: ignore[no-any-return]
        case ("call", [kind, ast.Constant(value=str() as callee), *rest]):
            operands = tuple(expression(arg, scope) for arg in rest)
            return Expr("call", type_of(kind, scope), operands, callee)
        case ("hole", [ast.Constant(value=str() as label), kind, low, high]):
            ends = [number(end, scope, "hole: an end of its interval") for end in (low, high)]
            return hole(label, type_of(kind, scope), *ends)
        case (_, [ast.expr() as value]) if _is_type(name, scope):
            return _typed_number(node.func, value, scope)
    if name in OPS:
        values = [parse_value(arg, scope) for arg in node.args]
        return _built(node, scope, lambda: _operator(name, values))  # type: ignore[no-any-return]
    macro = scope.find(name)
    if callable(macro):
        values = [parse_value(arg, scope) for arg in node.args]
        return _built(node, scope, lambda: macro(*values))  # type: ignore[no-any-return]
    raise error_at(f"call: an operator must be called, but got {name}", node, scope.lines)


def _is_type(name: str, scope: Scope) -> bool:
    if isinstance(scope.outer.get(name), Type):
        return True
    try:
        parse_type(name)
    except ValueError:
        return False
    return True


def _typed_number(kind: ast.expr, node: ast.expr, scope: Scope) -> Expr:
    type_ = type_of(kind, scope)
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and type_.kind == "f":
        return const(float(node.value), type_)
    value = parse_value(node, scope)
    if isinstance(value, Expr):
        raise error_at(
            f"{type_}: a number must be given, but got {ast.unparse(node)}; "
            f"write cast({type_.element}, ...)", node, scope.lines)  # fmt: skip
    return const(value, type_)


def _operator(name: str, values: Sequence[Value | Type]) -> Value:
    """The node of a row of the op table; of numbers alone, for ``min`` and ``max``, a number."""
    if not OPS[name].attr and not any(isinstance(value, Expr | Type) for value in values):
        return _of_numbers(name, values)
    return written(name, *values)


def _of_numbers(name: str, values: Sequence[Any]) -> Value:
    op = OPS[name]
    if (op.neutral is None and not op.symbol) or len(values) != op.arity:
        raise TypeError(f"{name}: the type of a number must follow from another operand")
    found: int | float | bool = op.over(NUMBERS)(*values)
    return found
