"""The printed form of the IR: Python source that ``parse`` reads back to equal nodes.

Expressions are written by ``tir/spell.py``, statements here. A value that is shared and large gets
a name (``t0 = ...``) before the store that uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from ..expr import Expr, walk
from ..spell import show_expr, show_index
from ..stmt import (
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
    walk_stmt,
)
from ..types import i32, vector

LARGE = 200  # nodes of an expanded tree above which shared values get names

Names = dict[Expr, str]


def show(func: PrimFunc) -> str:
    """``func`` as a decorated Python function; constants and attributes are no part of it."""
    params = ", ".join(f"{p.name}: Buffer[{_buffer(p)}]" for p in func.params)
    lines = ["@prim_func", f"def {func.name}({params}):"]
    return "\n".join([*lines, *_suite(func.body, 1, _fresh_prefix(func.body, func.params))]) + "\n"


def show_stmt(stmt: Stmt) -> str:
    """``stmt`` as lines of source, without indentation outside."""
    return "\n".join(_stmt(stmt, 0, True, _fresh_prefix(stmt)))


# Statements ---------------------------------------------------------------------------------


def _suite(stmt: Stmt, depth: int, fresh: str) -> list[str]:
    lines = _stmt(stmt, depth, True, fresh)
    return lines or ["    " * depth + "pass"]


def _stmt(stmt: Stmt, depth: int, last: bool, fresh: str) -> list[str]:
    """``last``: nothing follows in this suite, so that a buffer's life may end with it."""
    pad = "    " * depth

    def suite(head: str, body: Stmt) -> list[str]:
        return [f"{pad}{head}:", *_suite(body, depth + 1, fresh)]

    match stmt:
        case Seq(stmts):
            end = len(stmts) - 1
            return [
                line
                for i, s in enumerate(stmts)
                for line in _stmt(s, depth, last and i == end, fresh)
            ] or [f"{pad}pass"]
        case For(axis, extent, kind, body):
            notes = _notes(stmt.annotations)
            return suite(f"for {axis.attr} in {kind.value}({extent}{notes})", body)
        case If(condition, then):
            return suite(f"if {show_expr(condition)}", then)
        case Alloc(buffer, body) if last:
            head = f"{pad}{buffer.name} = alloc({_buffer(buffer)})"
            return [head, *_stmt(body, depth, True, fresh)]
        case Alloc(buffer, body):
            return suite(f"with alloc({_buffer(buffer)}) as {buffer.name}", body)
        case Block():
            notes = _notes(stmt.annotations)
            return [f'{pad}with block("{stmt.name}"{notes}):', *_block(stmt, depth + 1, fresh)]
        case Store():
            return [pad + line for line in _store(stmt, fresh)]
        case Copy(target, source, token):
            more = f', token="{token}"' if token else ""
            return [f"{pad}copy({_region(target)}, {_region(source)}{more})"]
        case Wait(token):
            return [f'{pad}wait("{token}")']


def _notes(annotations: tuple[tuple[str, object], ...]) -> str:
    return "".join(f", {name}={value!r}" for name, value in annotations)


def _block(block: Block, depth: int, fresh: str) -> list[str]:
    pad = "    " * depth
    lines = []
    for it in block.iters:
        kind = "reduce" if it.reduce else "spatial"
        lines.append(f"{pad}{it.axis.attr} = {kind}({it.extent}, {show_expr(it.binding, i32)})")
    if block.where is not None:
        lines.append(f"{pad}where({show_expr(block.where)})")
    if block.init is not None:
        lines += [f"{pad}with init():", *_suite(block.init, depth + 1, fresh)]
    return lines + _suite(block.body, depth, fresh)


def _store(store: Store, fresh: str) -> Iterator[str]:
    names: Names = {}
    for node in _worth_a_name((*store.index, store.value)):
        text = show_expr(node, names=names)
        names[node] = f"{fresh}{len(names)}"
        yield f"{names[node]} = {text}"
    lanes = store.value.type.lanes
    where = show_index(store.index, (1,) * len(store.index), lanes, names)
    value = show_expr(store.value, vector(store.buffer.type, lanes), names)
    yield f"{store.buffer.name}[{where}] = {value}"


def _worth_a_name(roots: tuple[Expr, ...]) -> list[Expr]:
    """Shared values of a store whose expanded text would be long, operands before users."""
    if _short(roots):
        return []
    sizes: dict[int, int] = {}
    uses: Counter[int] = Counter()
    order: list[Expr] = []
    for root in roots:
        for node in walk(root):
            if node.number not in sizes:
                order.append(node)
                sizes[node.number] = 1 + sum(sizes[arg.number] for arg in node.args)
                uses.update(arg.number for arg in node.args)
    return [node for node in order if uses[node.number] > 1 and sizes[node.number] > 3]


def _short(roots: Iterable[Expr]) -> bool:
    """Whether expanded trees have no more than ``LARGE`` nodes."""
    left = list(roots)
    for _ in range(LARGE):
        if not left:
            return True
        left += left.pop().args
    return not left


def _region(region: Region) -> str:
    return f"{region.buffer.name}[{show_index(region.start, region.extent)}]"


def _buffer(buffer: Buffer) -> str:
    scope = "" if buffer.scope == "ddr" else f', "{buffer.scope}"'
    return f"{buffer.type}, {buffer.shape}{scope}"


def _fresh_prefix(body: Stmt, params: tuple[Buffer, ...] = ()) -> str:
    """A prefix that no numbered name of ``body`` has: t, or t_, ..."""
    taken = {param.name for param in params}
    for stmt in walk_stmt(body):
        match stmt:
            case For(axis=axis):
                taken.add(axis.attr)
            case Block(iters=iters):
                taken.update(it.axis.attr for it in iters)
            case Alloc(buffer=buffer) | Store(buffer=buffer):
                taken.add(buffer.name)
            case _:
                pass
    prefix = "t"
    while any(name.startswith(prefix) and name[len(prefix) :].isdigit() for name in taken):
        prefix += "_"
    return prefix
