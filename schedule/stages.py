"""Moving whole blocks: compute_at, reverse_compute_at, and inlining.

    for i: p[i] = f(i)                 compute_at("p", "i_0"):    for i_0: for i: p[i] = f(i)
    for i_0: for i_1: c[...] = p[...]                                     for i_1: c[...] = p[...]

The block's loops are made anew: a loop an iter, over the box that the others need or have made.
Buffers keep their logical shape meanwhile; ``storage.compact`` shrinks them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..tir.expr import Expr, const
from ..tir.linear import Linear
from ..tir.script.show import show_expr
from ..tir.stmt import Block, For, Iter, LoopKind, Seq, Stmt, seq
from ..tir.types import i32
from .blocks import extents_of, init_reads, is_map, is_reduction
from .errors import refusal
from .index import axes_in, digits_of, simplify
from .region import Box, Span, box_of, check_whole, inside, joined_box, separated, start_of, union
from .state import (
    BlockName,
    Loop,
    State,
    conjoin,
    conjuncts,
    domain_guard,
    is_domain_guard,
)
from .tree import Path, blocks_below, loop_at, loops_of, nest

Ranges = dict[Expr, tuple[Expr, int]]  # iter -> start over the outer loops, extent


def compute_at(state: State, block: BlockName, loop: Loop) -> None:
    """Moves a producer below a loop of its consumers, for the part that one iteration needs."""
    producer, path = state.block("compute_at", block)
    target = state.loop("compute_at", loop)
    at = loop_at(target)
    buffer = _moved_output("compute_at", state, producer, at)
    if not (is_map(producer) or (is_reduction(producer) and producer.init is not None)):
        rule = "the block must be a map or a reduction with an init, for it may run more than once"
        raise refusal("compute_at", rule, f"{producer.name}, which is neither", producer)
    readers = state.readers(buffer)
    inside = {b.name for b in blocks_below(at.body)}
    strangers = [b.name for b, _ in readers if b.name not in inside]
    if strangers or not readers:
        came = f"{', '.join(strangers)} outside" if strangers else "no consumer"
        raise refusal("compute_at", "all consumers must stand below the loop", came, at)
    check_inputs("compute_at", state, producer)
    for consumer, _ in readers:
        _check_init(consumer, buffer, loops_of(target))
    outer = [node.axis for node in loops_of(target)]
    boxes = [
        box_of(access, consumer, outer, state)
        for consumer, _ in readers
        for access in state.accesses(consumer).reads_of(buffer)
    ]
    shape = state.buffer("compute_at", buffer).shape
    need = tuple(union([box[d] for box in boxes], size) for d, size in enumerate(shape))
    index = state.accesses(producer).writes[0].index
    ranges = ranges_for(producer.iters, index, need)
    names = {b.name for b, _ in readers}
    _check_ready(state, producer, at, names)
    fresh = renest(state, producer, ranges)
    _move(state, path, str(at.axis.attr), fresh, names, before=True)


def _moved_output(operation: str, state: State, block: Block, at: For) -> str:
    """The local buffer that only ``block`` writes."""
    if any(b.name == block.name for b in blocks_below(at.body)) and operation != "compute_at":
        raise refusal(operation, "the block must not stand below the loop yet",
                      f"{block.name} below it", at)  # fmt: skip
    names = state.accesses(block).written
    name = min(names)
    writers = [b.name for b, _ in state.writers(name)]
    if len(names) > 1 or writers != [block.name]:
        came = f"{', '.join(writers)}, which write {', '.join(sorted(names))}"
        raise refusal(operation, "the block must be the only writer of one buffer", came, block)
    if operation == "compute_at" and not state.is_local(name):
        raise refusal(operation, "a result of the function must be computed whole", name, block,
                      "Use cache_write first, or reverse_compute_at.")  # fmt: skip
    return name


def _parts(at: For) -> list[Stmt]:
    return list(at.body.stmts) if isinstance(at.body, Seq) else [at.body]


def _check_ready(state: State, producer: Block, at: For, consumers: set[str]) -> None:
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
                raise refusal("compute_at", rule, came, at)


def _check_init(consumer: Block, buffer: str, loops: Sequence[For]) -> None:
    """An init runs before the reduction's loops, so its inputs must be made outside them."""
    if buffer in init_reads(consumer):
        for it in consumer.iters:
            late = [loop for loop in loops if it.reduce and loop.axis in axes_in(it.binding)]
            if late:
                raise refusal("compute_at", "what an init reads must be made outside the reduction",
                              f"{buffer} below {late[-1].axis.attr}", late[-1],
                              "Take a loop outside the reduction.")  # fmt: skip


