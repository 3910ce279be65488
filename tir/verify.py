"""The verifier: whether a PrimFunc keeps the rules of the IR; the first fault is told.

VerifyError: load: axis 0 of x must be indexed within 0..127, but got 1..128
    y[i] = x[i + 1]        <- here
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from keyword import iskeyword

import numpy as np

from .bounds import bounds
from .evaluate_expr import loads
from .expr import Expr, Hole, free_vars, walk
from .facts import Facts
from .independence import merge_of
from .intervals import Interval, type_range
from .ops import OPS
from .script.show import show_stmt
from .stmt import (
    Alloc,
    Block,
    Buffer,
    Copy,
    For,
    If,
    PrimFunc,
    Region,
    Seq,
    Stmt,
    Store,
    Wait,
    children,
    walk_stmt,
)
from .types import boolean, i32, vector

TRUSTING = "trusting"  # the attribute of kernels whose authors answer for indices that data decide


class VerifyError(Exception):
    """A rule of the IR that a function breaks, and the place in its text."""

    def __init__(self, sentence: str, place: Stmt | None = None) -> None:
        self.sentence, self.place = sentence, place
        where = f"\n    {show_stmt(place).splitlines()[0]}        <- here" if place else ""
        super().__init__(sentence + where)


@dataclass(frozen=True, slots=True)
class _Scope:
    """The names that may be used at a place, and the facts that hold there."""

    buffers: dict[str, Buffer]
    axes: frozenset[Expr]
    facts: Facts
    slack: int
    trusting: bool  # whether indices that data decide are taken to stay within their buffers
    held: Callable[[Buffer], Interval]  # between which values the elements of a buffer are
    holes: dict[str, Hole] = field(default_factory=dict)  # of the whole function, as they are met


def verify(func: PrimFunc, slack: int = 0) -> PrimFunc:
    """``func`` itself, when it keeps all rules; VerifyError otherwise.

    ``slack``: bytes behind each buffer of one dimension that may be loaded, whatever they hold.
    Where ``attrs["trusting"]`` is set, an index that loads decide may exceed what is known of it.
    """
    _names(func)
    _constants(func)
    params, trusting = {p.name: p for p in func.params}, bool(func.attrs.get(TRUSTING))
    scope = _Scope(params, frozenset(), Facts(), slack, trusting, _held(func))
    _check(func.body, scope)
    _tokens(func)
    _numbers(func, scope.holes)
    return func


def _held(func: PrimFunc) -> Callable[[Buffer], Interval]:
    """The range of each constant's data and of all values ever stored into a local buffer."""
    stmts = list(walk_stmt(func.body))
    unknown = {p.name for p in func.params} | {
        s.target.buffer.name for s in stmts if isinstance(s, Copy)
    }

    @cache
    def found(buffer: Buffer) -> Interval:
        data = func.constants.get(buffer.name)
        if data is not None and data.size:
            return int(data.min()), int(data.max())
        if buffer.name in unknown:
            return type_range(buffer.type)
        ranges: dict[Expr, Interval] = {}
        for loop in stmts:
            if isinstance(loop, For):
                ranges[loop.axis] = (0, max(loop.extent - 1, ranges.get(loop.axis, (0, 0))[1]))
        values = [s.value for s in stmts if isinstance(s, Store) and s.buffer.name == buffer.name]
        ends = [bounds(value, ranges) for value in values] or [type_range(buffer.type)]
        return min(low for low, _ in ends), max(high for _, high in ends)

    return found


def _require(holds: bool, sentence: str, place: Stmt | None = None) -> None:
    if not holds:
        raise VerifyError(sentence, place)


# The whole function -------------------------------------------------------------------------


def _names(func: PrimFunc) -> None:
    _identifier(func.name, None)
    seen: set[str] = set()
    for param in func.params:
        _buffer(param.name, seen, None)
        seen.add(param.name)


def _buffer(name: str, others: Container[str], place: Stmt | None) -> None:
    """Scopes that are not within each other may use a name again."""
    _identifier(name, place)
    if name in others:
        raise VerifyError(f"buffer: a name must not hide another, but got {name} again", place)


