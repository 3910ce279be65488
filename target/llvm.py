"""Expressions of the tensor IR as LLVM IR for the host: a body becomes a few vector instructions.

    value = Lowering(builder, {"a": x, "b": y}).value(group_sum(cast(i32, a) * cast(i32, b), 4))

A value of ``lanes`` lanes is an LLVM vector (one lane: a scalar), a bool an ``i1``. What depends on
constants alone is computed here by the op table, so lane numbers of permutations are known and
become shuffles. Each operator's lowering is in ``llvm_ops.py`` (arithmetic), ``llvm_lanes.py``,
``llvm_lookup.py`` or ``llvm_sums.py`` (lanes); all are held to the op table's meaning by tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import llvmlite.ir as ir
import numpy as np
from numpy.typing import NDArray

from ..tir.expr import Expr
from ..tir.ops import OPS
from ..tir.types import Type

Known = NDArray[Any]  # a value that is a constant: its lanes
Value = Any  # Known, or an LLVM value (llvmlite has no types)


def ir_type(kind: Type) -> Any:
    """The LLVM type of a value."""
    if kind.kind == "f":
        element = ir.FloatType() if kind.bits == 32 else ir.DoubleType()
    else:
        element = ir.IntType(kind.bits)
    return element if kind.lanes == 1 else ir.VectorType(element, kind.lanes)


def constant(kind: Type, lanes: Known) -> Any:
    """``lanes`` as an LLVM constant."""
    values = [item.item() for item in np.broadcast_to(lanes, (kind.lanes,))]
    if kind.kind != "f":
        values = [int(value) for value in values]
    return ir.Constant(ir_type(kind), values[0] if kind.lanes == 1 else values)


class Lowering:
    """One builder's position; each node is lowered once. ``features`` of the host (``avx512vbmi``)
    allow its own instructions, otherwise the code suits every machine."""

    def __init__(
        self, builder: Any, values: Mapping[str, Value], features: frozenset[str] = frozenset()
    ) -> None:
        self.builder = builder
        self.values = values
        self.features = features
        self.done: dict[int, Value] = {}
        self.constants: dict[int, bool] = {}

    def value(self, root: Expr) -> Any:
        """An LLVM value of ``root``."""
        found = self.item(root)
        return constant(root.type, found) if isinstance(found, np.ndarray) else found

    def known(self, root: Expr) -> Known | None:
        """The lanes of ``root`` where it is constant."""
        found = self.item(root) if self.is_constant(root) else None
        return found if isinstance(found, np.ndarray) else None

    def number(self, root: Expr) -> int | None:
        """The number that all lanes of ``root`` are known to be."""
        lanes = self.known(root)
        return int(lanes[0]) if lanes is not None and (lanes == lanes[0]).all() else None

    def item(self, root: Expr) -> Value:
        """A constant's lanes or an LLVM value."""
        if root.number not in self.done:
            self.done[root.number] = self._lowered(root)
        return self.done[root.number]

    def _lowered(self, node: Expr) -> Value:
        if node.op == "const":
            return np.full(node.type.lanes, node.attr, node.type.numpy)
        if node.op == "var":
            return self.values[node.attr]
        if self.is_constant(node):
            values = [self.item(arg) for arg in node.args]
            lanes = OPS[node.op].value(node.type, node.attr, *values)
            return np.broadcast_to(lanes, (node.type.lanes,))
        return RULES[node.op](self, node)

    def is_constant(self, node: Expr) -> bool:
        """Whether only constants and known variables stand below."""
        if node.op == "var":
            return isinstance(self.values[node.attr], np.ndarray)
        found = self.constants.get(node.number)
        if found is None:
            found = self.constants[node.number] = all(map(self.is_constant, node.args))
        return found

    def constant(self, kind: Type, number: int | float) -> Any:
        """``number`` in every lane."""
        return constant(kind, np.full(kind.lanes, number, kind.numpy))

    def resize(self, value: Any, source: Type, target: Type) -> Any:
        """An integer's low bits, or its value in more bits."""
        kind = ir_type(target)
        if target.bits == source.bits:
            return value
        if target.bits < source.bits:
            return self.builder.trunc(value, kind)
        extend = self.builder.sext if source.signed else self.builder.zext
        return extend(value, kind)

    def intrinsic(self, name: str, kind: Type, *args: Any) -> Any:
        """A call of ``llvm.<name>`` overloaded on ``kind``, which gives that type."""
        return self.call(f"llvm.{name}.{mangled(kind)}", ir_type(kind), *args)

    def call(self, name: str, result: Any, *args: Any) -> Any:
        """A call of a function that LLVM knows by its whole name."""
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(result, [arg.type for arg in args])
            function = ir.Function(module, kind, name)
        return self.builder.call(function, args)


def mangled(kind: Type) -> str:
    """A type in the name of an overloaded intrinsic: ``v32i32``."""
    element = f"{'f' if kind.kind == 'f' else 'i'}{kind.bits}"
    return element if kind.lanes == 1 else f"v{kind.lanes}{element}"


Rule = Callable[[Lowering, Expr], Value]
RULES: dict[str, Rule] = {}  # by operator; ``llvm_rules`` has them all


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Registers a function as the lowering of ``ops``."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, function))
        return function

    return register
