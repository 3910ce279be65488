"""From what a user hands over to kernels ready to tune: import, calibrate, lower, plan, place.

    ready = prepare(model, (x,), batches, dsp())
    ready.graph, ready.plan, ready.kernels, ready.tasks

``kernels`` has a task a kernel that has code, in the order in which they run; ``tasks`` the
distinct ones among them, each with the number of its occurrences as weight.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..graph.graph import Array, Graph, Node
from ..graph.kernels import Kernel, place
from ..graph.lower import lower_graph
from ..target.dsp.machine import Machine
from .errors import InputError
from .plan import Plan, plan
from .task import KernelTask


@dataclass(frozen=True, slots=True)
class Ready:
    """A model's integer graph, its memory plan and its kernels on one machine."""

    graph: Graph
    machine: Machine
    plan: Plan
    kernels: list[KernelTask]
    tasks: list[KernelTask]

    @property
    def key(self) -> str:
        """Names the model in logs: its kernels and how they are connected."""
        edges = [f"{k.key} {' '.join(k.kernel.inputs)} {k.kernel.output}" for k in self.kernels]
        return hashlib.sha256("\n".join(edges).encode()).hexdigest()[:16]


def prepare(model: object, inputs: object, calibration: object, machine: Machine,
            observer: str = "minmax") -> Ready:  # fmt: skip
    """The whole way from a model to its kernels; ``calibration`` None takes the inputs."""
    return ready(quantized(model, inputs, calibration, observer), machine)


def quantized(model: object, inputs: object, calibration: object, observer: str) -> Graph:
    """The integer graph of a model."""
    from ..graph.torch_export import export
    from ..graph.torch_import import import_model
    from ..quant.quantize import quantize

    program = export(model, inputs)
    graph = import_model(program, inputs)
    graph.name = getattr(type(model), "__name__", graph.name) if _is_module(model) else graph.name
    batches = _batches(calibration, examples(program, inputs))
    return quantize(graph, batches, observer)


def _is_module(model: object) -> bool:
    from torch.nn import Module

    return isinstance(model, Module)


def examples(program: object, inputs: object) -> object:
    """The example inputs: those given, or those that the program was exported with."""
    from ..graph.torch_export import export

    if inputs is not None:
        return inputs
    if isinstance(program, Path):
        program = export(program)
    kept = getattr(program, "example_inputs", None)
    return kept[0] if kept else None


def _batches(calibration: object, examples: object) -> Iterator[list[Array]]:
    """Calibration as lists of arrays."""
    if calibration is None:
        if examples is None:
            raise InputError(
                "calibration: batches of real inputs or example inputs are needed, but got neither"
            )
        warnings.warn(
            "calibration: none was given, so the example inputs stand for all data; "
            "give calibration=batches for sound ranges",
            stacklevel=4,
        )
        calibration = [examples]
    try:
        if isinstance(calibration, (str, bytes)):
            raise TypeError
        batches: Iterator[object] = iter(calibration)  # type: ignore[call-overload]
    except TypeError:
        raise InputError(
            "calibration: must be an iterable of input tuples, "
            f"but got {type(calibration).__name__}"
        ) from None
    return (_arrays(batch) for batch in batches)


def _arrays(batch: object) -> list[Array]:
    return [as_array(part) for part in (batch if isinstance(batch, (tuple, list)) else [batch])]


def as_array(value: object) -> Array:
    """A tensor or array as NumPy."""
    import torch

    try:
        if not isinstance(value, torch.Tensor):
            return np.asarray(value, np.float32)
        value = value.detach().cpu()
        if value.is_complex():
            raise TypeError
        return np.asarray(value.float().numpy() if value.is_floating_point() else value.numpy())
    except (TypeError, ValueError, NotImplementedError):  # sparse and meta tensors, too
        kind = type(value).__name__
        if isinstance(value, torch.Tensor):
            words = value.dtype, value.layout, value.device
            kind += f" ({', '.join(str(word).removeprefix('torch.') for word in words)})"
        raise InputError(
            f"inputs: must be dense tensors or arrays of real numbers, but got {kind}"
        ) from None


def ready(graph: Graph, machine: Machine) -> Ready:
    """An integer graph's kernels, placed in memory."""
    lowered = lower_graph(graph)
    found = plan(graph, lowered, machine)
    placed = [
        _placed(kernel, found, held) if code else None
        for kernel, code, held in zip(lowered, found.code, found.held, strict=True)
    ]
    placed = _with_same_limits(placed)
    kernels = [
        KernelTask(kernel, one_node(graph, node), machine)
        for kernel, node in zip(placed, graph.nodes, strict=True)
        if kernel is not None
    ]
    weights = Counter(task.key for task in kernels)
    first = {task.key: task for task in reversed(kernels)}
    tasks = [replace(first[key], weight=weight) for key, weight in weights.items()]
    return Ready(graph, machine, found, kernels, tasks)


def _placed(kernel: Kernel, found: Plan, held: int) -> Kernel:
    """The kernel with its operands where the plan has them, and the TCM that others hold."""
    operands = [p.name for p in kernel.func.params if p.name not in kernel.func.constants]
    tensors = [*kernel.inputs, kernel.output]
    scopes = {
        name: found.spots[tensor].scope for name, tensor in zip(operands, tensors, strict=True)
    }
    func = place(kernel.func, scopes)
    return replace(kernel, func=replace(func, attrs={**func.attrs, "held": held}))


def _with_same_limits(kernels: Sequence[Kernel | None]) -> list[Kernel | None]:
    """Kernels that differ only in the TCM that others hold get the largest of it, and are one."""
    most: dict[str, int] = {}
    plain = [kernel and _holding(kernel, 0) for kernel in kernels]
    keys = [kernel.key if kernel else "" for kernel in plain]
    for key, kernel in zip(keys, kernels, strict=True):
        if kernel:
            most[key] = max(most.get(key, 0), kernel.func.attrs["held"])
    return [kernel and _holding(kernel, most[key]) for key, kernel in zip(keys, plain, strict=True)]


def _holding(kernel: Kernel, held: int) -> Kernel:
    attrs = {**kernel.func.attrs, "held": held}
    return replace(kernel, func=replace(kernel.func, attrs=attrs))


def one_node(graph: Graph, node: Node) -> Graph:
    """The graph of one node alone: what its kernel must compute."""
    names = dict.fromkeys([*node.inputs, node.output])
    constants = {name: graph.constants[name] for name in names if name in graph.constants}
    inputs = [name for name in dict.fromkeys(node.inputs) if name not in constants]
    types = {name: graph.types[name] for name in names}
    return Graph(node.output, inputs, [node.output], [node], types, constants)
