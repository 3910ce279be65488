"""Kernels of a model as one program that a machine, or an emulator of it, runs as a whole.

program = LinkedProgram({"tcm": size, "ddr": image}, kernels, [(0, 0), (0, 1), (1, 0)])
done = execute(program)
done.memories["ddr"], done.packets[2]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .protocol import Listing

Source = bytes | int | tuple[str, int]


@dataclass(frozen=True, slots=True)
class LinkedKernel:
    """A packed kernel, and of each of its program's places where it lies: in a memory from an
    address on, or by itself with these bytes, or with so many bytes a thread."""

    listing: Listing
    places: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class LinkedProgram:
    """Kernels with their memories, each with its bytes, or so many that mean nothing; and phases in
    the order in which they run: the number of a kernel, and of its phase."""

    memories: Mapping[str, bytes | int]
    kernels: Sequence[LinkedKernel]
    phases: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ExecutedProgram:
    """What memories hold afterwards that had bytes before, and the packets that ran, by phase and
    thread."""

    memories: Mapping[str, bytes]
    packets: Sequence[Sequence[int]]


FORMS = ("asm", "obj", "elf")  # in which a program is written as a file

Execute = Callable[[LinkedProgram], ExecutedProgram]
Emit = Callable[[LinkedProgram, str], bytes]  # the file in one of the forms
