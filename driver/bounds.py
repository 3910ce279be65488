"""The least work of a kernel and of a whole model under any schedule, and the bounds that follow.

    work(kernel, graph)      # products, bytes of DDR, bytes that threads load and store
    model_bound(ready)       # whatever the memory plan: transfers may run ahead

A kernel reads each element that its output depends on, and writes each element of its output.
Padding of the stored form is no part of it. A value that is computed is stored by a thread, and
its operands are loaded by one; where values only move, transfers may move them.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from ..graph.graph import Graph
from ..graph.integer import integer_of, reads
from ..graph.kernels import Kernel
from ..target.cost import Work
from ..tir.stmt import Buffer

if TYPE_CHECKING:
    from .prepare import Ready


def work(kernel: Kernel, graph: Graph) -> Work:
    """The least products and bytes of the kernel of a graph of one node."""
    needed = {param: compulsory(kernel, graph, param) for param in kernel.func.params}
    output = kernel.func.params[-1]
    return Work(
        products=kernel.macs,
        ddr=sum(size for param, size in needed.items() if param.scope == "ddr"),
        loaded=sum(size for param, size in needed.items() if param is not output),
        stored=needed[output],
        moves=integer_of(graph.nodes[0]).moves(graph.nodes[0]),
    )


def compulsory(kernel: Kernel, graph: Graph, param: Buffer) -> int:
    """Bytes of an operand that must be read or written, wherever it lies."""
    if param is kernel.func.params[-1]:
        return graph.types[kernel.output].size
    node = graph.nodes[0]
    if param.name not in kernel.func.constants:
        tensor = _tensors(kernel)[param.name]
        return max(reads(graph, node, at) for at, n in enumerate(node.inputs) if n == tensor)
    if param.name in kernel.func.attrs["shapes"]:  # an activation that is constant
        return prod(kernel.func.attrs["shapes"][param.name])
    if param.name not in kernel.sources:
        return 0  # multipliers, which code may hold
    at = kernel.sources[param.name]
    return reads(graph, node, at) * graph.constants[node.inputs[at]].itemsize


def _tensors(kernel: Kernel) -> dict[str, str]:
    """The tensor of each activation that the kernel reads, by its parameter."""
    operands = [p.name for p in kernel.func.params[:-1] if p.name not in kernel.func.constants]
    return dict(zip(operands, kernel.inputs, strict=True))


def model_bound(ready: Ready) -> int:
    """Cycles that no code for the model can beat, wherever a plan puts its tensors: the greater of
    all its products and its compulsory bytes, which are its inputs and outputs, once each, and its
    constants in DDR."""
    roots = _roots(ready)
    moved: dict[str, int] = {}
    for task in ready.kernels:
        kernel, graph = task.kernel, task.graph
        tensors = _tensors(kernel)
        for param in kernel.func.params[:-1]:
            tensor, size = tensors.get(param.name), compulsory(kernel, graph, param)
            if tensor is None and param.scope == "ddr":
                moved[_constant(kernel, graph, param)] = size
            elif tensor is not None and roots[tensor] in ready.graph.inputs:
                moved[roots[tensor]] = max(moved.get(roots[tensor], 0), size)
        if kernel.output in {roots[name] for name in ready.graph.outputs}:
            moved[kernel.output] = graph.types[kernel.output].size
    products = sum(task.kernel.macs for task in ready.kernels)
    return ready.machine.bound(Work(products, sum(moved.values())))


def _constant(kernel: Kernel, graph: Graph, param: Buffer) -> str:
    """The constant that a parameter is made from: kernels may have some in common."""
    if param.name in kernel.sources and param.name not in kernel.func.attrs["shapes"]:
        return graph.nodes[0].inputs[kernel.sources[param.name]]
    return f"{param.name} of {kernel.name}"


def _roots(ready: Ready) -> dict[str, str]:
    """The tensor whose bytes each tensor's are: kernels that move nothing have no code."""
    found = {name: name for name in ready.graph.inputs}
    for node, code in zip(ready.graph.nodes, ready.plan.code, strict=True):
        found[node.output] = node.output if code else found[node.inputs[0]]
    return found
