"""The printed form of the IR: Python source that ``parse`` reads back to equal nodes.

    >>> show_expr(cast(i32, var("x", u8)) + 5)
    'cast(i32, x) + 5'

A bare number has the type of the first operand that is none; elsewhere numbers print as ``i32(5)``.
A value that is shared and large gets a name (``t0 = ...``) before the store that uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

from ..expr import Expr, walk
from ..ops import OPS
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
from ..types import Type, i32, vector

ATOM, UNARY = 15, 13
PRECEDENCE = {
    "==": 6, "<": 6, "<=": 6, "|": 7, "^": 8, "&": 9, "<<": 10, ">>": 10,
    "+": 11, "-": 11, "*": 12, "//": 12, "%": 12,
}  # fmt: skip
LARGE = 200  # nodes of an expanded tree above which shared values get names

Text = tuple[str, int]  # and how tightly it binds
Names = dict[Expr, str]


def show_expr(root: Expr, want: Type | None = None) -> str:
    """``root`` as source; a constant of type ``want`` is a bare number."""
    return _expr(root, {}, want)


def show(func: PrimFunc) -> str:
    """``func`` as a decorated Python function; constants and attributes are no part of it."""
    params = ", ".join(f"{p.name}: Buffer[{_buffer(p)}]" for p in func.params)
    lines = ["@prim_func", f"def {func.name}({params}):"]
    return "\n".join([*lines, *_suite(func.body, 1, _fresh_prefix(func.body, func.params))]) + "\n"


def show_stmt(stmt: Stmt) -> str:
    """``stmt`` as lines of source, without indentation outside."""
    return "\n".join(_stmt(stmt, 0, True, _fresh_prefix(stmt)))


# Expressions --------------------------------------------------------------------------------


def _expr(root: Expr, names: Names, want: Type | None = None) -> str:
    if root.op == "const":
        return _const(root, want)[0]
    return _spelled(root, names) if names else _alone(root)


@lru_cache(maxsize=1 << 12)
def _alone(root: Expr) -> str:
    """The text of an expression without names, of which points of a kernel have many in common."""
    return _spelled(root, {})


def _spelled(root: Expr, names: Names) -> str:
    texts: dict[int, Text] = {}
    for node in walk(root):
        name = names.get(node)
        texts[node.number] = (name, ATOM) if name else _node(node, texts)
    return texts[root.number][0]


def _node(node: Expr, texts: dict[int, Text]) -> Text:
    match node.op:
        case "const":
            return _const(node, None)
        case "var":
            return str(node.attr), ATOM
        case "hole":
            hole = node.attr
            return f'hole("{hole.name}", {node.type}, {hole.low}, {hole.high})', ATOM
        case "load":
            at = [_operand(arg, texts, i32) for arg in node.args]
            return f"{node.attr.name}[{_boxed(at, (1,) * len(at), node.type.lanes)}]", ATOM
        case "cast" | "sat_cast":
            return f"{node.op}({node.type.element}, {_operand(node.args[0], texts)[0]})", ATOM
        case "call":
            given = "".join(f", {_operand(arg, texts)[0]}" for arg in node.args)
            return f'call({node.type}, "{node.attr}"{given})', ATOM
    operands = _operands(node, texts)
    symbol = OPS[node.op].symbol
    if symbol:
        return _infix(symbol, *operands), PRECEDENCE[symbol]
    return _called(node, [text for text, _ in operands]), ATOM


def _operands(node: Expr, texts: dict[int, Text]) -> list[Text]:
    """The operands' texts; bare numbers where the first operand that is none gives their type."""
    skip = 1 if node.op == "select" else 0
    counted = node.args[skip:]
    lead = next((arg for arg in counted if arg.op != "const"), counted[0])
    want = lead.type
    out = [_operand(arg, texts, None if arg is lead else want) for arg in counted]
    if lead.op == "const":  # only the first of equal constants carries the type
        out[1:] = [_operand(arg, texts, want) for arg in counted[1:]]
    return [_operand(arg, texts) for arg in node.args[:skip]] + out


def _operand(arg: Expr, texts: dict[int, Text], want: Type | None = None) -> Text:
    return _const(arg, want) if arg.op == "const" else texts[arg.number]


def _infix(symbol: str, left: Text, right: Text) -> str:
    own = PRECEDENCE[symbol]
    low = own + 1 if own == 6 else own  # comparisons do not chain
    a = left[0] if left[1] >= low else f"({left[0]})"
    b = right[0] if right[1] > own else f"({right[0]})"
    return f"{a} {symbol} {b}"


def _called(node: Expr, operands: list[str]) -> str:
    attr = node.attr
    if isinstance(attr, Type):
        operands = [str(attr), *operands]
    elif attr is not None:
        operands += map(repr, attr if isinstance(attr, tuple) else (attr,))
    return f"{node.op}({', '.join(operands)})"


def _const(node: Expr, want: Type | None) -> Text:
    text = repr(node.attr)
    if text.strip("-") in ("inf", "nan"):
        text = f'"{text}"'
        want = None
    if node.type == want:
        return text, UNARY if text[0] == "-" else ATOM
    return f"{node.type}({text})", ATOM


def _boxed(start: list[Text], extent: tuple[int, ...], lanes: int = 1) -> str:
    """An index: ``i, j:j + 32``; the last axis has ``lanes`` elements more than it says."""
    sizes = [*extent[:-1], extent[-1] * lanes] if extent else []
    parts = [a[0] if n == 1 else f"{a[0]}:{_end(a, n)}" for a, n in zip(start, sizes, strict=True)]
    return ", ".join(parts) or "()"


def _end(start: Text, size: int) -> str:
    try:
        return str(int(start[0]) + size)
    except ValueError:
        return _infix("+", start, (str(size), ATOM))


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
        text = _expr(node, names)
        names[node] = f"{fresh}{len(names)}"
        yield f"{names[node]} = {text}"
    lanes = store.value.type.lanes
    index: list[Text] = [
        (_expr(e, names, i32), UNARY if e.op == "const" else _binds(e, names)) for e in store.index
    ]
    where = _boxed(index, (1,) * len(index), lanes)
    value = _expr(store.value, names, vector(store.buffer.type, lanes))
    yield f"{store.buffer.name}[{where}] = {value}"


def _binds(node: Expr, names: Names) -> int:
    return ATOM if node in names else PRECEDENCE.get(OPS[node.op].symbol, ATOM)


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
    start: list[Text] = [
        (show_expr(e, i32), UNARY if e.op == "const" else _binds(e, {})) for e in region.start
    ]
    parts = _boxed(start, region.extent)
    return f"{region.buffer.name}[{parts}]"


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
