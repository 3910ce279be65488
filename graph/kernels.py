"""Kernels: what a graph's nodes become, with what the scheduler and the bound need to know.

The kind is one of conv2d, depthwise, matmul, pool, elementwise, table, softmax, move, reduce.
The function's parameters are the input activations, then constants (their values in
``func.constants``), then the output; ``attrs["shapes"]`` has the logical shape of each activation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..tir.expr import Expr, transform
from ..tir.script.show import show
from ..tir.stmt import Alloc, Buffer, Copy, PrimFunc, Region, Stmt, Store, map_exprs, transform_stmt


@dataclass(frozen=True, slots=True)
class Kernel:
    """One node as a loop nest. ``weight_bytes`` are the logical bytes of its constants, ``bands``
    the classes of all its numbers (``graph/forms.py``): what its text says of them, ``sources`` the
    inputs of the node that constants are made from."""

    name: str
    kind: str
    func: PrimFunc
    inputs: tuple[str, ...]
    output: str
    macs: int
    weight_bytes: int
    origin: str
    bands: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return kernel_key(self.func)


def kernel_key(func: PrimFunc) -> str:
    """Equal for kernels of one form, whose code is the same: hashes text and attributes, not the
    constants and numbers; but which activations are constant, for the text does not tell."""
    facts = "\n".join(f"{name} = {func.attrs[name]!r}" for name in sorted(func.attrs))
    if fixed := [name for name in func.constants if name in func.attrs.get("shapes", ())]:
        facts += f"\nconstant = {fixed!r}"
    return hashlib.sha256(f"{show(func)}\n{facts}".encode()).hexdigest()[:16]


def place(func: PrimFunc, scopes: Mapping[str, str]) -> PrimFunc:
    """``func`` with some parameters in another memory: place(func, {"x": "tcm"})."""
    known = {param.name: param for param in func.params}
    unknown = sorted(set(scopes) - set(known))
    if unknown:
        raise ValueError(
            f"place {func.name}: it has the parameters {', '.join(known)}, but got {unknown}"
        )
    moved = {known[name]: replace(known[name], scope=scope) for name, scope in scopes.items()}
    params = tuple(moved.get(param, param) for param in func.params)
    return replace(func, params=params, body=_rename(func.body, moved))


def _rename(body: Stmt, moved: Mapping[Buffer, Buffer]) -> Stmt:
    def node(expr: Expr) -> Expr | None:
        if expr.op != "load" or expr.attr not in moved:
            return None
        return Expr("load", expr.type, expr.args, moved[expr.attr])

    def region(box: Region) -> Region:
        return replace(box, buffer=moved.get(box.buffer, box.buffer))

    def stmt(found: Stmt) -> Stmt | None:
        match found:
            case Store(buffer=buffer) | Alloc(buffer=buffer):
                return replace(found, buffer=moved.get(buffer, buffer))
            case Copy(target=target, source=source):
                return replace(found, target=region(target), source=region(source))
            case _:
                return None

    return transform_stmt(map_exprs(body, lambda e: transform(e, node)), stmt)
