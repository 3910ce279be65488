"""Links the listings of a model into one program: a file of it, or a run under QEMU.

Memories, constants and what each thread has of its own are places of the harness; the places of
kernels are views of them, so that each kernel finds its own table of addresses. Listings keep their
own labels, but symbols carry the kernel's number. Bytes that no image gives start as rubbish.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ...linked import ExecutedProgram, LinkedProgram
from ..cycles import calls
from ..listing import PackedListing
from .assemble import assemble, data_object, harness, link, merged
from .qemu import PhaseCall, PlaceImage, Views, execute, message, phase_table
from .run_listing import NEWEST


def run_linked(program: LinkedProgram, timeout: float = 3600) -> ExecutedProgram:
    """Runs phases of kernels in their order, threads one after the other in each. Transfers are
    done when they are awaited, not before."""
    laid = _laid(program)
    linked = link(*harness(), *laid.objects())
    done = execute(linked, laid.calls, laid.images, laid.spill, laid.views, late=True,
                   timeout=timeout)  # fmt: skip
    outputs = {name: done.outputs[n] for name, n in laid.memories.items() if n in done.outputs}
    return ExecutedProgram(outputs, done.packets)


def emit_linked(program: LinkedProgram, form: str) -> bytes:
    """A program as a file: all listings as assembly ("asm"), as one object ("obj"), or with the
    harness and an image of its places but the last memory, which it reads ("elf")."""
    return _FORMS[form](_laid(program))


@dataclass(frozen=True, slots=True)
class _Laid:
    """Listings with symbols of their own, and what the harness must know."""

    listings: list[PackedListing]
    calls: list[PhaseCall]
    images: list[PlaceImage]
    views: Views
    memories: Mapping[str, int]  # the numbers of their places

    @property
    def version(self) -> int:
        return min(max(listing.machine.version for listing in self.listings), NEWEST)

    @property
    def spill(self) -> int:
        return max(listing.spill_bytes for listing in self.listings)

    def texts(self) -> list[str]:
        table = phase_table([call.symbol for call in self.calls])
        return [*(listing.text for listing in self.listings), table]

    def objects(self) -> list[bytes]:
        return [assemble(text, self.version) for text in self.texts()]

    def image(self) -> bytes:
        """What the harness reads, as far as the last memory."""
        whole = message(self.calls, self.images, self.views, self.spill, late=True)
        return whole[: len(whole) - self.images[-1].size]


def _laid(program: LinkedProgram) -> _Laid:
    listings = [_named(kernel.listing, number) for number, kernel in enumerate(program.kernels)]
    sources = [source for kernel in program.kernels for source in kernel.places]
    own = [source for source in sources if not isinstance(source, tuple)]
    images = [PlaceImage(source, per_thread=isinstance(source, int)) for source in own]
    memories = {name: len(own) + number for number, name in enumerate(program.memories)}
    images += [PlaceImage(data, not isinstance(data, int)) for data in program.memories.values()]
    views: list[tuple[int, int]] = []
    bases: list[int] = []
    count = 0
    for kernel, listing in zip(program.kernels, listings, strict=True):
        table: list[tuple[int, int]] = []
        for source in kernel.places:
            if isinstance(source, tuple):
                table.append((memories[source[0]], source[1]))
            else:
                table.append((count, 0))
                count += 1
        bases.append(len(images) + 1 + len(views))
        shifted = [(table[place][0], table[place][1] + by) for place, by in listing.views]
        views += [*table, (len(images), 0), *shifted]
    found = [_call(listings[kernel], phase, bases[kernel]) for kernel, phase in program.phases]
    return _Laid(listings, found, images, views, memories)


def _named(listing: object, number: int) -> PackedListing:
    """A listing whose functions have symbols of their own in the whole program."""
    assert isinstance(listing, PackedListing)
    made = {id(f): replace(f, symbol=f"kernel_{number}_{f.symbol}") for f in listing.functions}
    return replace(listing, functions=[made[id(f)] for f in listing.functions])


def _call(listing: PackedListing, phase: int, base: int) -> PhaseCall:
    function = listing.functions[phase]
    return PhaseCall(function.symbol, calls(function, listing.machine), base)


_FORMS: Mapping[str, Callable[[_Laid], bytes]] = {
    "asm": lambda laid: "\n".join(laid.texts()).encode(),
    "obj": lambda laid: merged(*laid.objects()),
    "elf": lambda laid: link(
        *harness(), *laid.objects(), data_object("dovetail_image", laid.image(), laid.version)
    ),
}
