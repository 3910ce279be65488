"""A function brought into the form that schedules keep: unique loop names, closed blocks."""

from __future__ import annotations

from ..tir.expr import free_vars
from ..tir.stmt import For, PrimFunc, Stmt, Store, walk_stmt
from .boxes import runs_whole
from .errors import refusal
from .state import ScheduleState, renamed
from .tree import below, blocks_below


def prepare(func: PrimFunc) -> ScheduleState:
    """The state of a fresh schedule; later loops of a name are renamed ``name_2`` and so on."""
    state = ScheduleState(func)
    state.names.update(b.name for b in blocks_below(func.body))
    state.names.update(p.name for p in func.params)
    state.names.update(b.name for b in state.locals())
    _check_blocks(func.body)
    state.body = renamed(func.body, {}, state)
    state.partial = frozenset(b.name for b, _ in state.placed() if not runs_whole(b, state))
    return state


def _check_blocks(root: Stmt) -> None:
    """Every store is in a block of its own name, and blocks mention only their own iters."""
    seen: set[str] = set()
    for block in blocks_below(root):
        if block.name in seen:
            raise refusal("each block must have a name of its own", f"{block.name} twice", block)
        seen.add(block.name)
        known = {it.axis for it in block.iters}
        known |= {n.axis for n in walk_stmt(block) if isinstance(n, For)}
        for stmt in walk_stmt(block):
            if isinstance(stmt, Store):
                for expr in (*stmt.index, stmt.value):
                    if strange := free_vars(expr) - known:
                        names = ", ".join(sorted(str(v.attr) for v in strange))
                        raise refusal("a block must speak of its iters only", names,
                                      block, "Bind an iter to the loop.")  # fmt: skip
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Store):
            raise refusal("each store must stand in a block",
                          f"a store to {node.buffer.name} outside")  # fmt: skip
        stack.extend(below(node))
