"""What a row of the op table holds: it is made of a Python function, the operator's meaning.

    @row(same_int, Beyond.WRAPS, rises="++", commutes=True)
    def halving_add(a, b):
        return (a + b) >> 1

A meaning is written once, in the arithmetic of ``tir/arithmetic.py``: on arrays it is the exact
meaning in NumPy, on the ends of intervals it gives bounds, on terms it is what z3 proves rules
about (``tir/rewrite/smt.py``). Its parameters say the arity. Further ones come first: ``of`` is the
arithmetic, ``kind`` the type of the result, ``attr`` what the node holds; a last parameter ``by``
counts bits to shift by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, partial
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

import numpy as np

from . import intervals
from .arithmetic import ARRAYS, NUMBERS, Value, saturable, saturate, wide, wrap
from .type_rules import Types, given
from .types import Type, i8

if TYPE_CHECKING:  # what words give where bodies are read as Python
    from .expr import Expr


class Lanes(Enum):
    """Of which lanes of the operands a lane of the result is made."""

    NONE = "none: a leaf, memory or a call"
    SAME = "the same lane of each"
    MOVED = "one, of another place"
    COPIED = "one, which other lanes are made of, too"
    ANY = "several, or one that a value chooses"


class Beyond(Enum):
    """What becomes of results beyond the element's range, and in how many bits they are made."""

    IN_PLACE = "in the bits of the operands, which wrap; counts of bits are modulo them"
    WRAPS = "computed exactly, then the low bits"
    SATURATES = "computed exactly, then the nearest value"


PARTS = -1  # the arity of an operator of any number of parts
_FIRST = ("of", "kind", "attr")


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One operator; as a Python name it is a word of the script."""

    name: str
    rule: Callable[[Types, Any], Type]  # the type of the result
    meaning: Callable[..., Any] | None  # None: leaves, memory and calls
    beyond: Beyond = Beyond.IN_PLACE
    lanes: Lanes = Lanes.SAME
    rises: str = ""  # with each operand: + rises, - falls, * either; else ``bound`` says
    bound: intervals.Rule | None = None
    symbol: str = ""  # infix in script; otherwise it is written as a call
    commutes: bool = False
    proven: bool = True  # whether logic can say what it means
    neutral: Callable[[Type], int] | None = None  # changes nothing; operands join in any order
    from_below: bool = False  # each bit follows from bits up to its place, of whatever sign
    attr: str = ""  # what ``attr`` holds, where it holds something
    example: Callable[[int], Any] | None = None  # an ``attr``, for so many lanes
    word: str = ""  # its name in Python
    arity: int = field(init=False)
    lends: int = field(init=False)  # the first operand that may give numbers beside it their type
    wants: tuple[str, ...] = field(init=False)  # of ``_FIRST``
    counts: tuple[int, ...] = field(init=False)  # operands that count bits
    value: Callable[..., Value] = field(init=False)  # in NumPy: of type, attr and arrays
    interval: intervals.Rule | None = field(init=False)  # of the exact result
    wraps: bool = field(init=False)  # the exact result may lie beyond the operands' range

    def __post_init__(self) -> None:
        parameters = signature(self.meaning).parameters.values() if self.meaning else ()
        names = [p.name for p in parameters]
        operands = [name for name in names if name not in _FIRST]
        some = any(p.kind is Parameter.VAR_POSITIONAL for p in parameters)
        put = partial(object.__setattr__, self)
        put("arity", PARTS if some or not names else len(operands))
        put("lends", int("condition" in operands))
        put("wants", tuple(name for name in names if name in _FIRST))
        put("counts", tuple(i for i, name in enumerate(operands) if name == "by"))
        put("value", _in_arrays(self))
        put("interval", _interval(self))
        put("wraps", _wraps(self))

    def __call__(self, *_: Any, **__: Any) -> Expr:
        raise TypeError(f"{self.name}: it is a word of the script, used inside @prim_func only")

    def type_of(self, kinds: Types, attr: Any) -> Type:
        """The type of the result; TypeError says what must hold."""
        if self.arity not in (PARTS, len(kinds)):
            raise TypeError(f"{self.name}: it takes {self.arity} operands, but got {len(kinds)}")
        return self.rule(kinds, attr)

    @property
    def told(self) -> bool:
        """Whether its type does not follow from operands."""
        return self.rule is given

    def over(self, of: Any) -> Callable[..., Any]:
        """The meaning in an arithmetic, of what is wanted beside it and the operands."""
        assert self.meaning is not None
        return partial(self.meaning, of) if "of" in self.wants else self.meaning


OPS: dict[str, Op] = {}


def row(
    rule: Callable[[Types, Any], Type], beyond: Beyond = Beyond.IN_PLACE, *, name: str = "",
    **more: Any,
) -> Callable[[Callable[..., Any]], Op]:  # fmt: skip
    """Makes the row of an operator of a function; ``name``, where it is no name of Python's."""

    def made(meaning: Callable[..., Any]) -> Op:
        word = meaning.__name__
        found = OPS[name or word] = Op(name or word, rule, meaning, beyond, word=word, **more)
        return found

    return made


