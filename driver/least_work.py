"""The least work of a kernel under any schedule, from which its bound follows.

    work(kernel, graph)      # products, bytes of DDR, bytes that threads load and store

A kernel reads each element that its output depends on, and writes each element of its output.
Padding of the stored form is no part of it. A value that is computed is stored by a thread, and
its operands are loaded by one; where values only move, transfers may move them.
"""

from __future__ import annotations

from math import prod

from ..graph.graph import Graph
from ..graph.integer import integer_of, reads
from ..graph.kernels import Kernel
from ..target.cost import Work
from ..tir.stmt import Buffer


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
        tensor = tensors_of(kernel)[param.name]
        return max(reads(graph, node, at) for at, n in enumerate(node.inputs) if n == tensor)
    if param.name in kernel.func.attrs["shapes"]:  # an activation that is constant
        return prod(kernel.func.attrs["shapes"][param.name])
    if param.name not in kernel.sources:
        return 0  # multipliers, which code may hold
    at = kernel.sources[param.name]
    return reads(graph, node, at) * graph.constants[node.inputs[at]].itemsize


def tensors_of(kernel: Kernel) -> dict[str, str]:
    """The tensor of each activation that the kernel reads, by its parameter."""
    operands = [p.name for p in kernel.func.params[:-1] if p.name not in kernel.func.constants]
    return dict(zip(operands, kernel.inputs, strict=True))
