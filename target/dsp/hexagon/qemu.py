"""Executes a listing under QEMU: its real bytes and its real packets.

A phase is a leaf function that returns by ``jumpr r31`` and may change every register but r29, r30
and r31. It gets

    r0  a table of addresses: the places in order (of a place per thread, this thread's own copy),
        then this thread's spill area, then its views: bytes within places
    r1  its first iteration        r2  how many

and may call ``dovetail_dma`` (r26 target, r27 source, r28 a record of four words: rows, bytes of a
row, target stride, source stride) and ``dovetail_wait``, which change only r31. Packets are those
of the phase itself, calls included, without anything inside the two functions or around the phase.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .assemble import assemble, harness, link
from .tools import HexagonError, tool

_OUTPUT, _PER_THREAD, _GIVEN = 1, 2, 4  # as in harness.c
_BACKWARDS, _LATE = 1, 2


@dataclass(frozen=True, slots=True)
class PhaseCall:
    """One phase: its function, and each thread's (first iteration, count); count 0: no call. Its
    table of addresses begins ``base`` entries on."""

    symbol: str
    threads: Sequence[tuple[int, int]]
    base: int = 0


@dataclass(frozen=True, slots=True)
class PlaceImage:
    """A buffer: its first contents, or only its size when it starts as rubbish."""

    contents: bytes | int
    is_output: bool = False
    per_thread: bool = False

    @property
    def size(self) -> int:
        return self.contents if isinstance(self.contents, int) else len(self.contents)

    @property
    def flags(self) -> int:
        given = 0 if isinstance(self.contents, int) else _GIVEN
        return _OUTPUT * self.is_output | _PER_THREAD * self.per_thread | given


Views = Sequence[tuple[int, int]]  # the number of a place, and bytes into it
Counts = tuple[tuple[int, ...], ...]  # of each phase, of each thread


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run. ``outputs``: place number to its bytes, threads' copies in order."""

    outputs: dict[int, bytes]
    packets: Counts
    insns: Counts
    hvx_insns: Counts


def run(
    text: str,
    phases: Sequence[PhaseCall],
    places: Sequence[PlaceImage],
    spill_bytes: int = 0,
    views: Views = (),
    *,
    version: int = 66,
    fill: int = 0xA5,
    backwards: bool = False,
    late: bool = False,
    timeout: float = 300,
) -> RunResult:
    """Assembles ``text`` and runs its phases in order, threads one after the other in each.

    Memory that no image fills starts as ``fill``; vectors and scalars start as rubbish. Copies are
    done when they start or, with ``late``, at the thread's next wait; ``backwards`` runs the last
    thread first. No good program gives other bytes under these.
    """
    table = phase_table([phase.symbol for phase in phases])
    program = link(*harness(), assemble(text + table, version))
    return execute(program, phases, places, spill_bytes, views, fill=fill, backwards=backwards,
                   late=late, timeout=timeout)  # fmt: skip


def phase_table(symbols: Sequence[str]) -> str:
    """The entry points for the harness, as text that ends a listing."""
    name = "dovetail_functions"
    head = f'\n\t.section .rodata.dovetail,"a"\n\t.p2align 2\n\t.globl {name}\n{name}:\n'
    return head + "".join(f"\t.word {symbol}\n" for symbol in symbols)


def execute(
    program: bytes,
    phases: Sequence[PhaseCall],
    places: Sequence[PlaceImage],
    spill_bytes: int = 0,
    views: Views = (),
    *,
    fill: int = 0xA5,
    backwards: bool = False,
    late: bool = False,
    timeout: float = 300,
) -> RunResult:
    """Runs a linked program that has the harness and ``dovetail_functions``."""
    threads = _threads(phases)
    given = message(phases, places, views, spill_bytes, fill=fill, backwards=backwards, late=late)
    answer = _qemu(program, given, timeout)
    counts = np.frombuffer(answer, "<u4", len(phases) * threads * 3).reshape(-1, threads, 3)
    outputs, at = {}, counts.nbytes
    for number, place in enumerate(places):
        if place.is_output:
            size = place.size * (threads if place.per_thread else 1)
            outputs[number] = answer[at : at + size]
            at += size
    packets, insns, hvx = (_per_phase(phases, counts[:, :, kind]) for kind in range(3))
    return RunResult(outputs, packets, insns, hvx)


def _threads(phases: Sequence[PhaseCall]) -> int:
    return max((len(phase.threads) for phase in phases), default=1)


def message(
    phases: Sequence[PhaseCall],
    places: Sequence[PlaceImage],
    views: Views,
    spill_bytes: int,
    *,
    fill: int = 0xA5,
    backwards: bool = False,
    late: bool = False,
) -> bytes:
    """The bytes that harness.c reads; they end with those of the places in their order."""
    threads = _threads(phases)
    more = spill_bytes, fill, _BACKWARDS * backwards | _LATE * late
    parts = [struct.pack("<7I", len(places), len(views), threads, len(phases), *more)]
    parts += [struct.pack("<2I", place.size, place.flags) for place in places]
    parts += [struct.pack("<2i", *view) for view in views]
    parts += [struct.pack("<I", phase.base) for phase in phases]
    for phase in phases:
        idle = [(0, 0)] * (threads - len(phase.threads))
        parts += [struct.pack("<iI", *chunk) for chunk in [*phase.threads, *idle]]
    parts += [place.contents for place in places if not isinstance(place.contents, int)]
    return b"".join(parts)


def _qemu(program: bytes, given: bytes, timeout: float) -> bytes:
    with TemporaryDirectory(prefix="dovetail-") as folder:
        path = Path(folder, "program")
        path.write_bytes(program)
        path.chmod(0o755)
        command = [tool("qemu-hexagon"), "-cpu", "v67", str(path)]
        try:
            done = subprocess.run(command, input=given, capture_output=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise HexagonError(
                f"run: the phases must end, but QEMU was still running after {timeout:g} s"
            ) from None
    if done.returncode:
        raise HexagonError(f"run: the phases must return, but {_death(done)}")
    return done.stdout


def _death(done: subprocess.CompletedProcess[bytes]) -> str:
    causes = {
        101: "the input ended early",
        102: "the output could not be written",
        103: "QEMU has no memory for the places",
        104: "too many copies were started and not awaited",
    }
    code = done.returncode
    said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    end = f"QEMU died by signal {-code}" if code < 0 else f"QEMU ended with code {code}"
    return ": ".join([causes.get(code, end), *said])


def _per_phase(phases: Sequence[PhaseCall], counts: np.ndarray) -> Counts:
    return tuple(
        tuple(int(count) for count in row[: len(phase.threads)])
        for phase, row in zip(phases, counts, strict=True)
    )
