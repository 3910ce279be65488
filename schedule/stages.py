"""Moving a producer to what reads it: below one of its loops, or into its expressions.

    for i: p[i] = f(i)                 compute_at("p", "i_0"):    for i_0: for i: p[i] = f(i)
    for i_0: for i_1: c[...] = p[...]                                     for i_1: c[...] = p[...]

    a[i] = x[i] * 3;  y[i] = a[i] + 1          compute_inline("a"):    y[i] = x[i] * 3 + 1

``compute_at`` makes the block's loops anew: a loop an iter, over the box that the others need.
Buffers keep their logical shape meanwhile; ``storage.compact`` shrinks them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..tir.expr import Expr, conjoin, conjuncts, const, free_vars, transform
from ..tir.linear import Linear
from ..tir.spell import show_expr
from ..tir.stmt import Block, For, Iter, LoopKind, Seq, Stmt, Store, seq
from ..tir.types import i32
from .block_forms import extents_of, is_map, is_reduction, read_in, store_of
from .boxes import Box, Span, box_of, check_whole, inside, start_of, union
from .errors import refusal
from .index import bounds, digits_of, simplify
from .new_nests import drop_buffer, replacing, rewritten
from .state import (
    BlockName,
    Loop,
    ScheduleState,
    domain_guard,
    is_domain_guard,
)
from .tree import Path, blocks_below, loop_at, loops_of, nest

Ranges = dict[Expr, tuple[Expr, int]]  # iter -> start over the outer loops, extent


def compute_at(state: ScheduleState, block: BlockName, loop: Loop) -> None:
    """Moves a producer below a loop of its consumers, for the part that is needed there."""
    producer, path = state.block(block)
    target = state.loop(loop)
    at = loop_at(target)
    buffer = _moved_output(state, producer)
    if not (is_map(producer) or (is_reduction(producer) and producer.init is not None)):
        rule = "the block must be a map or a reduction with an init, for it may run more than once"
        raise refusal(rule, f"{producer.name}, which is neither", producer)
    readers = state.readers(buffer)
    inside = {b.name for b in blocks_below(at.body)}
    strangers = [b.name for b, _ in readers if b.name not in inside]
    if strangers or not readers:
        came = f"{', '.join(strangers)} outside" if strangers else "no consumer"
        raise refusal("all consumers must stand below the loop", came, at)
    check_inputs(state, producer)
    for consumer, _ in readers:
        _check_init(consumer, buffer, loops_of(target))
    outer = [node.axis for node in loops_of(target)]
    boxes = [
        box_of(access, consumer, outer, state)
        for consumer, _ in readers
        for access in state.accesses(consumer).reads_of(buffer)
    ]
    shape = state.buffer(buffer).shape
    need = tuple(union([box[d] for box in boxes], size) for d, size in enumerate(shape))
    index = state.accesses(producer).writes[0].index
    ranges = ranges_for(producer.iters, index, need)
    names = {b.name for b, _ in readers}
    _check_ready(state, producer, at, names)
    fresh = renest(state, producer, ranges)
    _move(state, path, str(at.axis.attr), fresh, names)


def _moved_output(state: ScheduleState, block: Block) -> str:
    """The local buffer that only ``block`` writes."""
    names = state.accesses(block).written
    name = min(names)
    writers = [b.name for b, _ in state.writers(name)]
    if len(names) > 1 or writers != [block.name]:
        came = f"{', '.join(writers)}, which write {', '.join(sorted(names))}"
        raise refusal("the block must be the only writer of one buffer", came, block)
    if not state.is_local(name):
        raise refusal("a result of the function must be computed whole", name, block,
                      "Use cache_write first.")  # fmt: skip
    return name


def _parts(at: For) -> list[Stmt]:
    return list(at.body.stmts) if isinstance(at.body, Seq) else [at.body]


def _check_ready(state: ScheduleState, producer: Block, at: For, consumers: set[str]) -> None:
    """Buffers that the producer reads must be made before its first consumer's part of the loop."""
    inputs = state.accesses(producer).inputs
    reached = False
    for part in _parts(at):
        blocks = list(blocks_below(part))
        reached = reached or any(b.name in consumers for b in blocks)
        for block in blocks if reached else ():
            late = sorted(state.accesses(block).written & inputs)
            if late and block.name != producer.name:
                rule = "the inputs must be made before the consumer's part of the loop"
                came = f"{late[0]}, which {block.name} writes"
                raise refusal(rule, came, at)