def _identifier(name: str, place: Stmt | None) -> None:
    plain = name.isidentifier() and not iskeyword(name)
    _require(plain, f"name: it must be a Python name, but got {name!r}", place)


def _constants(func: PrimFunc) -> None:
    params = {param.name: param for param in func.params}
    for name, array in func.constants.items():
        _require(name in params, f"constant: it must be a parameter, but got {name}")
        fits = array.shape == params[name].shape and array.dtype == params[name].type.numpy
        _require(
            fits,
            f"constant: {name} must be {params[name].type}{list(params[name].shape)}, "
            f"but got {array.dtype}{list(array.shape)}",
        )


def _tokens(func: PrimFunc) -> None:
    found = [s for s in walk_stmt(func.body) if isinstance(s, Copy | Wait)]
    copied = {s.token: s for s in found if isinstance(s, Copy) and s.token}
    waited = {s.token: s for s in found if isinstance(s, Wait)}
    for token, place in (copied | waited).items():
        both = token in copied and token in waited
        side = "no wait" if token in copied else "no copy"
        _require(both, f'copy: token "{token}" must have a copy and a wait, but got {side}', place)


def _numbers(func: PrimFunc, holes: dict[str, Hole]) -> None:
    """Numbers of holes that a pass has removed stay and harm none."""
    for name, number in func.numbers.items():
        gap = holes.get(name)
        if gap is not None and not gap.low <= number <= gap.high:
            raise VerifyError(
                f"number: {name} must lie within {gap.low}..{gap.high}, but got {number}"
            )


# Statements ---------------------------------------------------------------------------------


def _check(stmt: Stmt, scope: _Scope) -> None:
    match stmt:
        case Seq(stmts):
            for below in stmts:
                _check(below, scope)
        case For(axis, extent, body=body):
            _loop_axis(axis, extent, scope, stmt)
            facts = scope.facts.within(axis, extent)
            _check(body, replace(scope, axes=scope.axes | {axis}, facts=facts))
        case Block():
            _block(stmt, scope)
        case Store():
            _store(stmt, scope)
        case If(condition, then):
            _condition("if", condition, scope, stmt)
            _check(then, replace(scope, facts=scope.facts.given(condition)))
        case Alloc(buffer, body):
            _buffer(buffer.name, scope.buffers, stmt)
            fits = all(extent > 0 for extent in buffer.shape)
            _require(fits, f"alloc: extents must be above 0, but got {list(buffer.shape)}", stmt)
            _check(body, replace(scope, buffers={**scope.buffers, buffer.name: buffer}))
        case Copy():
            _copy(stmt, scope)
        case Wait():
            pass


def _loop_axis(axis: Expr, extent: int, scope: _Scope, place: Stmt) -> None:
    if axis.op != "var" or axis.type != i32:
        raise VerifyError(f"for: the axis must be an i32 variable, but got {axis}", place)
    _identifier(axis.attr, place)
    if axis in scope.axes:
        raise VerifyError(f"for: an axis must not hide another, but got {axis} again", place)
    _require(extent > 0, f"for: the extent must be above 0, but got {extent}", place)


def _block(block: Block, scope: _Scope) -> None:
    facts, axes = scope.facts, scope.axes
    for it in block.iters:
        _loop_axis(it.axis, it.extent, replace(scope, axes=axes), block)
        _expr(it.binding, scope, block)
        axes |= {it.axis}
        facts = facts.bound(it.axis, it.binding)
    inside = replace(scope, axes=axes, facts=facts)
    if block.where is not None:
        _condition("where", block.where, inside, block)
        inside = replace(inside, facts=inside.facts.given(block.where))
    for it in block.iters:
        got = inside.facts.reaches(it.axis, 0, it.extent - 1)
        _outside(got, f"block {block.name}: {it.axis} must stay", 0, it.extent - 1, block)
        low, _ = inside.facts.range(it.axis)
        _require(
            low <= 0 or block.init is None or not it.reduce,
            f"block {block.name}: a reduce axis must start at 0 for its init, "
            f"but got {it.axis} from {low} on",
            block,
        )
    _reduction(block)
    for below in children(block):
        _check(below, inside)


