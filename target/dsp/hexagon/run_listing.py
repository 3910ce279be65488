"""Executes a compiled program under QEMU: what its listing computes, and in how many packets.

    done = run_program(program, compile_program(program, machine), [x, weights, y])
    done.outputs["y"]     # the place's bytes afterwards
    done.packets          # executed, of each phase and thread: what ``cost(listing)`` predicts

Memory that no array and no constant fills starts as rubbish, as do registers, so that a listing
which relies on zeros, or on the bytes behind an operand, gives other bytes than the JIT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...jit import written
from ...program import Place, Program
from ..cycles import calls
from ..listing import PackedListing
from .qemu import Counts, PhaseCall, PlaceImage, run

Bytes = NDArray[np.uint8]
NEWEST = 66  # version of the instruction set that listings are assembled for, at most


@dataclass(frozen=True, slots=True)
class Executed:
    """``outputs``: the bytes of every parameter that the program writes, by name."""

    outputs: dict[str, Bytes]
    packets: Counts
    instructions: Counts


def run_program(
    program: Program,
    listing: PackedListing,
    arrays: Sequence[NDArray[Any]],
    *,
    fill: int = 0xA5,
    backwards: bool = False,
    late: bool = False,
    timeout: float = 300,
) -> Executed:
    """Runs on a copy of the parameters' arrays, in the order of the places; see ``run``."""
    names = [p.name for p in program.places if not p.local and p.data is None]
    if len(arrays) != len(names):
        raise ValueError(
            f"{program.name}: an array a parameter ({', '.join(names)}), but got {len(arrays)}"
        )
    given = dict(zip(names, arrays, strict=True))
    changed = written(program)
    images = [_image(place, given, place.name in changed) for place in program.places]
    phases = [PhaseCall(f.symbol, calls(f, listing.machine)) for f in listing.functions]
    version = min(listing.machine.version, NEWEST)
    done = run(
        listing.text, phases, images, listing.spill_bytes, listing.views,
        version=version, fill=fill, backwards=backwards, late=late, timeout=timeout,
    )  # fmt: skip
    outputs = {
        program.places[number].name: np.frombuffer(data, np.uint8)
        for number, data in done.outputs.items()
    }
    return Executed(outputs, done.packets, done.insns)


def _image(place: Place, given: dict[str, NDArray[Any]], changed: bool) -> PlaceImage:
    if place.data is not None:
        room = place.data.ljust(place.size, b"\0")
        return PlaceImage(room, per_thread=place.per_thread)
    if place.local:
        return PlaceImage(place.size, per_thread=place.per_thread)
    array = given[place.name]
    if array.nbytes != place.size:
        raise ValueError(f"{place.name}: takes {place.size} bytes, but got {array.nbytes}")
    return PlaceImage(array.tobytes(), is_output=changed)
