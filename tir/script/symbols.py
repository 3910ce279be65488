"""Which operator of the IR each of Python's is, by the symbols of the op table."""

from __future__ import annotations

import ast

from ..ops import OPS


def _node_of(symbol: str) -> type[ast.AST]:
    """What Python's AST has for ``a + b`` or ``a < b``."""
    match ast.parse(f"a {symbol} b", mode="eval").body:
        case ast.BinOp(op=op) | ast.Compare(ops=[op]):
            return type(op)
    raise AssertionError(symbol)


BINARY: dict[type[ast.AST], str] = {
    _node_of(op.symbol): op.name for op in OPS.values() if op.symbol
}
MIRRORED: dict[type[ast.AST], str] = {ast.Gt: "lt", ast.GtE: "le"}  # of operands that change places
CHAINED: dict[type[ast.AST], str] = {ast.And: "and_", ast.Or: "or_"}
