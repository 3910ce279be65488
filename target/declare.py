"""``@instruction``: makes a row of the instruction table from a Python function.

    instruction, family = (rows := Rows(128)).instruction, rows.family

    @instruction(timing=(9, 7, 5, 2), unit="VX", asm="{acc}.uw += vrmpy({a}.ub,{r}.ub)",
                 accumulate="acc", tags="dot")
    def vrmpyub_acc(acc: i32x32, a: u8x128, r: u8x4) -> i32x32:
        "Four u8*u8 products summed into each 32-bit lane."
        return acc + group_sum(cast(i32, a) * cast(i32, tile(r, 32)), 4)

The function is never run: its body is parsed by its AST into an expression over the parameters, in
the words of ``target/vocabulary.py`` and Python's operators. Annotations are type names, which say
the register class too, or ``imm_u5`` and ``imm_1_63`` for immediates. ``...`` as the body
means none (stores, jumps), and so does ``return memory()`` (loads). ``@family`` makes several rows
that differ in types and names; where a parameter's type name stands for a number there, it is a
scalar register that must hold this constant (its ``low`` and ``high``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

from ..tir.expr import Expr, binary, const, select, var
from ..tir.script.symbols import BINARY, MIRRORED
from ..tir.types import Type, i32, parse_type
from . import vocabulary
from .instruction import LARGE, Instruction, Kind, Parameter, Register, register_class

_WORDS = vocabulary.operators()
_RANGE = re.compile(r"imm_(\d+)_(\d+)")
_IMMEDIATE = re.compile(r"imm_([us])(\d+)")

Unit = str | Mapping[int, str]


class DeclareError(Exception):
    """An instruction's declaration breaks a rule."""


class RowTable:
    """Declares rows of a machine whose ``vector`` registers have so many bytes. ``intrinsic`` says
    how LLVM calls a row with vectors by its name, ``"V6.{}.128B"``; "" that it does not."""

    def __init__(self, vector: int, intrinsic: str = "") -> None:
        self.common: dict[str, Any] = dict(vector=vector, intrinsic=intrinsic)

    def instruction(
        self,
        *,
        timing: tuple[int, ...],
        unit: Unit,
        asm: str,
        hvx: str | None = None,
        since: int = 60,
        kind: Kind = Kind.COMPUTE,
        accumulate: str | None = None,
        bytes: int = 0,
        align: int = 0,
        tags: str = "",
    ) -> Callable[[Callable[..., Any]], Instruction]:
        """The decorator. ``hvx`` is the LLVM intrinsic, if it is another one; "" says that there is
        none. ``unit`` is a class, or {first version: class}."""
        fields = dict(self.common, timing=timing, unit=unit, asm=asm, hvx=hvx, since=since,
                      kind=kind, accumulate=accumulate, bytes=bytes, align=align,
                      tags=tags)  # fmt: skip
        return lambda function: _declare(function, {}, function.__name__, fields)

    def family(
        self, rows: Mapping[str, Mapping[str, Any]], **common: Any
    ) -> Callable[[Callable[..., Any]], tuple[Instruction, ...]]:
        """One declaration for several rows: ``rows`` maps each name to the types that stand for
        names of the body (``T="i16x64"``), words of ``asm`` (``t="h"``), and ``since`` or other
        fields that differ; the rest is as in ``instruction``."""

        def made(function: Callable[..., Any]) -> tuple[Instruction, ...]:
            same = {**self.common, **common}
            return tuple(_variant(function, name, own, same) for name, own in rows.items())

        return made


def collect(modules: Iterable[Any]) -> dict[str, Instruction]:
    """All rows of ``modules`` by name, in the order of the source."""
    table: dict[str, Instruction] = {}
    for module in modules:
        for value in vars(module).values():
            for row in value if isinstance(value, tuple) else (value,):
                if isinstance(row, Instruction):
                    table.setdefault(row.name, row)
    return table


