"""Which pointer registers a phase needs, so that nearly every address is pointer + immediate.

Addresses of one buffer that move alike (equal terms) can share a pointer when the distance fits
their immediates. A pointer's ``base`` is its offset in the buffer before any loop has moved it; it
is an offset that is accessed, where possible, so that this access can bump the pointer itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..program import Address

Key = tuple[str, tuple[tuple[str, int], ...]]


@dataclass(slots=True)
class PointerUse:
    """One address: its offset, reach of immediates, and whether it could bump the pointer."""

    address: Address
    reach: tuple[int, int, int]
    carrier: bool
    depth: int  # loops around it


@dataclass(slots=True, eq=False)
class Pointer:
    """A register that moves through a buffer."""

    buffer: str
    terms: dict[str, int]
    base: int
    register: int = -1  # its code
    uses: list[PointerUse] = field(default_factory=list)


def key_of(address: Address) -> Key:
    """The key that all addresses of one pointer have in common."""
    return address.buffer, tuple([term for term in address.terms if term[1]])


class Pointers:
    """The pointers of a phase, found by address."""

    def __init__(self, uses: Iterable[PointerUse]) -> None:
        self.all: list[Pointer] = []
        self._found: dict[tuple[Key, int, tuple[int, int, int]], Pointer] = {}
        grouped: dict[Key, list[PointerUse]] = {}
        for use in uses:
            grouped.setdefault(key_of(use.address), []).append(use)
        for key, members in grouped.items():
            for residue in _residues(members):
                self._cover(key, residue)

    def of(self, address: Address, reach: tuple[int, int, int]) -> Pointer:
        return self._found[key_of(address), address.offset, reach]

    def _cover(self, key: Key, uses: list[PointerUse]) -> None:
        """Fewest windows over the offsets: each takes what the first window's end still reaches."""
        unit = max(use.reach[2] for use in uses)
        residue = next(u.address.offset % unit for u in uses if u.reach[2] == unit)
        rest = sorted(uses, key=_last_base)
        while rest:
            low, high = _first_base(rest[0]), _last_base(rest[0])
            taken, left = [rest[0]], []
            for use in rest[1:]:
                first = max(low, _first_base(use))
                if first <= high and high - (high - residue) % unit >= first:
                    taken.append(use)
                    low = first
                else:
                    left.append(use)
            self._add(key, taken, low, high - (high - residue) % unit)
            rest = left

    def _add(self, key: Key, uses: list[PointerUse], low: int, high: int) -> None:
        base = _choose(uses, low, high)
        pointer = Pointer(key[0], dict(key[1]), base, uses=uses)
        self.all.append(pointer)
        for use in uses:
            self._found[key, use.address.offset, use.reach] = pointer


def _first_base(use: PointerUse) -> int:
    return use.address.offset - use.reach[1]


def _last_base(use: PointerUse) -> int:
    return use.address.offset - use.reach[0]


def _residues(uses: list[PointerUse]) -> list[list[PointerUse]]:
    """Uses by the rest of their offsets modulo the largest step that immediates have."""
    unit = max(use.reach[2] for use in uses)
    classes: dict[int, list[PointerUse]] = {}
    for use in uses:
        if use.reach[2] == unit:
            classes.setdefault(use.address.offset % unit, []).append(use)
    apart: dict[tuple[int, int], list[PointerUse]] = {}
    for use in uses:
        step = use.reach[2]
        if step == unit:
            continue
        fits = [r for r in classes if r % step == use.address.offset % step]
        home = classes[fits[0]] if fits else apart.setdefault((step, use.address.offset % step), [])
        home.append(use)
    return [*classes.values(), *apart.values()]


def _choose(uses: list[PointerUse], low: int, high: int) -> int:
    """An offset that a deep access could bump, near the middle of what all can reach."""
    middle = (low + high) // 2
    inside = [use for use in uses if use.carrier and low <= use.address.offset <= high]
    unit = max(use.reach[2] for use in uses)
    inside = [use for use in inside if (use.address.offset - high) % unit == 0]
    if not inside:
        return high
    best = min(inside, key=lambda use: (-use.depth, abs(use.address.offset - middle)))
    return best.address.offset
