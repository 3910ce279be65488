"""From a user's model to kernels ready to tune: import, calibrate, lower, plan, place.

    ready = prepare(model, (x,), batches, dsp())
    ready.graph, ready.plan, ready.kernels, ready.tasks

``kernels`` has a task a kernel that has code, in the order in which they run; ``tasks`` the
distinct ones among them, each with the number of its occurrences as weight.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..graph.graph import Array, Graph, Node
from ..graph.kernels import Kernel, place
from ..graph.lower import lower_graph
from ..graph.operators.group import nodes_of
from ..graph.signature import Signature, flat, signature_of
from ..quant.recipe import DEFAULT_RECIPE, Recipe
from ..target.protocol import Target
from .inputs import calibration_batches
from .kernel_task import KernelTask
from .memory_plan import MemoryPlan, plan


@dataclass(frozen=True, slots=True)
class Ready:
    """A model's integer graph, its memory plan and its kernels on one machine.

    ``signature`` says in which form the model takes the graph's inputs and gives its outputs,
    ``recipe`` how it was quantized.
    """

    graph: Graph
    machine: Target
    plan: MemoryPlan
    kernels: list[KernelTask]
    tasks: list[KernelTask]
    signature: Signature
    recipe: Recipe = DEFAULT_RECIPE

    @property
    def key(self) -> str:
        """Names the model in logs: its kernels and how they are connected."""
        edges = [f"{k.key} {' '.join(k.kernel.inputs)} {k.kernel.output}" for k in self.kernels]
        return hashlib.sha256("\n".join(edges).encode()).hexdigest()[:16]


def prepare(model: object, inputs: object, calibration: object, machine: Target,
            recipe: Recipe = DEFAULT_RECIPE) -> Ready:  # fmt: skip
    """The whole way from a model to its kernels; ``calibration`` None takes the inputs."""
    graph, signature = imported(model, inputs, calibration, recipe)
    return ready(graph, machine, signature, recipe)


def quantized(
    model: object, inputs: object, calibration: object, recipe: Recipe = DEFAULT_RECIPE
) -> Graph:
    """The integer graph of a model."""
    return imported(model, inputs, calibration, recipe)[0]


def imported(
    model: object, inputs: object, calibration: object, recipe: Recipe
) -> tuple[Graph, Signature]:
    """The integer graph of a model, and the form of its inputs and outputs."""
    from ..graph.fuse import RESIDUALS, fuse
    from ..graph.settle import settle
    from ..quant.quantize import quantize

    graph, signature, batches = floating(model, inputs, calibration)
    settled = settle(quantize(graph, batches, recipe))
    return fuse(settled, RESIDUALS[recipe.residual]), signature


def floating(
    model: object, inputs: object, calibration: object
) -> tuple[Graph, Signature, Iterator[list[Array]]]:
    """The float graph of a model, the form of its inputs and outputs, and calibration batches."""
    from ..graph.torch_export import export
    from ..graph.torch_import import import_model

    program = export(model, inputs)
    graph = import_model(program)
    graph.name = getattr(type(model), "__name__", graph.name) if _is_module(model) else graph.name
    signature = signature_of(program)
    return graph, signature, calibration_batches(signature, calibration, examples(program, inputs))


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
    return getattr(program, "example_inputs", None)


def ready(graph: Graph, machine: Target, signature: Signature | None = None,
          recipe: Recipe = DEFAULT_RECIPE) -> Ready:  # fmt: skip
    """An integer graph's kernels, placed in memory; without a signature, a tensor an input."""
    lowered = lower_graph(graph)
    found = plan(graph, lowered, machine)
    placed = [
        _placed(kernel, found, number) if code else None
        for number, (kernel, code) in enumerate(zip(lowered, found.code, strict=True))
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
    return Ready(graph, machine, found, kernels, tasks, signature or flat(graph), recipe)


def _placed(kernel: Kernel, found: MemoryPlan, number: int) -> Kernel:
    """The kernel with its operands where the plan has them, and the TCM that others hold."""
    operands = [p.name for p in kernel.func.params if p.name not in kernel.func.constants]
    tensors = [*kernel.inputs, kernel.output]
    scopes = {
        name: found.spots[tensor].scope for name, tensor in zip(operands, tensors, strict=True)
    }
    if found.near[number]:
        scopes |= dict.fromkeys(kernel.func.constants, "tcm")
    func = place(kernel.func, scopes)
    return replace(kernel, func=replace(func, attrs={**func.attrs, "held": found.held[number]}))


def _with_same_limits(kernels: Sequence[Kernel | None]) -> list[Kernel | None]:
    """Kernels that differ only in the TCM that others hold get the largest amount, and are one."""
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
    names = dict.fromkeys([*node.inputs, *(part.output for part in nodes_of(node))])
    constants = {name: graph.constants[name] for name in names if name in graph.constants}
    inputs = [name for name in dict.fromkeys(node.inputs) if name not in constants]
    types = {name: graph.types[name] for name in names}
    return Graph(node.output, inputs, [node.output], [node], types, constants)
