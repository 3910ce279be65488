"""A whole model's program, executed by an emulator of its machine.

    done = executed(tuned, arrays)
    done.outputs, done.rows[0].packets, done.rows[0].predicted

Every kernel's listing, the transfers between them, weights and the memory plan are one program. It
is fed the inputs; its bytes can be held to the exact evaluation, and its packets, by kernel, to
those of the listings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..graph.borders import stored_shape
from ..graph.graph import Array
from ..graph.physical import pack, unpack
from ..target.linked import LinkedKernel, Source
from ..target.program import Place
from .compiler import Compiled
from .errors import InputError
from .model_program import ordered
from .program_memory import Arrival
from .program_order import At
from .runtime import PAD
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
    done = execute({"tcm": _rubbish(tuned.ready.machine.tcm).tobytes(), "ddr": _ddr(tuned, inputs)},
                   kernels, phases)  # fmt: skip
    ran, predicted = [0] * len(runs), [0] * len(runs)
    for one, (kernel, phase), packets in zip(order, phases, done.packets, strict=True):
        ran[one.owner] += sum(packets)
        predicted[one.owner] += sum(counts[kernel][phase])
    rows = zip((task.name for task in runs), ran, predicted, strict=True)
    outputs = [_output(tuned, name, done.memories) for name in tuned.graph.outputs]
    return ExecutedModel(outputs, [ExecutedKernel(*row) for row in rows])


def _source(place: Place, places: Mapping[str, At]) -> Source:
    """Where a place lies. Threads' own copies, and constants in DDR, are by themselves."""
    if place.data is not None and place.name not in places:
        return place.data.ljust(place.size, b"\0")
    return place.size if place.per_thread else places[place.name]


def _moved(one: Arrival, code: Compiled, places: Mapping[str, At]) -> Iterator[Source]:
    """The place to which constants come, and their bytes."""
    image = np.zeros(one.size, np.uint8)
    for place in code.program.places:
        if place.data is not None and place.name in places:
            at = places[place.name][1] - one.address
            image[at : at + len(place.data)] = np.frombuffer(place.data, np.uint8)
    yield "tcm", one.address
    yield image.tobytes()


def _ddr(tuned: Tuned, inputs: Sequence[Array]) -> bytes:
    """DDR with the inputs in it."""
    found = _rubbish(tuned.program.ddr)
    for name, array in zip(tuned.graph.inputs, inputs, strict=True):
        spot = tuned.ready.plan.spots[name]
        stored = pack(array, stored_shape(tuned.graph, name), PAD)
        found[spot.offset : spot.offset + spot.size] = stored.reshape(-1)
    return found.tobytes()


def _rubbish(size: int) -> np.ndarray:
    return np.full(size, PAD, np.uint8)


def _output(tuned: Tuned, name: str, memories: Mapping[str, bytes]) -> Array:
    graph = tuned.graph
    if name in graph.constants:
        return graph.constants[name]
    spot = tuned.ready.plan.spots[name]
    data = memories[spot.scope][spot.offset : spot.offset + spot.size]
    stored = np.frombuffer(data, np.uint8)
    return unpack(stored, stored_shape(graph, name)).reshape(graph.types[name].shape)
