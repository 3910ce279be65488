"""Table look-ups: 256 entries in two registers, eight look-ups a vector of 128 bytes.

y[i] = table[x[i]]  becomes  y[i] = lookup(table[0:256], x[i])
"""

from __future__ import annotations

from ...target.dsp.machine import Machine
from ...tir.expr import Expr, const, make, transform
from ...tir.stmt import PrimFunc, map_exprs
from ...tir.types import i32, vector
from .elementwise import pointwise
from .template import Template

ENTRIES = 256
PACKETS = 8.5  # that a vector of results takes


def table(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of look-ups by bytes in one constant table."""
    if func.attrs.get("kind") != "table":
        return None
    return pointwise("table", looked_up(func), machine, PACKETS, (1, 2, 3, 4))


def looked_up(func: PrimFunc) -> PrimFunc:
    """``func`` with every load that a byte indexes as a look-up in the whole table."""
    tables = {p for p in func.params if p.name in func.constants and p.shape == (ENTRIES,)}

    def node(expr: Expr) -> Expr | None:
        if expr.op != "load" or expr.attr not in tables or expr.args[0].op != "cast":
            return None
        whole = Expr("load", vector(expr.type, ENTRIES), (const(0, i32),), expr.attr)
        return make("lookup", whole, expr.args[0].args[0])

    return func.with_body(map_exprs(func.body, lambda expr: transform(expr, node)))