def _reduction(block: Block) -> None:
    reduces = [it for it in block.iters if it.reduce]
    _require(
        block.init is None or bool(reduces),
        f"block {block.name}: an init must have a reduce axis, but got none", block)  # fmt: skip
    stores = [stmt for stmt in walk_stmt(block.body) if isinstance(stmt, Store)]
    updates = all(_updates(store) for store in stores) if reduces else True
    _require(
        not reduces or block.init is not None or updates or not stores,
        f"block {block.name}: a reduce axis must have an init or update what it stores, "
        "but got a plain store", block)  # fmt: skip


def _updates(store: Store) -> bool:
    """Whether the stored value depends on the value that it replaces."""
    reads = any(node.op == "load" and node.attr == store.buffer for node in walk(store.value))
    return reads or merge_of(store) is not None


def _store(store: Store, scope: _Scope) -> None:
    want = vector(store.buffer.type, store.value.type.lanes)
    _require(
        store.value.type == want,
        f"store: {store.buffer.name} takes {store.buffer.type}, but got {store.value.type}",
        store,
    )
    extent = (*(1 for _ in store.index[:-1]), want.lanes)[: len(store.index)]
    _place("store", store.buffer, store.index, extent, scope, store)
    for e in (*store.index, store.value):
        _expr(e, scope, store)


def _copy(copy: Copy, scope: _Scope) -> None:
    sizes = [int(np.prod(box.extent)) for box in (copy.target, copy.source)]
    _require(
        sizes[0] == sizes[1],
        f"copy: both boxes must have as many elements, but got {sizes[0]} and {sizes[1]}", copy,
    )  # fmt: skip
    kinds = [box.buffer.type for box in (copy.target, copy.source)]
    _require(
        kinds[0] == kinds[1],
        f"copy: both boxes must have one type, but got {kinds[0]} and {kinds[1]}", copy,
    )  # fmt: skip
    for box in (copy.target, copy.source):
        _region(box, scope, copy)


def _region(region: Region, scope: _Scope, place: Stmt) -> None:
    _place("copy", region.buffer, region.start, region.extent, scope, place)
    for e in region.start:
        _expr(e, scope, place)


def _condition(word: str, condition: Expr, scope: _Scope, place: Stmt) -> None:
    _require(
        condition.type == boolean,
        f"{word}: the condition must be one bool, but got {condition.type}",
        place,
    )
    _expr(condition, scope, place)


# Expressions --------------------------------------------------------------------------------


def _expr(root: Expr, scope: _Scope, place: Stmt) -> None:
    """Types by the op table, names in scope, loads within bounds where they are chosen."""
    if fault := _type_fault(root):
        raise VerifyError(fault, place)
    for node in free_vars(root) - scope.axes:
        raise VerifyError(f"name: {node} must be an axis around it", place)
    for gap in sorted(_holes(root), key=lambda gap: (gap.name, gap.low, gap.high)):
        first = scope.holes.setdefault(gap.name, gap)
        if first != gap:
            raise VerifyError(
                f"hole: {gap.name} must have one interval, but got {first.low}..{first.high} and "
                f"{gap.low}..{gap.high}", place)  # fmt: skip
    if loads(root):
        _loads(root, scope, place, _passed(root, scope))


_WITHIN: dict[object, set[Expr]] = {}  # by what is known: expressions whose loads stay in bounds


def _passed(root: Expr, scope: _Scope) -> set[Expr]:
    """Where to note what of ``root`` stays in bounds, for all functions in which as much is known:
    passes leave most as it is. What buffers hold is not told apart, so loaded indices are new."""
    if _indirect(root):
        return set()
    facts, buffers = scope.facts, tuple(scope.buffers.values())
    ranges, bindings = tuple(facts.ranges.items()), tuple(facts.bindings.items())
    known = scope.slack, buffers, ranges, bindings, facts.holds
    return _WITHIN.setdefault(known, set())


@cache
def _indirect(root: Expr) -> bool:
    return any(node.op == "load" and any(map(loads, node.args)) for node in walk(root))


@cache
def _holes(node: Expr) -> frozenset[Hole]:
    """The holes of an expression, whatever types they have."""
    if node.op == "hole":
        return frozenset((node.attr,))
    return frozenset().union(*map(_holes, node.args)) if node.args else frozenset()


