"""Values of expressions in NumPy, by the meanings of the op table.

A value's last axis is its lanes; the axes before are whole loops at once (shape 1 where the value
does not depend on a loop). Loads in an operand that a select does not choose are not done, so an
index outside of a buffer is no fault there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from .arithmetic import Value
from .expr import Expr
from .ops import OPS, with_lanes
from .row import Lanes

Mask = Value | None  # which of the loops' points run; None: all
Loader = Callable[[Expr, list[Value], Mask], Value]
Calls = Mapping[str, tuple[tuple[str, ...], Expr]]
MOVES_LANES = with_lanes(Lanes.MOVED, Lanes.COPIED, Lanes.ANY)


def evaluate_expr(
    root: Expr,
    env: Mapping[str, Value],
    load: Loader | None = None,
    calls: Calls | None = None,
    mask: Mask = None,
) -> Value:
    """The value of ``root``; ``env`` gives variables by name, ``load`` reads buffers.

    ``calls`` gives the operands' names and the body of each instruction that is called.
    """
    return Evaluator(env, load, calls or {}).value(root, mask)


class Evaluator:
    """Evaluates several expressions under the same variables and the same memory."""

    __slots__ = ("any_lane", "calls", "done", "env", "load")

    def __init__(self, env: Mapping[str, Value], load: Loader | None, calls: Calls) -> None:
        self.env, self.load, self.calls = env, load, calls
        self.done: dict[tuple[Expr, int], Value] = {}  # by node and mask
        self.any_lane: dict[int, tuple[Value, Value]] = {}  # masks that must live as long

    def value(self, root: Expr, mask: Mask = None) -> Value:
        if not loads(root):
            mask = None
        key = root, id(mask)
        found = self.done.get(key)
        if found is None:
            found = self.done[key] = self._node(root, mask)
        return found

    def _node(self, node: Expr, mask: Mask) -> Value:
        match node.op:
            case "const":
                return constant(node)
            case "var":
                if node.attr not in self.env:
                    raise KeyError(f"{node.attr}: a variable must have a value, but got none")
                return self.env[node.attr]
            case "hole":
                return self._hole(node)
            case "select":
                return self._select(node, mask)
        if mask is not None and mask.shape[-1] > 1 and node.op in MOVES_LANES:
            mask = self._of_any_lane(mask)
        values = [self.value(arg, mask) for arg in node.args]
        if node.op == "load":
            if self.load is None:
                raise TypeError(f"load: a buffer must be given, but got none for {node}")
            return self.load(node, values, mask)
        if node.op == "call":
            return self._call(node, values)
        return OPS[node.op].value(node.type, node.attr, *values)

    def _of_any_lane(self, mask: Value) -> Value:
        """The points at which any lane is chosen: below, lanes stand in other places."""
        found = self.any_lane.get(id(mask))
        if found is None:
            chosen: Value = np.any(mask, axis=-1, keepdims=True)
            found = self.any_lane[id(mask)] = mask, chosen
        return found[1]

    def _hole(self, node: Expr) -> Value:
        found = self.env.get(hole_key(node.attr.name))
        if found is None:
            raise KeyError(f"{node.attr}: a hole must have a number, but got none")
        return found.astype(node.type.numpy)

    def _select(self, node: Expr, mask: Mask) -> Value:
        condition, yes, no = node.args
        chosen = self.value(condition, mask)
        values = []
        for branch, runs in ((yes, chosen), (no, ~chosen)):
            if loads(branch):
                inside = runs if mask is None else runs & mask
                values.append(Evaluator(self.env, self.load, self.calls).value(branch, inside))
            else:
                values.append(self.value(branch, None))
        result: Value = np.where(chosen, *values)
        return result

    def _call(self, node: Expr, values: list[Value]) -> Value:
        if node.attr not in self.calls:
            raise KeyError(f"call: the body of {node.attr} must be given, but got none")
        names, body = self.calls[node.attr]
        return Evaluator(dict(zip(names, values, strict=True)), None, self.calls).value(body)


def hole_key(name: str) -> str:
    """The key of a hole's number among the variables: no Python name."""
    return f"hole {name}"


@cache
def constant(node: Expr) -> Value:
    """All lanes of a constant; shared, so it is read-only."""
    lanes = np.full(node.type.lanes, node.attr, node.type.numpy)
    lanes.flags.writeable = False
    return lanes


@cache
def loads(root: Expr) -> frozenset[str]:
    """The names of the buffers that ``root`` reads."""
    below = frozenset().union(*(loads(arg) for arg in root.args)) if root.args else frozenset()
    return below | {root.attr.name} if root.op == "load" else below
