"""Statements and functions of the script, from Python's AST.

@prim_func
def double(x: Buffer[u8, (128,)], y: Buffer[i16, (128,)]):
    for i in vectorized(128):
        with block("double"):
            v = spatial(128, i)
            y[v] = cast(i16, x[v]) * 2

The grammar is that of ``tir/stmt.py``: loops over serial, parallel, vectorized and unrolled (range
is serial), blocks with spatial and reduce iters, where and init, alloc, copy, wait, if and stores.
Integers, types and functions of the Python code around may be used by name.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..expr import Expr, var
from ..stmt import (
    Alloc,
    Block,
    Buffer,
    Copy,
    For,
    If,
    Iter,
    LoopKind,
    PrimFunc,
    Region,
    Seq,
    Stmt,
    Store,
    Wait,
    seq,
)
from ..types import Type, boolean, i32, vector
from .errors import ParseError, error_at
from .parse_expr import box, expression, number, type_of
from .scope import Scope

LOOPS = {kind.value: kind for kind in LoopKind} | {"range": LoopKind.SERIAL}
Annotations = tuple[tuple[str, object], ...]
SCOPES = ("ddr", "tcm", "reg")


def parse(text: str, outer: Mapping[str, object] | None = None) -> PrimFunc:
    """The function that ``text`` defines."""
    tree = _tree(text)
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if len(defined) != 1:
        raise ParseError(f"script: one function must be defined, but got {len(defined)}")
    return _function(defined[0], Scope(text.splitlines(), outer or {}))


def parse_stmt(text: str, names: Mapping[str, Expr | Buffer | Type | object]) -> Stmt:
    """The statements ``text``; a name given as a type is a variable of that type."""
    text = textwrap.dedent(text)
    meanings = {k: var(k, v) if isinstance(v, Type) else v for k, v in names.items()}
    return _suite(_tree(text).body, Scope(text.splitlines(), meanings))


def prim_func(function: Callable[..., Any]) -> PrimFunc:
    """Decorator: the kernel that a Python function spells. The function itself never runs."""
    text, names = _source(function)
    given = {k: v for k, v in function.__annotations__.items() if isinstance(v, Buffer)}
    node = next(n for n in _tree(text).body if isinstance(n, ast.FunctionDef))
    return _function(node, Scope(text.splitlines(), names), given)


def parse_body(function: Callable[..., Any]) -> tuple[str, tuple[Expr, ...], Expr]:
    """Name, operands and meaning of a function that returns one expression (an instruction)."""
    text, names = _source(function)
    node = next(n for n in _tree(text).body if isinstance(n, ast.FunctionDef))
    scope = Scope(text.splitlines(), names)
    operands = []
    for arg in node.args.args:
        operands.append(var(arg.arg, _annotated_type(arg, scope)))
        scope.bind(arg.arg, operands[-1])
    return node.name, tuple(operands), _returned(node, scope)


def _returned(node: ast.FunctionDef, scope: Scope) -> Expr:
    for stmt in node.body:
        match stmt:
            case ast.Expr(value=ast.Constant(value=str())):
                continue
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                scope.bind_value(name, expression(value, scope))
            case ast.Return(value=ast.expr() as value):
                want = type_of(node.returns, scope) if node.returns else None
                result = expression(value, scope, want)
                if want is not None and result.type != want:
                    raise error_at(
                        f"{node.name}: the result must be {want}, but got {result.type}",
                        stmt, scope.lines)  # fmt: skip
                return result
            case _:
                break
    raise error_at(f"{node.name}: the body must return one expression", node, scope.lines)


def _annotated_type(arg: ast.arg, scope: Scope) -> Type:
    if arg.annotation is None:
        raise error_at(f"{arg.arg}: an operand must have a type", arg, scope.lines)
    return type_of(arg.annotation, scope)


def _source(function: Callable[..., Any]) -> tuple[str, dict[str, object]]:
    """The text of a function, and the values of the Python code around it.

    Names that only annotations mention are no closure variables: those of the module are added.
    """
    outer = inspect.getclosurevars(function)
    module = getattr(function, "__globals__", {})
    named = {k: v for k, v in module.items() if isinstance(v, int | Type)}
    text = textwrap.dedent(inspect.getsource(function))
    return text, {**named, **outer.globals, **outer.nonlocals}


def _tree(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as fault:
        raise ParseError(
            f"script: Python must accept the text, but {fault.msg}",
            fault.lineno or 1, (fault.offset or 1) - 1, (fault.text or "").rstrip("\n"),
        ) from None  # fmt: skip


# Functions and buffers ----------------------------------------------------------------------


def _function(
    node: ast.FunctionDef, scope: Scope, given: Mapping[str, Buffer] | None = None
) -> PrimFunc:
    """``given``: the parameters whose annotations Python has evaluated already."""
    params = []
    for arg in node.args.args:
        match arg.annotation:
            case _ if given and arg.arg in given:
                buffer = replace(given[arg.arg], name=arg.arg)
            case ast.Subscript(value=ast.Name(id="Buffer"), slice=ast.Tuple(elts=parts)):
                buffer = _buffer(arg.arg, parts, arg, scope)
            case _:
                raise error_at(
                    f"{arg.arg}: a parameter must be written {arg.arg}: Buffer[u8, (4, 32)]",
                    arg, scope.lines)  # fmt: skip
        params.append(buffer)
        scope.bind(buffer.name, buffer)
    return PrimFunc(node.name, tuple(params), _suite(node.body, scope))


def _buffer(name: str, parts: list[ast.expr], node: ast.AST, scope: Scope) -> Buffer:
    match parts:
        case [kind, shape]:
            where = "ddr"
        case [kind, shape, ast.Constant(value=str() as where)] if where in SCOPES:
            pass
        case _:
            raise error_at(
                f"{name}: a buffer has a type, a shape, and a scope of {', '.join(SCOPES)}",
                node, scope.lines)  # fmt: skip
    axes = shape.elts if isinstance(shape, ast.Tuple) else [shape]
    extents = tuple(number(axis, scope, f"{name}: an extent") for axis in axes)
    return Buffer(name, type_of(kind, scope), extents, where)


# Statements ---------------------------------------------------------------------------------


def _suite(nodes: list[ast.stmt], scope: Scope) -> Stmt:
    """The statements of a suite; names bound in it end with it."""
    names, made = dict(scope.names), dict(scope.made)
    stmt = _rest(nodes, scope)
    scope.names, scope.made = names, made
    return stmt


def _rest(nodes: list[ast.stmt], scope: Scope) -> Stmt:
    done: list[Stmt] = []
    for i, node in enumerate(nodes):
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Name(id="alloc"), args=args),
            ):
                buffer = _buffer(name, args, node, scope)
                scope.bind(name, buffer)
                return seq(*done, Alloc(buffer, _rest(nodes[i + 1 :], scope)))
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                scope.bind_value(name, expression(value, scope))
            case _:
                done.append(_stmt(node, scope))
    return seq(*done)


def _stmt(node: ast.stmt, scope: Scope) -> Stmt:
    match node:
        case ast.For(target=ast.Name(id=name), iter=ast.Call() as over, body=body):
            return _loop(node, name, over, body, scope)
        case ast.If(test=test, body=body, orelse=[]):
            condition = expression(test, scope)
            if condition.type != boolean:
                raise error_at(
                    f"if: the condition must be bool, but got {condition.type}", test, scope.lines
                )
            return If(condition, _suite(body, scope))
        case ast.With(items=[ast.withitem(context_expr=ast.Call() as call, optional_vars=name)]):
            return _with(node, call, name, scope)
        case ast.Assign(targets=[ast.Subscript() as target], value=value):
            return _store(target, value, scope)
        case ast.Expr(value=ast.Call(func=ast.Name(id="copy")) as call):
            return _copy(call, scope)
        case ast.Expr(
            value=ast.Call(func=ast.Name(id="wait"), args=[ast.Constant(value=str() as token)])
        ):
            return Wait(token)
        case ast.Pass() | ast.Expr(value=ast.Constant(value=str())):
            return Seq(())
    raise error_at(
        "statement: loops, blocks, stores, alloc, copy, wait and if are allowed, but got "
        + ast.unparse(node).split("\n")[0], node, scope.lines)  # fmt: skip


def _loop(node: ast.For, name: str, over: ast.Call, body: list[ast.stmt], scope: Scope) -> Stmt:
    kind = LOOPS.get(over.func.id) if isinstance(over.func, ast.Name) else None
    if kind is None or len(over.args) != 1 or node.orelse:
        raise error_at(
            "for: a loop must run over serial(n), parallel(n), vectorized(n), unrolled(n) or "
            f"range(n), but got {ast.unparse(over)}", over, scope.lines)  # fmt: skip
    extent = number(over.args[0], scope, "for: the extent")
    axis = var(name)
    notes = _annotations(over, scope)
    for written in _written(node):
        scope.stores[written] += 1
    outside = scope.names.get(name)
    scope.bind(name, axis)
    loop = For(axis, extent, kind, _suite(body, scope), notes)
    scope.names.pop(name)
    if outside is not None:
        scope.names[name] = outside
    return loop


def _written(node: ast.AST) -> set[str]:
    """The buffers that statements below ``node`` write."""
    found: set[str] = set()
    for below in ast.walk(node):
        match below:
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name))]):
                found.add(name)
            case ast.Call(
                func=ast.Name(id="copy"), args=[ast.Subscript(value=ast.Name(id=name)), *_]
            ):
                found.add(name)
    return found


def _with(node: ast.With, call: ast.Call, name: ast.expr | None, scope: Scope) -> Stmt:
    match call, name:
        case ast.Call(func=ast.Name(id="block"), args=[ast.Constant(value=str() as title)]), None:
            return _block(title, node.body, _annotations(call, scope), scope)
        case ast.Call(func=ast.Name(id="alloc"), args=args), ast.Name(id=title):
            buffer = _buffer(title, args, call, scope)
            names = dict(scope.names)
            scope.bind(title, buffer)
            body = _suite(node.body, scope)
            scope.names = names
            return Alloc(buffer, body)
    raise error_at(
        'with: it opens block("name"), init() as a block\'s part, or alloc(...) as name, but got '
        + ast.unparse(call), call, scope.lines)  # fmt: skip


def _annotations(call: ast.Call, scope: Scope) -> Annotations:
    """The keywords of a loop or a block: plain data."""
    notes = []
    for keyword in call.keywords:
        try:
            notes.append((str(keyword.arg), ast.literal_eval(keyword.value)))
        except ValueError:
            raise error_at(
                f"annotation: a value must be plain data, but got {ast.unparse(keyword.value)}",
                keyword.value, scope.lines) from None  # fmt: skip
    return tuple(notes)


def _block(title: str, nodes: list[ast.stmt], notes: Annotations, scope: Scope) -> Block:
    names, made = dict(scope.names), dict(scope.made)
    iters: list[Iter] = []
    where: Expr | None = None
    init: Stmt | None = None
    for start, node in enumerate(nodes):  # noqa: B007
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Name(id="spatial" | "reduce" as kind), args=[extent, at]),
            ):
                binding = expression(at, scope, i32)
                size = number(extent, scope, f"{kind}: the extent")
                iters.append(Iter(var(name), size, kind == "reduce", binding))
            case ast.Expr(value=ast.Call(func=ast.Name(id="where"), args=[guard])):
                _bind_iters(iters, scope)
                where = expression(guard, scope)
            case ast.With(items=[ast.withitem(context_expr=ast.Call(func=ast.Name(id="init")))]):
                _bind_iters(iters, scope)
                init = _suite(node.body, scope)
            case _:
                break
    else:
        start = len(nodes)
    _bind_iters(iters, scope)
    body = _suite(nodes[start:], scope)
    scope.names, scope.made = names, made
    return Block(title, tuple(iters), body, init, where, notes)


def _bind_iters(iters: list[Iter], scope: Scope) -> None:
    """Iters stand for their bindings from the first statement after them on."""
    for it in iters:
        scope.bind(it.axis.attr, it.axis)


def _store(target: ast.Subscript, value: ast.expr, scope: Scope) -> Store:
    buffer, start, extent = box(target, scope)
    if any(n != 1 for n in extent[:-1]):
        raise error_at(
            "index: only the last axis of a load or store may span lanes", target, scope.lines
        )
    want = vector(buffer.type, extent[-1] if extent else 1)
    stored = expression(value, scope, want)
    if stored.type != want:
        raise error_at(
            f"store: {buffer.name} takes {want} here, but got {stored.type}; "
            f"write cast({want.element}, ...) or mend the span", value, scope.lines)  # fmt: skip
    scope.stores[buffer.name] += 1
    return Store(buffer, start, stored)


def _copy(call: ast.Call, scope: Scope) -> Copy:
    match call.args, call.keywords:
        case [ast.Subscript() as target, ast.Subscript() as source], []:
            token = ""
        case (
            [ast.Subscript() as target, ast.Subscript() as source],
            [ast.keyword(arg="token", value=ast.Constant(value=str() as token))],
        ):
            pass
        case _:
            raise error_at(
                'copy: it must be written copy(a[0:4], b[i:i + 4]) or with token="name"',
                call, scope.lines)  # fmt: skip
    to, origin = Region(*box(target, scope)), Region(*box(source, scope))
    scope.stores[to.buffer.name] += 1
    return Copy(to, origin, token)