@cache
def _type_fault(node: Expr) -> str | None:
    """The fault in the types of an expression, its operands first; None if there is none."""
    for arg in node.args:
        if fault := _type_fault(arg):
            return fault
    row = OPS.get(node.op)
    if row is None:
        return f"op: it must be a row of the op table, but got {node.op}"
    if node.op == "hole":
        return _hole_fault(node)
    if row.told:
        return None
    try:
        want = row.type_of(tuple(arg.type for arg in node.args), node.attr)
    except TypeError as fault:
        return f"{node.op}: {fault}"
    if node.type != want:
        return f"{node.op}: the result must be {want}, but got {node.type}"
    return None


def _hole_fault(node: Expr) -> str | None:
    gap, (least, most) = node.attr, type_range(node.type)
    if node.type.lanes == 1 and least <= gap.low <= gap.high <= most:
        return None
    return (
        f"hole: {gap.name} must be a scalar of an interval within its type, but got "
        f"{gap.low}..{gap.high} of {node.type}"
    )


def _loads(root: Expr, scope: _Scope, place: Stmt, passed: set[Expr]) -> None:
    if root in passed or not loads(root):
        return
    if root.op == "select" and root.type.lanes == 1:
        condition, yes, no = root.args
        _loads(condition, scope, place, passed)
        given = replace(scope, facts=scope.facts.given(condition))
        _loads(yes, given, place, _passed(root, given))
        given = _negated(scope, condition)
        _loads(no, given, place, _passed(root, given))
    else:
        for arg in root.args:
            _loads(arg, scope, place, passed)
        if root.op == "load":
            extent = (*(1 for _ in root.args[:-1]), root.type.lanes)[: len(root.args)]
            _place("load", root.attr, root.args, extent, scope, place)
    passed.add(root)


def _negated(scope: _Scope, condition: Expr) -> _Scope:
    """Where a comparison does not hold, the opposite one does."""
    opposite = {"lt": "le", "le": "lt"}.get(condition.op)
    if opposite is None:
        return scope
    a, b = condition.args
    return replace(scope, facts=scope.facts.given(Expr(opposite, condition.type, (b, a))))


def _place(
    word: str,
    buffer: Buffer,
    index: tuple[Expr, ...],
    extent: Iterable[int],
    scope: _Scope,
    place: Stmt,
) -> None:
    """A box within a buffer that is declared; boxes of copies stay where buffers become flat."""
    declared = scope.buffers.get(buffer.name)
    if declared != buffer:
        _declared(word, buffer, declared, place)
    if len(index) != len(buffer.shape):
        raise VerifyError(
            f"{word}: an index an axis of {buffer.name}{list(buffer.shape)} must be given, "
            f"but got {len(index)}", place)  # fmt: skip
    behind = scope.slack * 8 // buffer.type.bits if word == "load" and len(index) == 1 else 0
    for d, (at, size) in enumerate(zip(index, extent, strict=True)):
        if at.type != i32:
            raise VerifyError(f"{word}: an index must be i32, but got {at.type}", place)
        for node in walk(at) if loads(at) else ():
            if node.op == "load" and node.type.is_int:
                scope.facts.ranges.setdefault(node, scope.held(node.attr))
        got = scope.facts.reaches(at, 0, buffer.shape[d] + behind - size)
        if got is not None and not (scope.trusting and loads(at)):
            shown = f"{word}: axis {d} of {buffer.name} must be indexed"
            _outside((got[0], got[1] + size - 1), shown, 0, buffer.shape[d] - 1, place)


def _declared(word: str, buffer: Buffer, declared: Buffer | None, place: Stmt) -> None:
    if word == "copy" and declared == replace(buffer, shape=(buffer.size,)):
        return
    got = f"{declared.type}{list(declared.shape)} in {declared.scope}" if declared else ""
    raise VerifyError(
        f"{word}: {buffer.name} must be declared as it is used, but got {got or 'no declaration'}",
        place,
    )


def _outside(got: Interval | None, rule: str, low: int, high: int, place: Stmt) -> None:
    if got is not None:
        raise VerifyError(f"{rule} within {low}..{high}, but got {got[0]}..{got[1]}", place)