def moves(
    rule: Callable[[Types, Any], Type], lanes: Lanes = Lanes.MOVED, **more: Any
) -> Callable[[Callable[..., Any]], Op]:
    """As ``row``, of lanes in other places: the meaning is one of arrays whose last axis is the
    lanes, of whatever elements."""
    return row(rule, lanes=lanes, **{"bound": intervals.union, **more})


def leaf(name: str, attr: str) -> Op:
    """A row of what has no meaning of its own."""
    found = OPS[name] = Op(name, given, None, lanes=Lanes.NONE, attr=attr, word=name)
    return found


def with_lanes(*lanes: Lanes) -> frozenset[str]:
    """The operators whose lanes are made so."""
    return frozenset(op.name for op in OPS.values() if op.lanes in lanes)


# On arrays ----------------------------------------------------------------------------------


def _in_arrays(op: Op) -> Callable[..., Value]:
    """``value(kind, attr, *arrays)``; an array's last axis is the lanes."""
    if op.meaning is None:
        return partial(_without, op.name)
    function = op.over(ARRAYS)
    if op.lanes is not Lanes.SAME:
        return _across(function, *(name for name in op.wants if name != "of"))
    make = _in_place_shift if op.counts else _in_place
    if op.beyond is not Beyond.IN_PLACE:
        make = partial(_exact, op.beyond is Beyond.SATURATES)
    value: Callable[..., Value] = _of_types(op, function, make)
    return value


def _of_types(op: Op, function: Callable[..., Any], make: Callable[..., Any]) -> Any:
    """``make(function)``; of each type its own where the meaning wants to know the type."""
    if "kind" not in op.wants:
        return make(function)
    made = cache(lambda kind: make(partial(function, kind)))
    return lambda kind, *more: made(kind)(kind, *more)


def _without(name: str, *_: Any) -> Value:
    raise TypeError(f"{name}: it has no meaning of its own")


def _in_place(function: Callable[..., Value]) -> Callable[..., Value]:
    def value(kind: Type, _: Any, *values: Value) -> Value:
        with np.errstate(over="ignore"):
            return wrap(function(*values), kind)

    return value


def _in_place_shift(function: Callable[..., Value]) -> Callable[..., Value]:
    def value(kind: Type, _: Any, a: Value, by: Value) -> Value:
        return wrap(function(a, by & by.dtype.type(kind.bits - 1)), kind)

    return value


def _exact(saturates: bool, function: Callable[..., Value]) -> Callable[..., Value]:
    def value(kind: Type, _: Any, *values: Value) -> Value:
        if not saturates:
            return wrap(function(*map(wide, values)), kind)
        prepared = map(saturable if len(values) == 1 else wide, values)
        return saturate(function(*prepared), kind)

    return value


def _across(function: Callable[..., Value], wanted: str = "") -> Callable[..., Value]:
    def value(kind: Type, attr: Any, *values: Value) -> Value:
        first = {"": (), "kind": (kind,), "attr": (attr,)}[wanted]
        with np.errstate(over="ignore"):
            return function(*first, *values)

    return value


# On intervals -------------------------------------------------------------------------------


def _interval(op: Op) -> intervals.Rule | None:
    if op.bound is not None or not op.rises:
        return op.bound
    function = op.over(NUMBERS)
    rule: intervals.Rule = _of_types(
        op, function, lambda meaning: intervals.from_corners(meaning, op.rises)
    )
    if op.counts:
        most = None if op.beyond is Beyond.IN_PLACE else 63
        return intervals.where_counts_fit(rule, op.counts, most)
    return rule


def _wraps(op: Op) -> bool:
    """As bytes tell, which stand for any integers; what shifts counts are shifts within them."""
    if op.beyond is not Beyond.IN_PLACE or op.lanes is not Lanes.SAME:
        return False
    edges = np.array([i8.low, i8.low + 1, -1, 0, 1, 2, i8.high], np.int64)
    given = [edges % i8.bits if place in op.counts else edges for place in range(op.arity)]
    first = (i8,) if "kind" in op.wants else ()
    found = op.over(ARRAYS)(*first, *np.meshgrid(*given))
    return bool(found.min() < i8.low or found.max() > i8.high)
