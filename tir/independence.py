"""Which loops may run all their steps at once: no step reads or overwrites what another writes.

A loop is independent when every buffer that it writes is either kept apart (an index tells the
steps apart), or summed into (each step adds, or takes the minimum or maximum, and nothing else
looks). Used by the interpreter; a loop that is refused runs step by step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .bounds import Ranges
from .evaluate_expr import evaluate_expr, loads
from .expr import Expr, free_vars, substitute, walk
from .intervals import Interval
from .linear import Linear, sum_of
from .stmt import Alloc, Block, Buffer, Copy, For, If, Region, Seq, Stmt, Store, Wait

MERGES = {"add": np.add, "min": np.minimum, "max": np.maximum}


@dataclass(frozen=True, slots=True)
class Access:
    """One load or store: the index with blocks' axes replaced by their bindings."""

    buffer: Buffer
    index: tuple[Expr, ...]
    extent: tuple[int, ...]
    writes: bool
    merges: str = ""  # the op by which a store merges its value into the stored one
    reduces: tuple[Expr, ...] = ()  # reduce bindings of the block around, if it has an init


@dataclass(frozen=True, slots=True)
class _Site:
    """The blocks around an access: bindings of their axes, and the block's reduce bindings."""

    bindings: Mapping[Expr, Expr]
    reduces: tuple[Expr, ...] = ()


def independent(loop: For) -> bool:
    """Whether the steps of ``loop`` may run all at once."""
    found = accesses(loop.body)
    if found is None:
        return False
    inner = _ranges(loop.body)
    ranges: Ranges = {loop.axis: (0, loop.extent - 1), **inner}
    written = {access.buffer.name for access in found if access.writes}
    for name in written:
        mine = [access for access in found if access.buffer.name == name]
        if not (_apart(mine, loop, inner, ranges) or _merged(mine, loop)):
            return False
    return True


def merge_of(store: Store) -> tuple[str, Expr] | None:
    """``add`` and f of ``b[i] = b[i] + f``, where f reads no b; None for other stores."""
    op, value = store.value.op, store.value
    if op not in MERGES or (op == "add" and value.type.kind == "f"):
        return None
    own = _own(store)
    rest, found = [], 0
    for part in _parts(value, op):
        if part is own:
            found += 1
        elif store.buffer.name in loads(part):
            return None
        else:
            rest.append(part)
    if found != 1 or not rest:
        return None
    total = rest[0]
    for part in rest[1:]:
        total = Expr(op, value.type, (total, part))
    return op, total


def _own(store: Store) -> Expr:
    return Expr("load", store.value.type, store.index, store.buffer)


def _parts(value: Expr, op: str) -> Iterator[Expr]:
    """The operands of a chain of one op."""
    stack = [value]
    while stack:
        node = stack.pop()
        if node.op == op:
            stack.extend(reversed(node.args))
        else:
            yield node


# Accesses -----------------------------------------------------------------------------------


def accesses(body: Stmt) -> list[Access] | None:
    """All loads and stores of buffers that live longer than ``body``; None with asynchrony."""
    found: list[Access] = []
    return found if _collect(body, _Site({}), frozenset(), found) else None


def _collect(stmt: Stmt, site: _Site, local: frozenset[str], found: list[Access]) -> bool:
    match stmt:
        case Seq(stmts):
            return all([_collect(s, site, local, found) for s in stmts])
        case For(body=body):
            return _collect(body, site, local, found)
        case If(condition, then):
            _reads(condition, site, local, found)
            return _collect(then, site, local, found)
        case Alloc(buffer, body):
            return _collect(body, site, local | {buffer.name}, found)
        case Block():
            return _block(stmt, site, local, found)
        case Store():
            _store(stmt, site, local, found)
            return True
        case Copy(target, source, token):
            _region(target, True, site, local, found)
            _region(source, False, site, local, found)
            return not token
        case Wait():
            return False


def _block(block: Block, site: _Site, local: frozenset[str], found: list[Access]) -> bool:
    bindings = dict(site.bindings)
    for it in block.iters:
        bindings[it.axis] = substitute(it.binding, site.bindings)
        _reads(it.binding, site, local, found)
    reduces = tuple(bindings[it.axis] for it in block.iters if it.reduce)
    inside = _Site(bindings, reduces if block.init is not None else ())
    if block.where is not None:
        _reads(block.where, inside, local, found)
    if block.init is not None and not _collect(block.init, inside, local, found):
        return False
    return _collect(block.body, inside, local, found)


def _store(store: Store, site: _Site, local: frozenset[str], found: list[Access]) -> None:
    own = _own(store)
    merge = merge_of(store)
    for e in (*store.index, store.value):
        _reads(e, site, local, found, own if merge else None)
    if store.buffer.name not in local:
        index = tuple(substitute(e, site.bindings) for e in store.index)
        extent = (*(1 for _ in index[:-1]), store.value.type.lanes)[: len(index)]
        op = merge[0] if merge else ""
        found.append(Access(store.buffer, index, extent, True, op, site.reduces))


