"""Loops that need no loop: those of one iteration dissolve, tiny ones are written out, and a loop
around a loop becomes one where every address moves as evenly as if it were. What all iterations of
an innermost loop have in common is done before it.

loop j in 1            v0 = vmem(x[i*128 + 256])
  v0 = vmem(x[i*128 + j*512 + 256])
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..program import Address, Dma, Item, Loop, MachineOp, WaitOp
from .hoist import ALL, hoist
from .machine import LOOPS


def simplify(items: list[Item], hoisting: int = ALL) -> list[Item]:
    """The same code without loops of extent 1, and with tiny innermost loops written out;
    ``hoisting`` vectors that iterations have in common come before their loop, if loads can stay;
    with 0 nothing does."""
    done: list[Item] = []
    for item in items:
        if not isinstance(item, Loop):
            done.append(item)
            continue
        body = simplify(item.body, hoisting)
        if item.extent == 1 or _tiny(item.extent, body):
            for value in range(item.extent):
                done += [at(inner, item.variable, value) for inner in body]
        elif body:
            before, body = hoist(item.variable, body, hoisting)
            done += before
            done.append(_merged(item.variable, item.extent, body))
    return done


def _merged(variable: str, extent: int, body: list[Item]) -> Loop:
    """The loop, or one loop instead of it and the only loop within it."""
    match body:
        case [Loop(variable=name, extent=trips, body=inner)] if all(
            _moves(address, variable) == trips * _moves(address, name)
            for address in addresses(inner)
        ):
            return Loop(name, extent * trips, [at(item, variable, 0) for item in inner])
    return Loop(variable, extent, body)


def _moves(address: Address, variable: str) -> int:
    """Bytes that an address moves in an iteration."""
    return sum(scale for name, scale in address.terms if name == variable)


def addresses(items: list[Item]) -> Iterator[Address]:
    """All addresses, those of inner loops too."""
    for item in items:
        match item:
            case MachineOp(address=address) if address is not None:
                yield address
            case Dma(target=target, source=source):
                yield from (target, source)
            case Loop(body=body):
                yield from addresses(body)


def _tiny(extent: int, body: list[Item]) -> bool:
    return extent <= LOOPS.short and len(body) * extent <= LOOPS.written and all(
        isinstance(item, MachineOp) for item in body)  # fmt: skip


def at(item: Item, variable: str, value: int) -> Item:
    """``item`` where a loop variable has one value."""
    match item:
        case MachineOp(address=address) if address is not None:
            moved = address_at(address, variable, value)
            return item if moved is address else replace(item, address=moved)
        case Dma(target=target, source=source):
            return replace(item, target=address_at(target, variable, value),
                           source=address_at(source, variable, value))  # fmt: skip
        case Loop(body=body):
            if item.variable == variable:
                return item
            return Loop(item.variable, item.extent, [at(inner, variable, value) for inner in body])
        case MachineOp() | WaitOp():
            return item


def address_at(address: Address, variable: str, value: int) -> Address:
    for name, scale in address.terms:
        if name == variable:
            terms = tuple(term for term in address.terms if term[0] != variable)
            return replace(address, offset=address.offset + scale * value, terms=terms)
    return address
