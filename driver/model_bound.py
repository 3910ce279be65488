"""The bound of a whole model, whatever the memory plan: transfers may run ahead of kernels.

model_bound(ready)       # below the sum of its kernels' bounds
"""

from __future__ import annotations

from ..graph.graph import Graph
from ..graph.kernels import Kernel
from ..target.cost import Work
from ..tir.stmt import Buffer
from .least_work import compulsory, tensors_of
from .prepare import Ready


def model_bound(ready: Ready) -> int:
    """Cycles that no code for the model can beat, wherever a plan puts its tensors: the greater of
    all its products and its compulsory bytes: its inputs and outputs, once each, and constants."""
    roots = _roots(ready)
    moved: dict[str, int] = {}
    for task in ready.kernels:
        kernel, graph = task.kernel, task.graph
        tensors = tensors_of(kernel)
        for param in kernel.func.params[:-1]:
            tensor, size = tensors.get(param.name), compulsory(kernel, graph, param)
            if tensor is None:
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