def check_inputs(operation: str, state: State, block: Block) -> None:
    """All writers of buffers that ``block`` reads must come before it."""
    inputs = state.accesses(block).inputs
    before = True
    for other, _ in state.placed():
        changed = sorted(state.accesses(other).written & inputs)
        if other.name == block.name:
            before = False
        elif changed and not before:
            came = f"{changed[0]}, which {other.name} writes"
            raise refusal(operation, "the inputs must not change after the block", came, block)


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
            shift = Span(span.start.plus(Linear({}, -found[1])), span.extent, span.dense)
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


def renest(state: State, block: Block, ranges: Ranges) -> Stmt:
    """``block`` under new loops, one for each iter."""
    check_whole("compute_at", block, state)
    loops, iters = [], []
    for it in block.iters:
        start, extent = ranges[it.axis]
        axis = state.axis(f"{block.name}_{it.axis.attr}", extent)
        loops.append(For(axis, extent, LoopKind.SERIAL, block))
        iters.append(replace(it, binding=simplify(start + axis, state.extents)))
    for part in conjuncts(block.where):
        if not is_domain_guard(part, block.iters):
            raise refusal("compute_at", "the guards must only keep iters in their range",
                          show_expr(part), block)  # fmt: skip
    guards = [part for it in iters for part in domain_guard(it, state.extents)]
    return nest(loops, replace(block, iters=tuple(iters), where=conjoin(guards)))


def _move(state: State, path: Path, loop: str, fresh: Stmt, others: set[str], before: bool) -> None:
    """Takes the block at ``path`` away and puts ``fresh`` beside the others below ``loop``."""
    for node in loops_of(path):
        state.gone[str(node.axis.attr)] = "its block"
    state.swap(path, None)
    target = state.loop("compute_at", loop)
    for node in loops_of(target):
        state.gone.pop(str(node.axis.attr), None)
    at = loop_at(target)
    parts = _parts(at)
    with_other = [k for k, s in enumerate(parts) if any(b.name in others for b in blocks_below(s))]
    place = with_other[0] if before else with_other[-1] + 1
    parts.insert(place, fresh)
    state.swap(target, replace(at, body=seq(*parts)))


def reverse_compute_at(state: State, block: BlockName, loop: Loop) -> None:
    """Moves a consumer below a loop of its producers, for the part that one iteration makes."""
    operation = "reverse_compute_at"
    consumer, path = state.block(operation, block)
    target = state.loop(operation, loop)
    at = loop_at(target)
    output = _moved_output(operation, state, consumer, at)
    if not (is_map(consumer) or is_reduction(consumer)):
        raise refusal(operation, "the block must be a map or a reduction",
                      f"{consumer.name}, which is neither", consumer)  # fmt: skip
    outer = [node.axis for node in loops_of(target)]
    made = _made_below(state, consumer, at, outer)
    if not made:
        raise refusal(operation, "a producer of the block must stand below the loop",
                      ", ".join(sorted(state.accesses(consumer).read)),
                      at)  # fmt: skip
    _check_between(state, consumer, output, at)
    ranges = _ranges_made(state, consumer, made)
    fresh = renest(state, consumer, ranges)
    _check_made(state, consumer, fresh, made, outer, at)
    makers = {b.name for b in blocks_below(at.body) if made.keys() & state.accesses(b).written}
    _move(state, path, str(at.axis.attr), fresh, makers, before=False)


