"""Runs selected programs on the host: one native function a kernel.

    kernel = jit(program)
    kernel(x, weights, y)  # NumPy arrays for the places that are parameters, in their order

The code computes what the machine would, byte for byte; see ``llvm_program.py`` for how.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tir.places import ALIGN
from .instruction import Kind
from .llvm_program import program_ir
from .program import Dma, Item, Loop, MachineOp, Place, Program

Bytes = NDArray[np.uint8]


def buffer(size: int) -> Bytes:
    """Zeroed bytes as places need them: aligned, with slack behind."""
    memory = np.zeros(size + 2 * ALIGN, np.uint8)
    start = -memory.ctypes.data % ALIGN
    return memory[start : start + size]


class NativeProgram:
    """A compiled program. Calls may run at once in several threads: scratch is per thread."""

    def __init__(self, program: Program, engine: Any, address: int) -> None:
        self.program = program
        self._engine = engine  # owns the code
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)
        self._constants = {p.name: _filled(p.data, p.size) for p in program.places if p.data}
        self._written = written(program)
        self._local = threading.local()
        self.parameters = [p for p in program.places if not p.local and p.data is None]

    def __call__(self, *arrays: NDArray[Any]) -> None:
        """Runs on the parameters' arrays, which are read and written in place."""
        names = ", ".join(p.name for p in self.parameters)
        if len(arrays) != len(self.parameters):
            raise ValueError(
                f"{self.program.name}: an array a parameter ({names}), but got {len(arrays)}"
            )
        passed = [_Passed(p, a, self) for p, a in zip(self.parameters, arrays, strict=True)]
        self.run({one.place.name: one.memory.ctypes.data for one in passed})
        for one in passed:
            one.give_back()

    def run(self, addresses: Mapping[str, int], phase: int | None = None) -> None:
        """Runs on places at addresses that are multiples of ``ALIGN``, each with its slack:
        parameters, and others for which it has memory of its own. All phases, or one of them."""
        table = (ctypes.c_void_p * len(self.program.places))()
        for number, place in enumerate(self.program.places):
            if place.name in addresses:
                table[number] = addresses[place.name]
            elif place.data is not None:
                table[number] = self._constants[place.name].ctypes.data
            else:
                table[number] = self._scratch(place)
        phases = (0, len(self.program.phases)) if phase is None else (phase, 1)
        self._run(ctypes.addressof(table), *phases)

    def _scratch(self, place: Place) -> int:
        own: dict[str, Bytes] = self._local.__dict__
        if place.name not in own:
            own[place.name] = buffer(place.size)
        return own[place.name].ctypes.data


class _Passed:
    """An array as a place: itself where it is aligned and has slack, or else a copy."""

    def __init__(self, place: Place, array: NDArray[Any], kernel: NativeProgram) -> None:
        if array.nbytes != place.size or not array.flags.c_contiguous:
            raise ValueError(
                f"{kernel.program.name}: {place.name} takes {place.size} bytes in one piece, "
                f"but got {array.nbytes} of shape {array.shape}"
            )
        self.place, self.array, self.kernel = place, array, kernel
        self.memory = _bytes_of(array) if _has_slack(array) else _filled(array, place.size)

    def give_back(self) -> None:
        if self.place.name in self.kernel._written and not _has_slack(self.array):
            _bytes_of(self.array)[:] = self.memory


def _bytes_of(array: NDArray[Any]) -> Bytes:
    return array.reshape(-1).view(np.uint8)


def _filled(data: Any, size: int) -> Bytes:
    memory = buffer(size)
    source = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else _bytes_of(data)
    memory[: len(source)] = source
    return memory


def _has_slack(array: NDArray[Any]) -> bool:
    """Whether the array is aligned and the memory that it is a part of goes on behind it."""
    start, owner = array.ctypes.data, array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    end = owner.ctypes.data + owner.nbytes
    return start % ALIGN == 0 and end - start - array.nbytes >= ALIGN


def written(program: Program) -> frozenset[str]:
    """The places that the program stores to."""
    found: set[str] = set()

    def walk(items: Sequence[Item]) -> None:
        for item in items:
            match item:
                case MachineOp(address=address) if item.instruction.kind is Kind.STORE and address:
                    found.add(address.buffer)
                case Dma(target=target):
                    found.add(target.buffer)
                case Loop(body=body):
                    walk(body)
                case _:
                    pass

    for phase in program.phases:
        walk(phase.body)
    return frozenset(found)


def jit(
    program: Program, features: frozenset[str] | None = None, *, once: bool = False
) -> NativeProgram:
    """Compiles a program for this host, with the ``features`` of the host as a rule; code that runs
    ``once`` is made in half of the time and not as fast."""
    engine = compiled(program_ir(program, host()[2] if features is None else features), once)
    return NativeProgram(program, engine, engine.get_function_address("kernel"))


def compiled(text: str, once: bool = False) -> Any:
    """The engine that holds a module's code."""
    import llvmlite.binding as llvm

    cpu, features, _ = host()
    module = llvm.parse_assembly(text)
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=cpu, features=features, opt=0 if once else 1, jit=True
    )
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    _inline(module, machine)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


def _inline(module: Any, machine: Any) -> None:
    """Instructions into the kernel. Code generation cleans up what they have in common; the usual
    passes take as long as it and gain nothing on straight vector code."""
    import llvmlite.binding as llvm

    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))


@cache
def host() -> tuple[str, str, frozenset[str]]:
    """The host's processor and features, as text and as a set."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    found = llvm.get_host_cpu_features()
    return (
        llvm.get_host_cpu_name(),
        found.flatten(),
        frozenset(name for name, there in found.items() if there),
    )