def declared(function: Callable[..., Any], words: Mapping[str, Any], vector: int) -> Instruction:
    """What a function means, as a row that no machine has; ``words`` as in ``family``."""
    fields = {**_FIELDS, "timing": (0,) * (function.__code__.co_argcount + 1), "vector": vector}
    return _declare(function, words, function.__name__, fields)


_FIELDS: dict[str, Any] = dict(timing=(), unit="", asm="", hvx=None, since=60, kind=Kind.COMPUTE,
                               accumulate=None, bytes=0, align=0, tags="", vector=0,
                               intrinsic="")  # fmt: skip


def _variant(function: Callable[..., Any], name: str, own: Mapping[str, Any],
             common: Mapping[str, Any]) -> Instruction:  # fmt: skip
    fields = {**_FIELDS, **common, **{key: own[key] for key in own if key in _FIELDS}}
    words = {key: value for key, value in own.items() if key not in _FIELDS}
    for word, text in words.items():
        fields["asm"] = str(fields["asm"]).replace("{" + word + "}", str(text))
    return _declare(function, words, name, fields)


def _declare(function: Callable[..., Any], words: Mapping[str, Any], name: str,
             fields: Mapping[str, Any]) -> Instruction:  # fmt: skip
    tree = _tree(function)
    try:
        return _Body(tree, words, fields["vector"]).row(name, fields)
    except (TypeError, ValueError, DeclareError) as error:
        path = function.__code__.co_filename
        raise DeclareError(f"instruction {name}: {error} ({path}:{tree.lineno})") from None


def _tree(function: Callable[..., Any]) -> ast.FunctionDef:
    assert isinstance(function, FunctionType)
    code = function.__code__
    return _functions(code.co_filename)[code.co_firstlineno]


@cache
def _functions(path: str) -> dict[int, ast.FunctionDef]:
    """The functions of a file by the line of their first decorator."""
    nodes = ast.walk(ast.parse(Path(path).read_text()))
    found = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    return {min([n.lineno, *(d.lineno for d in n.decorator_list)]): n for n in found}