def _check_init(consumer: Block, buffer: str, loops: Sequence[For]) -> None:
    """An init runs before the reduction's loops, so its inputs must be made outside them."""
    if buffer in read_in(consumer.init):
        for it in consumer.iters:
            late = [loop for loop in loops if it.reduce and loop.axis in free_vars(it.binding)]
            if late:
                raise refusal("what an init reads must be made outside the reduction",
                              f"{buffer} below {late[-1].axis.attr}", late[-1],
                              "Take a loop outside the reduction.")  # fmt: skip


def check_inputs(state: ScheduleState, block: Block) -> None:
    """All writers of buffers that ``block`` reads must come before it."""
    inputs = state.accesses(block).inputs
    before = True
    for other, _ in state.placed():
        changed = sorted(state.accesses(other).written & inputs)
        if other.name == block.name:
            before = False
        elif changed and not before:
            came = f"{changed[0]}, which {other.name} writes"
            raise refusal("the inputs must not change after the block", came, block)


def ranges_for(iters: Sequence[Iter], index: Sequence[Expr], box: Box) -> Ranges:
    """For each spatial iter the range whose elements fill ``box``, or a little more."""
    extents = extents_of(iters)
    parts: dict[Expr, list[tuple[int, int, Span]]] = {}
    for expr, span in zip(index, box, strict=True):
        found = digits_of(expr, extents)
        digits = [] if found is None else [d for d in found[0] if d.extent > 1] or found[0]
        if span is None or found is None or len(digits) != 1:
            continue
        digit = digits[0]
        if digit.coefficient == 1 and digit.base.op == "var":
            shift = Span(span.start.shifted(-found[1]), span.extent, span.dense)
            parts.setdefault(digit.base, []).append((digit.low, digit.extent, shift))
    ranges: Ranges = {}
    for it in iters:
        span = _joined(parts.get(it.axis, []), it.extent)
        if it.reduce or span is None:
            ranges[it.axis] = const(0, i32), it.extent
        else:
            span = inside(span, it.extent)
            ranges[it.axis] = start_of(span), span.extent
    return ranges


def _joined(parts: list[tuple[int, int, Span]], extent: int) -> Span | None:
    """The span of an axis from the spans of its digits (low, extent, span): from the top one down
    while each is a single value; what lies below is taken whole."""
    total: Span | None = None
    position, top = Linear({}, 0), extent
    for low, size, span in sorted(parts, key=lambda part: -part[0]):
        if low * size < top or low > top:
            break  # a digit between is not known
        whole = not span.start.terms and span.start.constant == 0 and span.extent >= size
        if whole and total is not None:
            break  # a lower digit, all of it
        position, top = position.plus(span.start, low), low
        total = Span(position, span.extent * low, True)
        if span.extent > 1:
            break
    return total


def renest(state: ScheduleState, block: Block, ranges: Ranges) -> Stmt:
    """``block`` under new loops, one for each iter."""
    check_whole(block, state)
    loops, iters = [], []
    for it in block.iters:
        start, extent = ranges[it.axis]
        axis = state.axis(f"{block.name}_{it.axis.attr}", extent)
        loops.append(For(axis, extent, LoopKind.SERIAL, block))
        iters.append(replace(it, binding=simplify(start + axis, state.extents)))
    for part in conjuncts(block.where):
        if not is_domain_guard(part, block.iters):
            raise refusal("the guards must only keep iters in their range", show_expr(part), block)
    guards = [part for it in iters for part in domain_guard(it, state.extents)]
    return nest(loops, replace(block, iters=tuple(iters), where=conjoin(guards)))


