"""Runs a whole compiled model: stored tensors at their planned places in two arenas.

    runtime = Runtime(ready, {key: point})
    outputs = runtime.run([u8_array])

Tensors are read and written where the memory plan puts them, so a plan in which live tensors
overlap gives wrong bytes. Scratch of a kernel is its own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from ..graph.borders import stored_shape
from ..graph.graph import Array
from ..graph.physical import pack, unpack
from ..schedule.knobs import Point
from ..target.jit import Bytes, NativeProgram, buffer, jit
from .kernel_task import KernelTask
from .memory_plan import Spot
from .prepare import Ready

PAD = 77  # the byte in the pads of inputs, on which no result may depend


class Runtime:
    """A model's JITed kernels and its memory; kernels are compiled at the first run."""

    def __init__(self, ready: Ready, points: Mapping[str, Point]) -> None:
        self.ready, self.points = ready, points
        self.arenas = {"tcm": buffer(ready.plan.tcm), "ddr": buffer(ready.plan.ddr)}
        self._steps: list[tuple[NativeProgram, list[int]]] | None = None
        self._lock = threading.Lock()

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The u8 outputs for u8 ``inputs``."""
        graph = self.ready.graph
        with self._lock:
            for name, array in zip(graph.inputs, inputs, strict=True):
                stored = pack(array, stored_shape(graph, name), PAD)
                self._bytes(self.ready.plan.spots[name])[:] = stored.reshape(-1)
            for kernel, addresses in self.steps:
                kernel.run(addresses)
            return [self._output(name) for name in graph.outputs]

    def prepare(self) -> None:
        """Compiles the kernels, if that has not been done."""
        with self._lock:
            assert self.steps is not None

    @property
    def steps(self) -> list[tuple[NativeProgram, list[int]]]:
        """Each kernel's native function and the addresses of its operands."""
        if self._steps is None:
            self._steps = [self._step(task) for task in self.ready.kernels]
        return self._steps

    def _step(self, task: KernelTask) -> tuple[NativeProgram, list[int]]:
        kernel = jit(task.machine.build(task.template.apply(self.points[task.key])))
        tensors = [*task.kernel.inputs, task.kernel.output]
        spots = [self.ready.plan.spots[name] for name in tensors]
        return kernel, [self.arenas[s.scope].ctypes.data + s.offset for s in spots]

    def _bytes(self, spot: Spot) -> Bytes:
        return self.arenas[spot.scope][spot.offset : spot.offset + spot.size]

    def _output(self, name: str) -> Array:
        graph = self.ready.graph
        if name in graph.constants:
            return graph.constants[name]
        stored = self._bytes(self.ready.plan.spots[name])
        return unpack(stored, stored_shape(graph, name)).reshape(graph.types[name].shape)