class _Body:
    """Parses one function; ``words`` are names that stand for types or numbers."""

    def __init__(self, tree: ast.FunctionDef, words: Mapping[str, Any], vector: int) -> None:
        self.tree, self.words, self.vector = tree, words, vector
        self.names: dict[str, Any] = {}

    def row(self, name: str, fields: Mapping[str, Any]) -> Instruction:
        parameters = tuple(self._parameter(arg) for arg in self.tree.args.args)
        result = self._result()
        body = self._body(result)
        same = ("asm", "since", "kind", "accumulate", "bytes", "align", "vector")
        more = {key: fields[key] for key in same}
        unit = fields["unit"]
        kinds = [p.type for p in parameters] + ([result] if result else [])
        vectors = any(register_class(kind, self.vector) in LARGE for kind in kinds)
        guess = fields["intrinsic"].format(name.replace("_", ".")) if vectors else ""
        row = Instruction(
            name, parameters, result, body, timing=fields["timing"],
            unit=((0, unit),) if isinstance(unit, str) else tuple(sorted(unit.items())),
            hvx=guess if fields["hvx"] is None else fields["hvx"],
            doc=" ".join((ast.get_docstring(self.tree) or "").split()),
            tags=frozenset(fields["tags"].split()), **more,
        )  # fmt: skip
        _check(row)
        return row

    def _parameter(self, arg: ast.arg) -> Parameter:
        bounds = _bounds(arg.annotation)
        if bounds:
            self.names[arg.arg] = var(arg.arg, i32)
            return Parameter(arg.arg, i32, Register.IMMEDIATE, *bounds)
        fixed = self._fixed(arg.annotation)
        if fixed is not None:
            self.names[arg.arg] = var(arg.arg, i32)
            return Parameter(arg.arg, i32, Register.SCALAR, fixed, fixed)
        kind = self._type(arg.annotation)
        self.names[arg.arg] = var(arg.arg, kind)
        return Parameter(arg.arg, kind, register_class(kind, self.vector))

    def _fixed(self, node: ast.expr | None) -> int | None:
        """The constant that a scalar operand must hold, where the family's words give one."""
        word = self.words.get(node.id) if isinstance(node, ast.Name) else None
        return word if isinstance(word, int) else None

    def _type(self, node: ast.expr | None) -> Type:
        if not isinstance(node, ast.Name):
            raise DeclareError("a parameter is annotated with the name of a type")
        name = str(self.words.get(node.id, node.id))
        return parse_type("bool" if name == "boolx1" else name)

    def _result(self) -> Type | None:
        node = self.tree.returns
        return None if isinstance(node, ast.Constant) and node.value is None else self._type(node)

    def _body(self, result: Type | None) -> Expr | None:
        for stmt in self.tree.body:
            match stmt:
                case ast.Assign(targets=[ast.Name(name)], value=value):
                    self.names[name] = self._value(value)
                case ast.Assign(targets=[ast.Tuple(names)], value=ast.Tuple(values)):
                    found = [self._value(value) for value in values]
                    self.names.update(zip(map(ast.unparse, names), found, strict=True))
                case ast.Return(value=ast.Call(func=ast.Name("memory"))):
                    return None
                case ast.Return(value=value) if value is not None:
                    body = self._value(value)
                    if not isinstance(body, Expr) or body.type != result:
                        came = body.type if isinstance(body, Expr) else body
                        raise DeclareError(f"the body must have the type {result}, but has {came}")
                    return body
                case ast.Expr(value=ast.Constant()):
                    continue
                case _:
                    raise DeclareError(f"a body is assignments and a return, not {_text(stmt)}")
        return None

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(name):
                return self._name(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self._value(operand)
                return const(0, value.type) - value if isinstance(value, Expr) else -value
            case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
                return _apply(BINARY[type(op)], self._value(left), self._value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                a, b = self._value(left), self._value(right)
                if type(op) in MIRRORED:
                    return binary(MIRRORED[type(op)], b, a)
                return binary(BINARY[type(op)], a, b)
            case ast.IfExp(test=test, body=yes, orelse=no):
                return select(self._value(test), self._value(yes), self._value(no))
            case ast.Call(func=ast.Name(name), args=args) if name in _WORDS:
                return _WORDS[name](*[self._value(arg) for arg in args])
            case _:
                raise DeclareError(f"a body has no words for {_text(node)}")

    def _name(self, name: str) -> Any:
        if name in self.names:
            return self.names[name]
        word = self.words.get(name, name)
        return parse_type(word) if isinstance(word, str) else word


def _apply(op: str, a: Any, b: Any) -> Any:
    if isinstance(a, Expr) or isinstance(b, Expr):
        return binary(op, a, b)
    plain = {"add": a + b, "sub": a - b, "mul": a * b}
    return plain[op] if op in plain else a << b if op == "shl" else a // b


def _bounds(node: ast.expr | None) -> tuple[int, int] | None:
    """The range of an immediate's annotation; None for a type."""
    match node:
        case ast.Name(name) if found := _IMMEDIATE.fullmatch(name):
            bits = int(found[2])
            return (
                (0, (1 << bits) - 1)
                if found[1] == "u"
                else (-1 << (bits - 1), (1 << (bits - 1)) - 1)
            )
        case ast.Name(name) if found := _RANGE.fullmatch(name):
            return int(found[1]), int(found[2])
        case _:
            return None


def _check(row: Instruction) -> None:
    names = [p.name for p in row.parameters]
    if len(row.timing) != len(names) + 1:
        raise DeclareError(f"timing takes {len(names) + 1} cycles: the result's and each operand's")
    if row.accumulate is not None and row.accumulate not in names:
        raise DeclareError(f"accumulate must name a parameter, but got {row.accumulate!r}")
    known = {*names, "d", "addr"}
    for word in re.findall(r"\{(\w+)\}", row.asm):
        if word not in known:
            raise DeclareError(f"asm may name {', '.join(sorted(known))}, but names {word!r}")


def _text(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0]
