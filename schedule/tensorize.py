"""Claims of instructions: a block's lanes must compute what the instruction's body says.

    sch.vectorize(o, c)                       32 x 4 lanes of  acc += u8 * u8
    sch.tensorize("conv", "vrmpyub_acc")      acc + group_sum(cast(i32, a) * cast(i32, tile(r)), 4)

Both sides are written out lane by lane as scalar expressions and matched: each lane of an operand
must stand for one element, the same in all result lanes. The claim is left as a note; selection
finds the instruction by itself, and a test may hold it to the claim.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from ..target.dsp.instructions import TABLE
from ..target.instruction import Instruction
from ..tir.expr import Expr, cast, const, make, transform, var, walk
from ..tir.ops import OPS
from ..tir.script.show import show_expr
from ..tir.stmt import Block, For, LoopKind
from ..tir.types import i32
from .annotate import annotate
from .blocks import reduction_of, store_of
from .errors import refusal
from .index import axes_in, simplify
from .region import bind, bindings_of
from .state import BlockName, State
from .tree import Path

Lanes = list[Expr]
_PLAIN = {"widening_mul": "mul", "widening_add": "add", "widening_sub": "sub"}


def tensorize(state: State, block: BlockName, instruction: Instruction | str) -> None:
    """Checks that the vectorized loops of ``block`` compute one ``instruction``, and notes it."""
    node, path = state.block("tensorize", block)
    row = TABLE.get(instruction) if isinstance(instruction, str) else instruction
    if row is None or row.body is None:
        raise refusal("tensorize", "the instruction must be a row with a body", repr(instruction))
    ours = _block_lanes(state, node, path)
    theirs = _lanes(row.body)
    if theirs is None:
        raise refusal("tensorize", "the body must be lane arithmetic", show_expr(row.body), node)
    if len(ours) != len(theirs):
        raise refusal("tensorize", "block and instruction must have as many result lanes",
                      f"{len(ours)} lanes for the {len(theirs)} of {row.name}", node)  # fmt: skip
    tries = [_first_fault(theirs, ours, roles) for roles in _roles(row.body, ours)]
    if None not in tries:
        k = max((fault for fault in tries if fault is not None), default=0)
        raise refusal("tensorize", f"lane {k} must compute {show_expr(theirs[k])} of {row.name}",
                      show_expr(ours[k]), node)  # fmt: skip
    annotate(state, node.name, "instruction", row.name)


# The block's lanes --------------------------------------------------------------------------


def _block_lanes(state: State, block: Block, path: Path) -> Lanes:
    """The values that one run of the innermost vectorized loops stores, lane by lane."""
    store = store_of(block)
    if store is None:
        raise refusal("tensorize", "the block's body must be one store", block.name, block)
    loops: list[For] = []
    for node in reversed(path[:-1]):
        if not isinstance(node, For) or node.kind is not LoopKind.VECTORIZED:
            break
        loops.insert(0, node)
    reducing = frozenset[Expr]().union(*(axes_in(it.binding) for it in block.iters if it.reduce))
    spatial = [loop for loop in loops if loop.axis not in reducing]
    reduce = [loop for loop in loops if loop.axis in reducing]
    found = reduction_of(block)
    if found is None or not reduce:
        return [_at(state, block, store.value, values) for values in _values(spatial)]
    lanes = []
    for values in _values(spatial):
        terms = [_at(state, block, found.value, {**values, **more}) for more in _values(reduce)]
        own = Expr("load", found.value.type, found.index, found.buffer)
        lanes.append(make("add", _at(state, block, own, values), _sum(terms)))
    return lanes


def _values(loops: Sequence[For]) -> list[dict[Expr, Expr]]:
    """The values of the loops, row-major."""
    axes = [loop.axis for loop in loops]
    points = product(*(range(loop.extent) for loop in loops))
    return [dict(zip(axes, (const(p, i32) for p in point), strict=True)) for point in points]


def _at(state: State, block: Block, expr: Expr, values: dict[Expr, Expr]) -> Expr:
    """``expr`` where some loops have values, elements of buffers as canonical loads."""
    bindings = {axis: bind(e, values) for axis, e in bindings_of(block).items()}

    def change(node: Expr) -> Expr | None:
        if node.op == "var":
            return bindings.get(node)
        if node.op == "load":
            index = tuple(simplify(e, state.extents) for e in node.args)
            return Expr("load", node.type, index, node.attr)
        return None

    return transform(expr, change)


# The instruction's lanes --------------------------------------------------------------------


def _lanes(body: Expr) -> Lanes | None:
    """``body`` lane by lane over variables ``operand@lane``; None beyond lane arithmetic."""
    args = [_lanes(arg) for arg in body.args]
    if any(arg is None for arg in args):
        return None
    given = [arg for arg in args if arg is not None]
    count, element = body.type.lanes, body.type.element
    match body.op:
        case "var":
            return [var(f"{body.attr}@{k}", element) for k in range(count)]
        case "const":
            return [const(body.attr, element)] * count
        case "cast" | "sat_cast":
            return [Expr(body.op, element, (lane,)) for lane in given[0]]
        case "group_sum":
            return [_sum(given[0][k * body.attr : (k + 1) * body.attr]) for k in range(count)]
        case "tile":
            return given[0] * int(body.attr)
        case "repeat":
            return [lane for lane in given[0] for _ in range(body.attr)]
        case "concat":
            return [lane for part in given for lane in part]
        case "interleave":
            return [part[k] for k in range(len(given[0])) for part in given]
        case "deinterleave":
            part, ways = body.attr
            return given[0][part::ways]
        case "slice":
            start = body.attr[0]
            return given[0][start : start + count]
    if body.op in ("lookup", "reinterpret", "load", "call") or body.op not in OPS:
        return None
    if body.op in _PLAIN:
        return [make(_PLAIN[body.op], *(cast(element, lane) for lane in lanes))
                for lanes in zip(*given, strict=True)]  # fmt: skip
    return [make(body.op, *lanes, attr=body.attr) for lanes in zip(*given, strict=True)]


def _sum(lanes: Lanes) -> Expr:
    total = lanes[0]
    for lane in lanes[1:]:
        total = make("add", total, lane)
    return total


# Matching -----------------------------------------------------------------------------------


Roles = dict[str, str]  # operand -> buffer


def _roles(body: Expr, ours: Lanes) -> Iterator[Roles]:
    """The ways to let each operand be a buffer."""
    operands = sorted({str(v.attr) for v in axes_in(body)})
    buffers = sorted({n.attr.name for lane in ours for n in walk(lane) if n.op == "load"})
    for chosen in product(buffers, repeat=len(operands)):
        yield dict(zip(operands, chosen, strict=True))


def _first_fault(theirs: Lanes, ours: Lanes, roles: Roles) -> int | None:
    """The first lane that does not match under ``roles``."""
    known: dict[Expr, Expr] = {}
    for k, (want, have) in enumerate(zip(theirs, ours, strict=True)):
        if not _match(want, have, known, roles):
            return k
    return None


def _match(want: Expr, have: Expr, known: dict[Expr, Expr], roles: Roles) -> bool:
    """Whether ``have`` is ``want`` for some elements in the place of operands' lanes; ``known``
    grows by them when it is."""
    if want.op == "var":
        if have.type != want.type or have.op != "load":
            return False
        if roles[str(want.attr).split("@")[0]] != have.attr.name:
            return False
        return known.setdefault(want, have) is have
    if want.op != have.op or want.type != have.type or want.attr != have.attr:
        return False
    orders = [have.args]
    if OPS[want.op].commutes:
        orders.append(have.args[::-1])
    for order in orders:
        trial = dict(known)
        pairs = zip(want.args, order, strict=True)
        if len(order) == len(want.args) and all(_match(a, b, trial, roles) for a, b in pairs):
            known.update(trial)
            return True
    return False
