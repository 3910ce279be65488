"""Names of machines: what ``target=`` and ``--target`` take, and what logs and files say.

>>> parse("dsp(threads=1, tcm=256 << 10)").name
'dsp(threads=1, tcm=262144)'
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from ..target.dsp.machine import Machine, Unit, dsp
from ..target.errors import MachineError
from ..tuner.arguments import shown
from .errors import InputError

_SIGNS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
}


def parse(target: object) -> Machine:
    """The machine that a name spells; a Machine is itself, once its fields are checked."""
    if isinstance(target, Machine):
        checked = dsp(**{field.name: getattr(target, field.name) for field in fields(target)})
        return target if target.name == checked.name else checked
    try:
        if not isinstance(target, str):
            raise _Unknown
        return _machine(ast.parse(target, mode="eval").body)
    except MachineError:
        raise
    except (ArithmeticError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError,
            _Unknown):  # fmt: skip
        raise InputError(
            "target: must be a Machine, 'dsp' or its fields that differ, such as "
            f"'dsp(threads=1, tcm=256 << 10)', but got {shown(target)}"
        ) from None


class _Unknown(Exception):
    """An expression that no machine's name has."""


def _machine(node: ast.expr) -> Machine:
    match node:
        case ast.Name(id="dsp"):
            return dsp()
        case ast.Call(func=ast.Name(id="dsp"), args=[], keywords=keywords):
            return dsp(**_fields(keywords))
        case _:
            raise _Unknown


def _fields(keywords: list[ast.keyword]) -> dict[str, Any]:
    found = {keyword.arg: _value(keyword.value) for keyword in keywords if keyword.arg}
    if len(found) < len(keywords):  # one field twice, or **fields
        raise _Unknown
    return found


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=parts):
            return tuple(map(_value, parts))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _SIGNS:
            return _sign(sign, _value(left), _value(right))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.Call(func=ast.Name(id="Unit"), args=[], keywords=keywords):
            return Unit(**_fields(keywords))
        case _:
            raise _Unknown


def _sign(sign: ast.operator, left: Any, right: Any) -> Any:
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise _Unknown
    if isinstance(sign, ast.LShift) and not 0 <= right <= 64:
        raise _Unknown
    return _SIGNS[type(sign)](left, right)