def _made_below(state: State, consumer: Block, at: For, outer: list[Expr]) -> dict[str, Box]:
    """Buffers that the block reads and blocks below ``at`` write: what one iteration writes."""
    parts: dict[str, list[Box]] = {}
    inputs = state.accesses(consumer).inputs
    for block in blocks_below(at.body):
        for access in state.accesses(block).writes:
            if access.buffer.name not in inputs:
                continue
            late = [it.axis for it in block.iters if it.reduce and any(
                axis in outer for axis in axes_in(it.binding))]  # fmt: skip
            if late:
                raise refusal("reverse_compute_at", "the producer must be complete below the loop",
                              f"{block.name}, whose reduction {late[0].attr} runs outside", at,
                              "Take a loop outside all reductions.")  # fmt: skip
            box = box_of(access, block, outer, state)
            parts.setdefault(access.buffer.name, []).append(box)
    made = {name: joined_box(boxes) for name, boxes in parts.items()}
    for name in made:
        strangers = {b.name for b, _ in state.writers(name)} - {
            b.name for b in blocks_below(at.body)
        }
        if strangers:
            raise refusal("reverse_compute_at", "all producers must stand below the loop",
                          f"{', '.join(sorted(strangers))} outside", at)  # fmt: skip
    return made


def _check_between(state: State, consumer: Block, output: str, at: For) -> None:
    """Nothing that the move crosses may write the block's inputs or read its result."""
    operation = "reverse_compute_at"
    inside = [b.name for b in blocks_below(at.body)]
    inputs = state.accesses(consumer).read - {output}
    seen = False
    for block, _ in state.placed():
        if block.name == consumer.name:
            if not seen:
                break
            return
        accesses = state.accesses(block)
        seen = seen or block.name in inside
        crossed = seen and block.name not in inside
        if crossed and inputs & accesses.written:
            raise refusal(operation, "all inputs must be ready where the block goes",
                          f"{block.name}, which writes one later", consumer)  # fmt: skip
        if accesses.touch(output):
            raise refusal(operation, "the result must not be touched before the block",
                          f"{block.name}, which touches {output}", consumer)  # fmt: skip
    raise refusal(operation, "the block must come after its producers",
                  f"{consumer.name} before them", consumer)  # fmt: skip


def _ranges_made(state: State, consumer: Block, made: dict[str, Box]) -> Ranges:
    """The iters' ranges by the first input that is read element by element."""
    first = next(a for a in state.accesses(consumer).reads if a.buffer.name in made)
    spatial = [replace(it, reduce=False) for it in consumer.iters]
    return ranges_for(spatial, first.index, made[first.buffer.name])


def _check_made(
    state: State, consumer: Block, fresh: Stmt, made: dict[str, Box], outer: list[Expr], at: For
) -> None:
    """Each read of the new instances must lie in what the iteration has made."""
    block = next(blocks_below(fresh))
    for access in state.accesses(consumer).reads:
        box = made.get(access.buffer.name)
        if box is None:
            continue
        read = box_of(access, block, outer, state)
        pairs = zip(box, read, access.buffer.shape, strict=True)
        if not all(w is not None and inside(w, n).covers(inside(r, n)) for w, r, n in pairs):
            shown = ", ".join(show_expr(e) for e in access.index)
            raise refusal("reverse_compute_at", "an iteration must read only what it has made, "
                          "element by element", f"{access.buffer.name}[{shown}]", at)  # fmt: skip
        axes = {axis: state.extents[axis] for axis in outer}
        if _in_parts(block, outer) and not separated([box], axes):
            raise refusal("reverse_compute_at", "a reduction must meet each element once",
                          f"{access.buffer.name}, made more than once", at)  # fmt: skip


def _in_parts(block: Block, outer: Sequence[Expr]) -> bool:
    """Whether a reduction is spread over the iterations of ``outer``."""
    return any(it.reduce and axes_in(it.binding) & set(outer) for it in block.iters) or (
        is_reduction(block) and block.init is None
    )
