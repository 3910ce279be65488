"""Runs selected code on arrays, by the JIT.

after = run_program(compiled.program, task.stored)
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.graph import Array
from ..target.jit import buffer, jit
from ..target.program import Program


def run_program(program: Program, arrays: Sequence[Array]) -> list[Array]:
    """What a run leaves in the parameters that are not constant; it finds ``arrays`` there."""
    memory = [_placed(array) for array in arrays]
    jit(program, once=True)(*memory)
    return memory


def _placed(array: Array) -> Array:
    """A copy that lies as the code wants it."""
    place = buffer(array.nbytes).view(array.dtype).reshape(array.shape)
    place[...] = array
    return place
