"""Expressions: one frozen, interned node. Interning makes equality identity and sharing visible.

    >>> x = var("x", u8)
    >>> (cast(i32, x) + 1) is (cast(i32, x) + 1)
    True

What each operator means is its row in ``tir/ops.py``; this file builds nodes and checks their types
by calling that row's type rule. Python operators build nodes (``x + 1``, ``x >> 2``, ``x < y``);
an ``int`` operand takes the type of the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

from .node import walk as walk
from .ops import OPS
from .spell import show_expr
from .types import Type, boolean, i32, vector

_table: dict[tuple[object, ...], Expr] = {}
_types: dict[tuple[object, ...], Type] = {}  # what type rules gave
_TYPE = attrgetter("type")


class Expr:
    """``op`` applied to ``args``, of type ``type``; ``attr`` holds what is no expression.

    ``attr`` is the value of a ``const``, the name of a ``var``, the buffer of a ``load``, the lane
    count of a ``group_sum`` and so on: each row of ``tir/ops.py`` says which.
    """

    __slots__ = ("args", "attr", "free", "number", "op", "reads", "type")
    op: str
    type: Type
    args: tuple[Expr, ...]
    attr: Any
    number: int  # in order of creation: a stable sort key within one process
    free: frozenset[Expr]  # the variables that it mentions
    reads: bool  # whether it loads

    def __new__(
        cls, op: str, type: Type, args: tuple[Expr, ...] = (), attr: Hashable = None
    ) -> Expr:
        key: tuple[object, ...] = (op, type, args)
        if attr is not None:
            key += (attr.hex() if isinstance(attr, float) else attr, attr.__class__)
        found = _table.get(key)
        if found is not None:
            return found
        self = object.__new__(cls)
        self.op, self.type, self.args, self.attr, self.number = op, type, args, attr, len(_table)
        self.free = frozenset({self}) if op == "var" else _mentioned(args)
        self.reads = op == "load" or any([arg.reads for arg in args])
        _table[key] = self
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return Expr, (self.op, self.type, self.args, self.attr)

    def __repr__(self) -> str:
        return show_expr(self)

    @property
    def is_const(self) -> bool:
        return self.op == "const"

    def __add__(self, other: Expr | int) -> Expr:
        return binary("add", self, other)

    def __radd__(self, other: int) -> Expr:
        return binary("add", other, self)

    def __sub__(self, other: Expr | int) -> Expr:
        return binary("sub", self, other)

    def __rsub__(self, other: int) -> Expr:
        return binary("sub", other, self)

    def __mul__(self, other: Expr | int) -> Expr:
        return binary("mul", self, other)

    def __rmul__(self, other: int) -> Expr:
        return binary("mul", other, self)

    def __floordiv__(self, other: Expr | int) -> Expr:
        return binary("floordiv", self, other)

    def __mod__(self, other: Expr | int) -> Expr:
        return binary("mod", self, other)

    def __and__(self, other: Expr | int) -> Expr:
        return binary("and_", self, other)

    def __or__(self, other: Expr | int) -> Expr:
        return binary("or_", self, other)

    def __xor__(self, other: Expr | int) -> Expr:
        return binary("xor", self, other)

    def __lshift__(self, other: Expr | int) -> Expr:
        return binary("shl", self, other)

    def __rshift__(self, other: Expr | int) -> Expr:
        return binary("shr", self, other)

    def __lt__(self, other: Expr | int) -> Expr:
        return binary("lt", self, other)

    def __le__(self, other: Expr | int) -> Expr:
        return binary("le", self, other)

    def __gt__(self, other: Expr | int) -> Expr:
        return binary("lt", other, self)

    def __ge__(self, other: Expr | int) -> Expr:
        return binary("le", other, self)

    def equals(self, other: Expr | int) -> Expr:
        """The expression ``self == other`` (Python's ``==`` is identity of nodes)."""
        return binary("eq", self, other)


def _mentioned(args: tuple[Expr, ...]) -> frozenset[Expr]:
    """The variables of all ``args``; one set for all nodes over the same ones, where it is easy."""
    found = _NONE
    for arg in args:
        if arg.free is not found and not arg.free <= found:
            found = arg.free if found <= arg.free else found | arg.free
    return found


_NONE = frozenset[Expr]()


def make(op: str, *args: Expr, attr: Hashable = None) -> Expr:
    """The node ``op(args)``, its type found by the op's type rule; TypeError where it refuses."""
    return Expr(op, _type_of(op, args, attr), args, attr)


def _type_of(op: str, args: tuple[Expr, ...], attr: Hashable) -> Type:
    kinds = tuple(map(_TYPE, args))
    key = op, kinds, attr, attr.__class__
    found = _types.get(key)
    if found is None:
        found = _types[key] = OPS[op].type_of(kinds, attr)
    return found


def const(value: int | float | bool, type: Type) -> Expr:
    """``value`` in every lane; integers wrap into the range of the element."""
    if type.is_int:
        value, low = int(value), type.low
        if not low <= value <= type.high:
            value = (value - low) % (1 << type.bits) + low
    elif type.kind == "b":
        value = bool(value)
    else:
        value = float(value)
    return Expr("const", type, (), value)


def var(name: str, type: Type = i32) -> Expr:
    """A name bound outside: a loop's axis (i32), a Let, an instruction's operand, a wildcard."""
    return Expr("var", type, (), name)


@dataclass(frozen=True, slots=True)
class Hole:
    """A number that a kernel's text leaves open: its name, and the interval in which it lies."""

    name: str
    low: int
    high: int

    def __str__(self) -> str:
        return self.name


def hole(name: str, type: Type, low: int, high: int) -> Expr:
    """A scalar number that code is made without: only its interval is known before the code is
    filled with ``PrimFunc.numbers``."""
    return Expr("hole", type, (), Hole(name, low, high))


def as_type(number: Expr, kind: Type) -> Expr:
    """A constant or hole as a number of another type that holds its values."""
    return Expr(number.op, kind, (), number.attr)


@cache
def is_number(root: Expr) -> bool:
    """Whether a scalar is a hole, or arithmetic on holes and constants."""
    return not root.is_const and all(map(_is_arithmetic, walk(root)))


def is_fixed(root: Expr) -> bool:
    """Whether code knows a value, or will once its holes are filled: a constant or a number."""
    return root.is_const or is_number(root)


def _is_arithmetic(node: Expr) -> bool:
    inner = bool(node.args) and node.op not in ("load", "call")
    return node.is_const or (node.type.lanes == 1 and (node.op == "hole" or inner))


def as_expr(value: Expr | int | float, type: Type) -> Expr:
    """``value`` as an expression: a number becomes a constant of ``type``."""
    return value if isinstance(value, Expr) else const(value, type)


def binary(op: str, a: Expr | int, b: Expr | int) -> Expr:
    """``op(a, b)`` where a number takes the other side's type."""
    kind = a.type if isinstance(a, Expr) else b.type if isinstance(b, Expr) else i32
    left = a if isinstance(a, Expr) else const(a, kind)
    return make(op, left, b if isinstance(b, Expr) else const(b, kind))


def written(name: str, *values: Any) -> Expr:
    """The node of an operator as scripts and bodies of instructions write it: ``cast`` and
    ``reinterpret`` begin with a type, numbers have the type of the first operand that is none, and
    what follows the operands is ``attr``. TypeError where that makes no node."""
    op, attr = OPS[name], None
    if isinstance(values[0], Type):
        kind, (value,) = values[0], values[1:]
        if op.attr:
            return make(name, value, attr=kind)
        return (cast if name == "cast" else sat_cast)(kind, value)
    if op.attr:
        count = next((i for i, v in enumerate(values) if not isinstance(v, Expr)), len(values))
        rest = values[count:]
        if not rest:
            raise TypeError(f"{name}: it needs {op.attr}, but got none")
        values, attr = values[:count], rest[0] if len(rest) == 1 else rest
    lenders = [v for v in values[op.lends :] if isinstance(v, Expr)]
    if not lenders:
        raise TypeError(f"{name}: the type of a number must follow from another operand")
    kind = next((v for v in lenders if not v.is_const), lenders[0]).type
    operands = [v if isinstance(v, Expr) else const(v, kind) for v in values]
    return make(name, *operands, attr=attr)


def cast(element: Type, value: Expr) -> Expr:
    """Converts each lane: integers keep their low bits, floats round toward zero."""
    kind = vector(element, value.type.lanes)
    return value if kind == value.type else Expr("cast", kind, (value,))


def sat_cast(element: Type, value: Expr) -> Expr:
    """Converts each lane to the nearest value of the element."""
    return Expr("sat_cast", vector(element, value.type.lanes), (value,))


def select(condition: Expr, yes: Expr, no: Expr) -> Expr:
    """``yes`` where ``condition`` holds, else ``no``; lane by lane."""
    return make("select", condition, yes, no)


def minimum(a: Expr | int, b: Expr | int) -> Expr:
    return binary("min", a, b)


def maximum(a: Expr | int, b: Expr | int) -> Expr:
    return binary("max", a, b)


def clamp(value: Expr, low: int, high: int) -> Expr:
    """``max(min(value, high), low)``."""
    return maximum(minimum(value, high), low)


def rebuild(node: Expr, args: tuple[Expr, ...]) -> Expr:
    """``node`` with other operands of the same types."""
    return node if args == node.args else Expr(node.op, node.type, args, node.attr)


def retyped(node: Expr) -> Expr:
    """``node`` with the type that its operands give; casts, loads and calls keep theirs."""
    if not node.args or OPS[node.op].told:
        return node
    kind = _type_of(node.op, node.args, node.attr)
    return node if kind == node.type else Expr(node.op, kind, node.args, node.attr)


def transform(
    root: Expr, change: Callable[[Expr], Expr | None], into: Callable[[Expr], bool] | None = None
) -> Expr:
    """Bottom-up rewriting: ``change`` sees each node with new operands; None keeps it. Nodes that
    ``into`` does not hold for stay as they are."""
    done: dict[Expr, Expr] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if node in done:
            continue
        if into is not None and not into(node):
            done[node] = node
            continue
        args, size = node.args, len(stack)
        for arg in args[::-1]:
            if arg not in done:
                stack.append(arg)
        if len(stack) > size:
            stack.insert(size, node)
            continue
        fresh = rebuild(node, tuple([done[arg] for arg in args])) if args else node
        changed = change(fresh)
        done[node] = fresh if changed is None else changed
    return done[root]


def transform_loads(root: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """As ``transform``, of what loads alone."""
    return transform(root, change, _reads) if root.reads else root


def loads_in(root: Expr) -> Iterator[Expr]:
    """The loads below ``root``, those of indices before the loads that they lead to."""
    return (node for node in walk(root, _reads) if node.op == "load") if root.reads else iter(())


def substitute(root: Expr, values: Mapping[Expr, Expr]) -> Expr:
    """``root`` with each key of ``values`` (a variable, as a rule) replaced."""
    if not values:
        return root
    if not all([key.op == "var" for key in values]):
        return transform(root, values.get)
    keys = values.keys()
    if keys.isdisjoint(root.free):
        return root
    return transform(root, values.get, lambda node: not keys.isdisjoint(node.free))


def free_vars(root: Expr) -> frozenset[Expr]:
    """The variables that ``root`` mentions."""
    return root.free


def conjuncts(condition: Expr | None) -> list[Expr]:
    """The conditions that all hold where ``condition`` does."""
    if condition is None or condition.op != "and_":
        return [] if condition is None else [condition]
    return [part for arg in condition.args for part in conjuncts(arg)]


def conjoin(parts: Iterable[Expr]) -> Expr | None:
    """The condition that demands all of ``parts``."""
    total: Expr | None = None
    for part in dict.fromkeys(parts):
        total = part if total is None else total & part
    return total


_reads: Callable[[Expr], bool] = attrgetter("reads")

true = const(True, boolean)
false = const(False, boolean)
