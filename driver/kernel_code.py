"""What a model's program needs of a kernel's code: its listing, its places, what its phases touch.

code = KernelCode.of(program, listing, threads)
KernelCode.read(code.packed())         # from a worker
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..target.barriers import PhaseTouches, program_touches
from ..target.program import Dma, Place, Program, WaitOp, items_in
from ..target.protocol import Listing


@dataclass(frozen=True, slots=True)
class KernelCode:
    """A packed kernel. Constant places keep a mark instead of their bytes."""

    listing: Listing
    places: tuple[Place, ...]
    touches: tuple[PhaseTouches, ...]  # by phase, then by thread
    moves: tuple[bool, ...]  # by phase: whether it starts or awaits transfers

    @classmethod
    def of(cls, program: Program, listing: Listing, threads: int) -> KernelCode:
        """``threads`` are those of the machine."""
        places = tuple(replace(place, data=place.data and b"\0") for place in program.places)
        busy = min(program.threads or threads, threads)
        moves = tuple(any(isinstance(item, Dma | WaitOp) for item in items_in(phase.code.body))
                      for phase in program.phases)  # fmt: skip
        return cls(listing, places, program_touches(program, busy), moves)

    def packed(self) -> bytes:
        """As one process passes it to another one."""
        return zlib.compress(pickle.dumps(self), 1)

    @classmethod
    def read(cls, data: bytes) -> KernelCode:
        found = pickle.loads(zlib.decompress(data))
        assert isinstance(found, KernelCode)
        return found

    @property
    def constants(self) -> Iterator[Place]:
        """Those that are read and must be in TCM before."""
        touched = {name for phase in self.touches for thread in phase for name in thread}
        constants = (place for place in self.places if place.data is not None)
        return (p for p in constants if p.scope == "tcm" and p.name in touched)

    @property
    def scratch(self) -> Iterator[tuple[Place, int]]:
        """Places of its own, with the number of threads that have one each."""
        threads = max(map(len, self.touches))
        return ((p, threads if p.per_thread else 1) for p in self.places if p.local)
