"""A whole model's program: executed by an emulator of its machine, or as a file of its code.

    done = executed(tuned, arrays)
    done.outputs, done.rows[0].packets, done.rows[0].predicted
    emitted(tuned, "elf")

Every kernel's listing, the transfers between them, weights and the memory plan are one program. It
is fed the inputs; its bytes can be held to the exact evaluation, and its packets, by kernel, to
those of the listings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..graph.graph import Array
from ..target.jit import Bytes
from ..target.linked import LinkedKernel, LinkedProgram, Source
from ..target.program import Place
from .compiler import Compiled
from .errors import InputError
from .model_program import ordered
from .program_memory import Arrival
from .program_order import At
from .runtime import PAD, arriving, outputs_in, put_inputs
from .targets import family_of
from .tuned import Tuned


@dataclass(frozen=True, slots=True)
class ExecutedKernel:
    """A kernel's packets on all threads, with those of its constants' transfer."""

    name: str
    packets: int  # that ran
    predicted: int  # by the listing


@dataclass(frozen=True, slots=True)
class ExecutedModel:
    """The outputs' integers, and a row a kernel."""

    outputs: list[Array]
    rows: list[ExecutedKernel]


def executed(tuned: Tuned, inputs: Sequence[Array]) -> ExecutedModel:
    """Runs a model on u8 ``inputs``; InputError where the target has no emulator."""
    execute = family_of(tuned.ready.machine).execute
    if execute is None:
        raise InputError(f"run: the target must have an emulator, but {tuned.target} has none")
    linked = _linked(tuned, inputs)
    done = execute(linked.program)
    runs = tuned.ready.kernels
    ran, predicted = [0] * len(runs), [0] * len(runs)
    for owner, (kernel, phase), packets in zip(linked.owners, linked.program.phases, done.packets,
                                               strict=True):  # fmt: skip
        ran[owner] += sum(packets)
        predicted[owner] += sum(linked.counts[kernel][phase])
    rows = zip((task.name for task in runs), ran, predicted, strict=True)
    left = {name: np.frombuffer(data, np.uint8) for name, data in done.memories.items()}
    return ExecutedModel(outputs_in(tuned.ready, left), [ExecutedKernel(*row) for row in rows])


def emitted(tuned: Tuned, form: str) -> bytes:
    """The model's program as a file, in one of ``linked.FORMS``. As an ELF it has its weights, and
    reads its DDR, with stored inputs at their places, from standard input."""
    emit = family_of(tuned.ready.machine).emit
    if emit is None:
        raise InputError(f"emit: the target must have files, but {tuned.target} has none")
    zeros = [np.zeros(tuned.graph.types[name].shape, np.uint8) for name in tuned.graph.inputs]
    data: bytes = emit(_linked(tuned, zeros).program, form)
    return data


@dataclass(frozen=True, slots=True)
class _Linked:
    """A model's program, for each of its phases the kernel for which it runs, and of each of its
    kernels the packets of each phase and thread."""

    program: LinkedProgram
    owners: Sequence[int]
    counts: Sequence[Sequence[Sequence[int]]]


def _linked(tuned: Tuned, inputs: Sequence[Array]) -> _Linked:
    runs, found = tuned.ready.kernels, tuned.program
    codes = [task.compiled(tuned.choices[task.key].point) for task in runs]
    kernels = [
        LinkedKernel(code.listing, tuple(_source(p, places) for p in code.program.places))
        for code, places in zip(codes, found.places, strict=True)
    ]
    counts = [code.cost.executed for code in codes]
    order, transfers = ordered(tuned.ready, tuned.choices, found)
    if transfers is not None:
        moved = (s for one in found.arrivals
                 for s in _moved(one, codes[one.kernel], found.places[one.kernel]))  # fmt: skip
        kernels.append(LinkedKernel(transfers.listing, tuple(moved)))
        counts.append(transfers.cost.executed)
    ours = transfers and transfers.listing
    phases = [(len(runs) if one.listing is ours else one.owner, one.phase) for one in order]
    memories: dict[str, bytes | int] = {"tcm": tuned.ready.machine.tcm, "ddr": _ddr(tuned, inputs)}
    program = LinkedProgram(memories, kernels, phases)
    return _Linked(program, [one.owner for one in order], counts)


def _source(place: Place, places: Mapping[str, At]) -> Source:
    """Where a place lies. Threads' own copies, and constants in DDR, are by themselves."""
    if place.data is not None and place.name not in places:
        return place.data.ljust(place.size, b"\0")
    return place.size if place.per_thread else places[place.name]


def _moved(one: Arrival, code: Compiled, places: Mapping[str, At]) -> Iterator[Source]:
    """The place to which constants come, and their bytes."""
    image = np.zeros(one.size, np.uint8)
    for (_, at), data in arriving(code.program, places):
        image[at - one.address :][: len(data)] = data
    yield "tcm", one.address
    yield image.tobytes()


def _ddr(tuned: Tuned, inputs: Sequence[Array]) -> bytes:
    """DDR with the inputs in it."""
    found = _rubbish(tuned.program.ddr)
    put_inputs(tuned.ready, inputs, {"ddr": found})
    return found.tobytes()


def _rubbish(size: int) -> Bytes:
    return np.full(size, PAD, np.uint8)
