"""Links the listings of a model into one program and runs it under QEMU.

Memories, constants and what each thread has of its own are places of the harness; the places of
kernels are views of them, so that each kernel finds its own table of addresses. Listings keep their
own labels, but symbols carry the kernel's number. Bytes that no image gives start as rubbish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ...linked import ExecutedProgram, LinkedKernel, Memories, Phases
from ..cycles import calls
from ..listing import PackedListing
from .assemble import assemble, harness, link
from .qemu import PhaseCall, PlaceImage, execute, phase_table
from .run_listing import NEWEST


def run_linked(
    memories: Memories, kernels: Sequence[LinkedKernel], phases: Phases, timeout: float = 3600
) -> ExecutedProgram:
    """Runs phases of kernels in their order, threads one after the other in each. Transfers are
    done when they are awaited, not before."""
    listings = [_named(kernel.listing, number) for number, kernel in enumerate(kernels)]
    images = [PlaceImage(data, is_output=True) for data in memories.values()]
    numbers = {name: number for number, name in enumerate(memories)}
    tables: list[list[tuple[int, int]]] = []
    for kernel in kernels:
        table: list[tuple[int, int]] = []
        for source in kernel.places:
            if isinstance(source, tuple):
                table.append((numbers[source[0]], source[1]))
            else:
                images.append(PlaceImage(source, per_thread=isinstance(source, int)))
                table.append((len(images) - 1, 0))
        tables.append(table)
    views: list[tuple[int, int]] = []
    bases: list[int] = []
    for table, listing in zip(tables, listings, strict=True):
        bases.append(len(images) + 1 + len(views))
        shifted = [(table[place][0], table[place][1] + by) for place, by in listing.views]
        views += [*table, (len(images), 0), *shifted]
    found = [_call(listings[kernel], phase, bases[kernel]) for kernel, phase in phases]
    version = min(max(listing.machine.version for listing in listings), NEWEST)
    objects = map(partial(assemble, version=version), [listing.text for listing in listings])
    table_text = phase_table([call.symbol for call in found])
    program = link(*harness(), *objects, assemble(table_text, version))
    spill = max(listing.spill_bytes for listing in listings)
    done = execute(program, found, images, spill, views, late=True, timeout=timeout)
    return ExecutedProgram({name: done.outputs[n] for name, n in numbers.items()}, done.packets)


def _named(listing: object, number: int) -> PackedListing:
    """A listing whose functions have symbols of their own in the whole program."""
    assert isinstance(listing, PackedListing)
    made = {id(f): replace(f, symbol=f"kernel_{number}_{f.symbol}") for f in listing.functions}
    return replace(listing, functions=[made[id(f)] for f in listing.functions])


def _call(listing: PackedListing, phase: int, base: int) -> PhaseCall:
    function = listing.functions[phase]
    return PhaseCall(function.symbol, calls(function, listing.machine), base)
