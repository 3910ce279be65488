"""The arithmetic that the meanings of the op table are written in, on arrays and on integers.

    def abs_diff(of, a, b):
        return of.size(a - b)

``of`` says what Python's operators do not: on NumPy arrays (``ARRAYS``), on integers of Python
(``NUMBERS``, the ends of intervals), or on bit-vectors of a prover (``tir/rewrite/smt.py``).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .types import Type

Value = NDArray[Any]
V = Any  # arrays, integers or terms: what Python's operators take


class Arithmetic(Protocol):
    """What a meaning may use beside ``+ - & | ^ << ==``, and ``>>`` and orders of exact values."""

    def where(self, condition: V, yes: V, no: V) -> V: ...
    def less(self, a: V, b: V) -> V: ...
    def at_most(self, a: V, b: V) -> V: ...
    def least(self, a: V, b: V) -> V: ...
    def most(self, a: V, b: V) -> V: ...
    def size(self, a: V) -> V:
        """The value without its sign."""

    def times(self, a: V, b: V) -> V: ...
    def floordiv(self, a: V, b: V) -> V:
        """Rounded down; 0 where ``b`` is."""

    def mod(self, a: V, b: V) -> V: ...
    def right(self, a: V, by: V) -> V:
        """``a`` shifted right by counts within its bits: floor(a / 2**by)."""

    def rint(self, a: V) -> V:
        """The nearest integer, ties to even."""


def rounded_shift(of: Arithmetic, value: V, by: V) -> V:
    """(value + 2**(by-1)) >> by without overflow: the last bit shifted out is added."""
    last = (value >> of.most(by - 1, 0)) & 1
    return of.where(by > 0, (value >> by) + last, value)


class Arrays:
    """On arrays whose last axis is the lanes."""

    where = staticmethod(np.where)
    less, at_most = staticmethod(np.less), staticmethod(np.less_equal)
    least, most = staticmethod(np.minimum), staticmethod(np.maximum)
    size, times = staticmethod(np.abs), staticmethod(np.multiply)
    right = staticmethod(np.right_shift)

    @staticmethod
    def rint(a: Value) -> Value:
        nearest: Value = np.rint(a) if a.dtype.kind == "f" else a
        return nearest

    @staticmethod
    def floordiv(a: Value, b: Value) -> Value:
        with np.errstate(divide="ignore"):
            return np.floor_divide(a, b)

    @staticmethod
    def mod(a: Value, b: Value) -> Value:
        with np.errstate(divide="ignore"):
            rest: Value = np.mod(a, b)
            return rest


class Numbers:
    """On integers of Python, of any size."""

    least, most, size, rint = staticmethod(min), staticmethod(max), staticmethod(abs), round

    @staticmethod
    def where(condition: bool, yes: int, no: int) -> int:
        return yes if condition else no

    @staticmethod
    def less(a: int, b: int) -> int:
        return int(a < b)

    @staticmethod
    def at_most(a: int, b: int) -> int:
        return int(a <= b)

    @staticmethod
    def times(a: int, b: int) -> int:
        return a * b

    @staticmethod
    def floordiv(a: int, b: int) -> int:
        return a // b if b else 0

    @staticmethod
    def mod(a: int, b: int) -> int:
        return a % b if b else 0

    @staticmethod
    def right(a: int, by: int) -> int:
        return a >> by


ARRAYS: Any = Arrays()
NUMBERS: Any = Numbers()


# Arrays in and out of the range of their elements -------------------------------------------


def wide(value: Value) -> Value:
    """As int64: exact for elements up to 32 bits, their sums and products."""
    return value.astype(np.int64, copy=False)


def wrap(exact: Value, kind: Type) -> Value:
    """Integers of any width brought into ``kind`` modulo 2**bits; floats round toward zero."""
    if exact.dtype.kind == "f" and kind.is_int:
        exact = np.trunc(exact).astype(np.int64)
    return exact.astype(kind.numpy, copy=False)


def saturate(exact: Value, kind: Type) -> Value:
    """The nearest values of ``kind``."""
    return np.clip(exact, kind.low, kind.high).astype(kind.numpy, copy=False)


def saturable(value: Value) -> Value:
    """As integers that hold every value, u64 too; floats round to even."""
    if value.dtype == np.uint64:
        return value.astype(object)
    return wide(np.rint(value) if value.dtype.kind == "f" else value)
