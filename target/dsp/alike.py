"""Phases that differ only in where in their places they work: they have the same packed code.

    vmem(w[i*128 + 8192])    ->    vmem(w[i*128])        the table has an entry for w + 8192

Weights that come part by part and images that come strip by strip make many such phases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import lcm

from ..program import Address, Dma, Item, Loop, Op, Phase, items_in
from .machine import Machine

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """A phase as it is wherever it works; ``key`` is equal for equal code. It works at
    ``shifts`` of its places, in bytes."""

    phase: Phase
    key: Key
    shifts: Mapping[str, int]


def form_of(phase: Phase, machine: Machine) -> Form:
    """The form of a phase, shifted by whole vectors and whole bursts."""
    step = lcm(machine.vector_bytes, machine.burst)
    first: dict[str, int] = {}
    for address in _addresses(phase.body):
        first[address.buffer] = min(first.get(address.buffer, address.offset), address.offset)
    shifts = {buffer: at // step * step for buffer, at in first.items() if at // step}
    body = [_shifted(item, shifts) for item in phase.body] if shifts else phase.body
    key = (_key(body), phase.parallel, phase.name, phase.start)
    return Form(Phase(body, phase.parallel, phase.name, phase.start), key, shifts)


def _addresses(items: Iterable[Item]) -> Iterator[Address]:
    for item in items_in(items):
        match item:
            case Dma(target=target, source=source):
                yield target
                yield source
            case Op(address=address) if address is not None:
                yield address


def _shifted(item: Item, shifts: Mapping[str, int]) -> Item:
    match item:
        case Loop(variable, extent, body):
            return Loop(variable, extent, [_shifted(inner, shifts) for inner in body])
        case Dma(target=target, source=source):
            return replace(item, target=_less(target, shifts), source=_less(source, shifts))
        case Op(address=address) if address is not None:
            return replace(item, address=_less(address, shifts))
    return item


def _less(address: Address, shifts: Mapping[str, int]) -> Address:
    shift = shifts.get(address.buffer, 0)
    return replace(address, offset=address.offset - shift) if shift else address


def _key(items: Iterable[Item]) -> Key:
    return tuple(
        (item.variable, item.extent, _key(item.body)) if isinstance(item, Loop) else item
        for item in items
    )
