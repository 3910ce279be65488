"""Nodeessions as Python source, which the script's parser reads back to equal nodes.

    >>> show_expr(cast(i32, var("x", u8)) + 5)
    'cast(i32, x) + 5'

A bare number has the type of the first operand that is none; elsewhere numbers print as ``i32(5)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from .node import DagNode, walk
from .ops import OPS
from .types import Type, i32

ATOM, UNARY = 15, 13
PRECEDENCE = {
    "==": 6, "<": 6, "<=": 6, "|": 7, "^": 8, "&": 9, "<<": 10, ">>": 10,
    "+": 11, "-": 11, "*": 12, "//": 12, "%": 12,
}  # fmt: skip

Text = tuple[str, int]  # and how tightly it binds
Names = Mapping[Any, str]  # of values that have one


def show_expr(root: DagNode, want: Type | None = None, names: Names = {}) -> str:  # noqa: B006
    """``root`` as source; a constant of type ``want`` is a bare number, values with names are
    theirs."""
    if root.op == "const":
        return _const(root, want)[0]
    return _spelled(root, names) if names else _alone(root)


def show_index(
    start: Iterable[DagNode],
    extent: tuple[int, ...],
    lanes: int = 1,
    names: Names = {},  # noqa: B006
) -> str:
    """A box: ``i, j:j + 32``; the last axis has ``lanes`` elements for each that it says."""
    texts = [(show_expr(at, i32, names), _binds(at, names)) for at in start]
    return _boxed(texts, extent, lanes)


def _binds(node: DagNode, names: Names) -> int:
    if node.op == "const":
        return UNARY
    return ATOM if node in names else PRECEDENCE.get(OPS[node.op].symbol, ATOM)


@lru_cache(maxsize=1 << 12)
def _alone(root: Any) -> str:
    """The text of an expression without names, of which points of a kernel have many in common."""
    return _spelled(root, {})


def _spelled(root: DagNode, names: Names) -> str:
    texts: dict[int, Text] = {}
    for node in walk(root):
        name = names.get(node)
        texts[node.number] = (name, ATOM) if name else _node(node, texts)
    return texts[root.number][0]


def _node(node: DagNode, texts: dict[int, Text]) -> Text:
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


def _operands(node: DagNode, texts: dict[int, Text]) -> list[Text]:
    """The operands' texts; bare numbers where the first operand that is none gives their type."""
    skip = 1 if node.op == "select" else 0
    counted = node.args[skip:]
    lead = next((arg for arg in counted if arg.op != "const"), counted[0])
    want = lead.type
    out = [_operand(arg, texts, None if arg is lead else want) for arg in counted]
    if lead.op == "const":  # only the first of equal constants carries the type
        out[1:] = [_operand(arg, texts, want) for arg in counted[1:]]
    return [_operand(arg, texts) for arg in node.args[:skip]] + out


def _operand(arg: DagNode, texts: dict[int, Text], want: Type | None = None) -> Text:
    return _const(arg, want) if arg.op == "const" else texts[arg.number]


def _infix(symbol: str, left: Text, right: Text) -> str:
    own = PRECEDENCE[symbol]
    low = own + 1 if own == 6 else own  # comparisons do not chain
    a = left[0] if left[1] >= low else f"({left[0]})"
    b = right[0] if right[1] > own else f"({right[0]})"
    return f"{a} {symbol} {b}"


def _called(node: DagNode, operands: list[str]) -> str:
    attr = node.attr
    if isinstance(attr, Type):
        operands = [str(attr), *operands]
    elif attr is not None:
        operands += map(repr, attr if isinstance(attr, tuple) else (attr,))
    return f"{node.op}({', '.join(operands)})"


def _const(node: DagNode, want: Type | None) -> Text:
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
