"""The registry of targets, and their names: what ``target=`` takes, and what logs and files say.

>>> parse("dsp(threads=1, tcm=256 << 10)").name
'dsp(threads=1, tcm=262144)'

A target of one's own is a row of ``TARGETS``.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from ..options.checks import shown
from ..options.record import rows
from ..target.dsp.target import DSP, dsp
from ..target.errors import MachineError
from ..target.protocol import Family, Target
from .errors import InputError

__all__ = ["TARGETS", "dsp", "family_of", "fields_of", "parse"]

TARGETS: dict[str, Family] = {family.name: family for family in (DSP,)}

_SIGNS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
}


def parse(target: object) -> Target:
    """The target that a name spells; a machine is itself, once its fields are checked."""
    for family in TARGETS.values():
        if isinstance(target, family.kind):
            return _checked(target, family)
    try:
        if not isinstance(target, str):
            raise _Unknown
        return _target(ast.parse(target, mode="eval").body)
    except MachineError:
        raise
    except (ArithmeticError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError,
            _Unknown):  # fmt: skip
        raise InputError(
            f"target: must be a Machine, {', '.join(map(repr, TARGETS))} or its fields that "
            f"differ, such as 'dsp(threads=1, tcm=256 << 10)', but got {shown(target)}"
        ) from None


def family_of(target: Target) -> Family:
    """The family that a machine is of."""
    return next(family for family in TARGETS.values() if isinstance(target, family.kind))


def emulated(target: str) -> str | None:
    """The target of a name of real machines, ``"hexagon"`` or ``"hexagon(threads=4)"``, whose code
    an emulator of these runs; with one thread if nothing else is said. None for other names."""
    for family in TARGETS.values():
        name, bracket, more = target.partition("(")
        if family.real and name.strip() == family.real:
            return f"{family.name}({more}" if bracket else f"{family.name}(threads=1)"
    return None


def _checked(target: Any, family: Family) -> Target:
    made = family.make(**{field.name: getattr(target, field.name) for field in fields(target)})
    same: Target = target
    return same if same.name == made.name else made


def fields_of(target: Target) -> list[dict[str, Any]]:
    """The fields of a target's machine: name, value and meaning."""
    meanings = {row.name: row.help for row in rows(type(target))}
    return [
        {"field": name, "value": value, "meaning": meanings.get(name, "")}
        for name, value in asdict(target).items()
    ]


class _Unknown(Exception):
    """An expression that no target's name has."""


def _target(node: ast.expr) -> Target:
    match node:
        case ast.Name(id=name) if name in TARGETS:
            return TARGETS[name].make()
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords) if name in TARGETS:
            family = TARGETS[name]
            return family.make(**_fields(keywords, family))
        case _:
            raise _Unknown


def _fields(keywords: list[ast.keyword], family: Family) -> dict[str, Any]:
    found = {keyword.arg: _value(keyword.value, family) for keyword in keywords if keyword.arg}
    if len(found) < len(keywords):  # one field twice, or **fields
        raise _Unknown
    return found


def _value(node: ast.expr, family: Family) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=parts):
            return tuple(_value(part, family) for part in parts)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _SIGNS:
            return _sign(sign, _value(left, family), _value(right, family))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, family)
        case ast.Call(func=ast.Name(id=word), args=[], keywords=keywords) if word in family.words:
            return family.words[word](**_fields(keywords, family))
        case _:
            raise _Unknown


def _sign(sign: ast.operator, left: Any, right: Any) -> Any:
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise _Unknown
    if isinstance(sign, ast.LShift) and not 0 <= right <= 64:
        raise _Unknown
    return _SIGNS[type(sign)](left, right)
