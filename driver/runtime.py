"""Runs a whole compiled model: stored tensors at their planned places in two arenas.

    runtime = Runtime(ready, choices, program)
    outputs = runtime.run([u8_array])

Everything lies where the program has it, scratch and constants that come to TCM, too; phases run in
its order, and constants come when their transfers start: a program in which what is alive overlaps
gives wrong bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..graph.borders import stored_shape
from ..graph.graph import Array
from ..graph.physical import pack, unpack
from ..target.jit import Bytes, NativeProgram, buffer, jit
from ..target.program import Program
from .choose import Choice
from .kernel_task import KernelTask
from .memory_plan import Spot
from .model_program import ModelProgram
from .prepare import Ready
from .program_order import At

PAD = 77  # the byte in the pads of inputs, on which no result may depend


class Runtime:
    """A model's JITed kernels and its memory; kernels are compiled at the first run."""

    def __init__(self, ready: Ready, choices: Mapping[str, Choice], program: ModelProgram) -> None:
        self.ready, self.choices, self.program = ready, choices, program
        sizes = {"tcm": ready.machine.tcm, "ddr": program.ddr}
        self.arenas = {memory: buffer(size) for memory, size in sizes.items()}
        self._steps: list[tuple[NativeProgram, dict[str, int]]] | None = None
        self._lock = threading.Lock()

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The u8 outputs for u8 ``inputs``."""
        with self._lock:
            put_inputs(self.ready, inputs, self.arenas)
            kernels = self.steps
            for step in self.program.steps:
                if step.kernel < len(kernels):
                    kernel, addresses = kernels[step.kernel]
                    kernel.run(addresses, step.phase)
                elif step.phase % 2 == 0:  # it starts
                    self._bring(self.program.arrivals[step.phase // 2].kernel)
            return outputs_in(self.ready, self.arenas)

    def prepare(self) -> None:
        """Compiles the kernels, if that has not been done."""
        with self._lock:
            assert self.steps is not None

    @property
    def steps(self) -> list[tuple[NativeProgram, dict[str, int]]]:
        """Each kernel's native function, and where its places are."""
        if self._steps is None:
            pairs = zip(self.ready.kernels, self.program.places, strict=True)
            self._steps = [self._step(*pair) for pair in pairs]
        return self._steps

    def _step(
        self, task: KernelTask, places: Mapping[str, At]
    ) -> tuple[NativeProgram, dict[str, int]]:
        kernel = jit(task.machine.build(task.template.apply(self.choices[task.key].point)))
        starts = {memory: arena.ctypes.data for memory, arena in self.arenas.items()}
        return kernel, {name: starts[memory] + at for name, (memory, at) in places.items()}

    def _bring(self, number: int) -> None:
        """Copies a kernel's constants to where it reads them."""
        program = self.steps[number][0].program
        for (memory, at), data in arriving(program, self.program.places[number]):
            self.arenas[memory][at : at + len(data)] = data


def arriving(program: Program, places: Mapping[str, At]) -> Iterator[tuple[At, Bytes]]:
    """The constants of a kernel that come to TCM: where each lies there, and its bytes."""
    for place in program.places:
        if place.data is not None and place.name in places:
            yield places[place.name], np.frombuffer(place.data, np.uint8)


def put_inputs(ready: Ready, inputs: Sequence[Array], memories: Mapping[str, Bytes]) -> None:
    """Writes u8 inputs where the plan has them, in their stored form."""
    for name, array in zip(ready.graph.inputs, inputs, strict=True):
        stored = pack(array, stored_shape(ready.graph, name), PAD)
        _bytes(ready.plan.spots[name], memories)[:] = stored.reshape(-1)


def outputs_in(ready: Ready, memories: Mapping[str, Bytes]) -> list[Array]:
    """The graph's outputs, from where the plan has them."""
    return [_output(ready, name, memories) for name in ready.graph.outputs]


def _output(ready: Ready, name: str, memories: Mapping[str, Bytes]) -> Array:
    graph = ready.graph
    if name in graph.constants:
        return graph.constants[name]
    stored = _bytes(ready.plan.spots[name], memories)
    return unpack(stored, stored_shape(graph, name)).reshape(graph.types[name].shape)


def _bytes(spot: Spot, memories: Mapping[str, Bytes]) -> Bytes:
    return memories[spot.scope][spot.offset : spot.offset + spot.size]