def _reads(
    e: Expr, site: _Site, local: frozenset[str], found: list[Access], but: Expr | None = None
) -> None:
    if loads(e) <= local:
        return
    for node in walk(e):
        if node.op == "load" and node.attr.name not in local and node is not but:
            index = tuple(substitute(arg, site.bindings) for arg in node.args)
            extent = (*(1 for _ in index[:-1]), node.type.lanes)[: len(index)]
            found.append(Access(node.attr, index, extent, False))


def _region(
    region: Region, writes: bool, site: _Site, local: frozenset[str], found: list[Access]
) -> None:
    if region.buffer.name not in local:
        start = tuple(substitute(e, site.bindings) for e in region.start)
        found.append(Access(region.buffer, start, region.extent, writes))


def _ranges(body: Stmt) -> dict[Expr, Interval]:
    """The axes of the loops below."""
    found: dict[Expr, Interval] = {}
    stack = [body]
    while stack:
        stmt = stack.pop()
        match stmt:
            case For(axis=axis, extent=extent, body=inner):
                found[axis] = (0, max(extent - 1, found.get(axis, (0, 0))[1]))
                stack.append(inner)
            case Seq(stmts):
                stack.extend(stmts)
            case Block(init=init, body=inner):
                stack.extend((inner,) if init is None else (init, inner))
            case If(then=inner) | Alloc(body=inner):
                stack.append(inner)
            case _:
                pass
    return found


# Tests --------------------------------------------------------------------------------------


def _apart(mine: list[Access], loop: For, inner: Mapping[Expr, Interval], ranges: Ranges) -> bool:
    """Some dimension, or some dimensions together, are different in different steps."""
    rank = len(mine[0].index)
    if any(_dimension_apart(mine, d, loop, inner, ranges) for d in range(rank)):
        return True
    same = [d for d in range(rank) if _is_function_of_step(mine, d, loop)]
    return bool(same) and _injective([mine[0].index[d] for d in same], loop)


def _dimension_apart(
    mine: list[Access], d: int, loop: For, inner: Mapping[Expr, Interval], ranges: Ranges
) -> bool:
    """All indices are c * axis + rest, and the rests of all accesses span less than c."""
    first: Linear | None = None
    lows, highs, coefficient = [], [], 0
    for access in mine:
        form = sum_of(access.index[d])
        fixed = form.only(lambda atom: _is_outer(atom, loop, inner))
        moving = {a: c for a, c in form.terms.items() if a not in fixed.terms}
        own = moving.pop(loop.axis, 0)
        if first is None:
            first, coefficient = fixed, own
        if not own or own != coefficient or fixed.terms != first.terms:
            return False
        if any(loop.axis in free_vars(atom) for atom in moving):
            return False
        low, high = Linear(moving, form.constant).range(ranges)
        lows.append(low)
        highs.append(high + access.extent[d] - 1)
    return max(highs) - min(lows) < abs(coefficient)


def _is_outer(atom: Expr, loop: For, inner: Mapping[Expr, Interval]) -> bool:
    return not loads(atom) and not any(v is loop.axis or v in inner for v in free_vars(atom))


def _is_function_of_step(mine: list[Access], d: int, loop: For) -> bool:
    index = mine[0].index[d]
    return (
        free_vars(index) == {loop.axis}
        and not loads(index)
        and all(a.index[d] is index and a.extent[d] == 1 for a in mine)
    )


def _injective(indices: list[Expr], loop: For) -> bool:
    steps = np.arange(loop.extent, dtype=np.int32)[:, None]
    rows = [evaluate_expr(e, {loop.axis.attr: steps})[:, 0] for e in indices]
    return len(np.unique(np.stack(rows, axis=1), axis=0)) == loop.extent


def _merged(mine: list[Access], loop: For) -> bool:
    """Every access merges by one op and nothing else looks; inits reset before the first step."""
    merges = [access for access in mine if access.merges]
    others = [access for access in mine if not access.merges]
    if not merges or len({access.merges for access in merges}) > 1:
        return False
    if not others and not any(access.reduces for access in merges):
        return True
    return all(a.writes and _resets_first(a, loop) for a in mine)


def _resets_first(access: Access, loop: For) -> bool:
    """The step moves the block's reduce axes only, and these are all at 0 in step 0 only."""
    if any(loop.axis in free_vars(e) for e in access.index):
        return False
    if any(_grows(binding, loop) for binding in access.reduces):
        return True
    alone = [e for e in access.reduces if free_vars(e) == {loop.axis} and not loads(e)]
    if not alone:
        return False
    steps = np.arange(loop.extent, dtype=np.int32)[:, None]
    values = [evaluate_expr(e, {loop.axis.attr: steps}) != 0 for e in alone]
    return bool(np.any(values, axis=0)[1:].all())


def _grows(binding: Expr, loop: For) -> bool:
    """``c * axis + rest`` with c > 0 and rest >= 0, so that it is 0 in step 0 only."""
    form = sum_of(binding)
    rest = dict(form.terms)
    own = rest.pop(loop.axis, 0)
    plain = all(atom.op == "var" and c > 0 for atom, c in rest.items())
    return own > 0 and form.constant >= 0 and plain
