"""Each step as integer nodes: one small function an operator, in the table ``EMIT``."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..graph.graph import Array
from ..graph.operators import evaluate
from .affine import bounds, quantize_array
from .emitter import Emitter, zero_and_reach
from .errors import QuantizationError
from .fixed import add_multipliers
from .plan import Step, has_weight
from .pool import avg_pool2d
from .weights import quantize_weights


def _weighted(emit: Emitter, step: Step, op: str, weight: Array, bias: Array | None) -> None:
    x = emit.affines[step.inputs[0]]
    made = quantize_weights(step.output, weight, bias, x)
    names = (
        emit.tensor(step.inputs[0]),
        emit.constant(f"{step.output}.weight", made.weight),
        emit.constant(f"{step.output}.bias", made.bias),
    )
    requant = emit.requant(step, [x.scale * scale for scale in made.scales], made.bound)
    attrs = {**step.attrs, "x_zero": x.zero_point, "requant": requant}
    emit.node(step, op, names, attrs)


def _constants(emit: Emitter, step: Step) -> list[Array]:
    """The values of weight and bias, which must be constants."""
    for name in step.inputs[1:]:
        if name not in emit.source.constants:
            raise QuantizationError(
                f"{step.op} {step.output}: weight and bias must be constants, "
                f"but {name} is computed; write it as matmul and add"
            )
    return [emit.source.constants[name] for name in step.inputs[1:]]


def _conv2d(emit: Emitter, step: Step) -> None:
    weight, *bias = _constants(emit, step)
    _weighted(emit, step, "q_conv2d", weight, bias[0] if bias else None)


def _linear(emit: Emitter, step: Step) -> None:
    weight, *bias = _constants(emit, step)
    _weighted(emit, step, "q_linear", weight, bias[0] if bias else None)


def _matmul(emit: Emitter, step: Step) -> None:
    if has_weight(emit.source, step):
        weight = emit.source.constants[step.inputs[1]].T
        return _weighted(emit, step, "q_linear", np.ascontiguousarray(weight), None)
    a, b = (emit.affines[name] for name in step.inputs)
    (a_zero, a_reach), (b_zero, b_reach) = zero_and_reach(a), zero_and_reach(b)
    bound = emit.source.types[step.inputs[0]].shape[-1] * a_reach * b_reach
    if bound >= 1 << 31:
        raise QuantizationError(
            f"matmul {step.output}: accumulators must fit i32, but they can reach {bound}; "
            "split the reduction into smaller products"
        )
    requant = emit.requant(step, [a.scale * b.scale], bound)
    names = [emit.tensor(name) for name in step.inputs]
    emit.node(step, "q_matmul", names, {"a_zero": a_zero, "b_zero": b_zero, "requant": requant})


def _add(emit: Emitter, step: Step) -> None:
    a, b = (emit.affines[name] for name in step.inputs)
    output = emit.affines[step.output]
    sign = -1 if step.op == "sub" else 1
    made = add_multipliers(a.scale, sign * b.scale, output.scale)
    low, high = bounds(step.low, step.high, output)
    attrs = {
        "a_zero": a.zero_point,
        "b_zero": b.zero_point,
        "a_mult": made.a,
        "b_mult": made.b,
        "shift": made.shift,
        "zero_point": output.zero_point,
        "low": low,
        "high": high,
    }
    emit.node(step, "q_add", [emit.tensor(name) for name in step.inputs], attrs)


def _mul(emit: Emitter, step: Step) -> None:
    a, b = (emit.affines[name] for name in step.inputs)
    (a_zero, a_reach), (b_zero, b_reach) = zero_and_reach(a), zero_and_reach(b)
    requant = emit.requant(step, [a.scale * b.scale], a_reach * b_reach)
    names = [emit.tensor(name) for name in step.inputs]
    emit.node(step, "q_mul", names, {"a_zero": a_zero, "b_zero": b_zero, "requant": requant})


def _mean(emit: Emitter, step: Step) -> None:
    x = emit.affines[step.inputs[0]]
    zero, reach = zero_and_reach(x)
    size = emit.source.types[step.inputs[0]].size
    count = size // max(emit.source.types[step.output].size, 1)
    requant = emit.requant(step, [x.scale / count], count * reach)
    names = [emit.tensor(step.inputs[0])]
    emit.node(step, "q_mean", names, {**step.attrs, "x_zero": zero, "requant": requant})


def _softmax(emit: Emitter, step: Step) -> None:
    distances = np.arange(256) * emit.affines[step.inputs[0]].scale
    table = np.rint(np.exp(-distances) * (1 << 15)).astype(np.int32)
    names = [emit.tensor(step.inputs[0]), emit.constant(f"{step.output}.table", table)]
    shift = 30 + round(math.log2(emit.affines[step.output].scale))
    emit.node(step, "q_softmax", names, {**step.attrs, "shift": shift})


def _table(emit: Emitter, step: Step) -> None:
    import torch

    root = step.inputs[0]
    of = emit.affines[root]
    values = {root: torch.from_numpy((np.arange(256.0) - of.zero_point) * of.scale)}
    for node in step.body:
        for name in node.inputs:
            if name in emit.source.constants:
                scalar = emit.source.constants[name].astype(np.float64).reshape(())
                values[name] = torch.from_numpy(scalar)
        values[node.output] = evaluate(node.op, [values[n] for n in node.inputs], node.attrs)
    table = quantize_array(values[step.body[-1].output].numpy(), emit.affines[step.output])
    names = [emit.tensor(root), emit.constant(f"{step.output}.table", table)]
    emit.node(step, "lookup", names, {})


def _move(emit: Emitter, step: Step) -> None:
    emit.node(step, step.op, [_as_output(emit, step, name) for name in step.inputs], step.attrs)


def _as_output(emit: Emitter, step: Step, name: str) -> str:
    """The input ``name`` under the output's affine map, by a table where its own map differs."""
    of, wanted = emit.affines[name], emit.affines[step.output]
    if of == wanted:
        return emit.tensor(name)
    table = quantize_array((np.arange(256.0) - of.zero_point) * of.scale, wanted)
    names = [emit.tensor(name), emit.constant(f"{name}.table", table)]
    return emit.node(step, "lookup", names, {}, f"{name}.rescaled")


def _pad(emit: Emitter, step: Step) -> None:
    value = quantize_array(np.array(step.attrs["value"]), emit.affines[step.output])
    attrs = {"padding": step.attrs["pads"], "value": int(value)}
    emit.node(step, "pad", [_as_output(emit, step, step.inputs[0])], attrs)


Emit = Callable[[Emitter, Step], None]
MOVED = ("max_pool2d", "cat", "slice", "reshape", "permute", "expand")
EMIT: dict[str, Emit] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "matmul": _matmul,
    "add": _add,
    "sub": _add,
    "mul": _mul,
    "mean": _mean,
    "avg_pool2d": avg_pool2d,
    "softmax": _softmax,
    "table": _table,
    "pad": _pad,
    **dict.fromkeys(MOVED, _move),
}
