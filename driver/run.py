"""Runs one kernel's selected code on stored tensors, by the JIT.

stored = run_program(compiled.program, task.kernel, [pack(x, shape)])
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.graph import Array
from ..graph.kernels import Kernel
from ..target.jit import buffer, jit
from ..target.program import Program


def run_program(program: Program, kernel: Kernel, inputs: Sequence[Array]) -> Array:
    """The stored output for stored ``inputs``, in the order of the kernel's operands."""
    output = kernel.func.params[-1]
    memory = [buffer(array.nbytes) for array in inputs]
    for place, array in zip(memory, inputs, strict=True):
        place[:] = array.reshape(-1)
    result = buffer(output.bytes)
    jit(program)(*memory, result)
    return result.reshape(output.shape)