def _move(state: ScheduleState, path: Path, loop: str, fresh: Stmt, readers: set[str]) -> None:
    """Takes the block at ``path`` away and puts ``fresh`` before its readers below ``loop``."""
    state.swap(path, None)
    target = state.loop(loop)
    at = loop_at(target)
    parts = _parts(at)
    place = next(k for k, s in enumerate(parts) if any(b.name in readers for b in blocks_below(s)))
    parts.insert(place, fresh)
    state.swap(target, replace(at, body=seq(*parts)))


# Inlining ----------------------------------------------------------------------------------------


def compute_inline(state: ScheduleState, block: BlockName) -> None:
    """Puts a map's value into its consumers; block and buffer are gone."""
    producer, path = state.block(block)
    store = _map_store(state, producer)
    name = store.buffer.name
    if not state.is_local(name):
        raise refusal("a result of the function cannot be inlined", name, producer)
    axes = _plain_axes(producer, store.index)
    check_inputs(state, producer)
    readers = [b for b, _ in state.readers(name)]
    if not readers:
        raise refusal("the block must have a consumer", "none", producer)
    state.check_elements(name)
    for reader in readers:
        if _reads_beyond(state, reader, name, axes, producer):
            raise refusal("the block must store all that is read", reader.name, producer)
        _, at = state.block(reader.name)
        state.swap(at, _inlined(state, reader, producer, axes, store))
    _, path = state.block(block)
    state.swap(path, None)
    drop_buffer(state, name)


def _reads_beyond(
    state: ScheduleState, reader: Block, name: str, axes: list[Expr | None], producer: Block
) -> bool:
    """Whether the reader takes in elements that nobody stores."""
    known, extents = state.ranges(reader), extents_of(producer.iters)
    for access in state.accesses(reader).reads_of(name):
        for axis, expr in zip(axes, access.index, strict=True):
            _, high = bounds(expr, known)
            if axis is not None and high >= extents[axis]:
                return True
    return False


def _map_store(state: ScheduleState, block: Block) -> Store:
    store = store_of(block)
    guards = [p for p in conjuncts(block.where) if not is_domain_guard(p, block.iters)]
    if store is None or not is_map(block) or guards:
        raise refusal("the block must store each element once, from its iters alone",
                      f"{block.name}, which does not", block)  # fmt: skip
    writers = [b.name for b, _ in state.writers(store.buffer.name)]
    if writers != [block.name]:
        raise refusal("the block must be the only writer of its buffer", ", ".join(writers), block)
    return store


def _plain_axes(block: Block, index: tuple[Expr, ...]) -> list[Expr | None]:
    """The iter that each dimension of ``index`` is; None where it is the constant 0."""
    known = {it.axis for it in block.iters}
    axes: list[Expr | None] = []
    for expr in index:
        if expr not in known and not (expr.is_const and expr.attr == 0):
            raise refusal("each index must be an iter", show_expr(expr), block,
                          "Use it before transform_layout.")  # fmt: skip
        axes.append(expr if expr in known else None)
    return axes


def _inlined(
    state: ScheduleState, reader: Block, producer: Block, axes: list[Expr | None], store: Store
) -> Block:
    """``reader`` with the producer's value for each load of its buffer."""
    extents, zero = state.ranges(reader), const(0, i32)

    def change(node: Expr) -> Expr | None:
        if node.op != "load" or node.attr != store.buffer:
            return None
        values = {it.axis: zero for it in producer.iters}  # iters of one step have no index
        values |= {a: e for a, e in zip(axes, node.args, strict=True) if a is not None}
        return transform(store.value, replacing(values, extents))

    return rewritten(reader, change)
