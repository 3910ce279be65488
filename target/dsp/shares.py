"""How a phase's iterations become each thread's loop: counts that are known need no register.

Threads take contiguous chunks that differ by one at most. With ``i`` the first iteration of a
thread, an address that moves with the shared loop moves with ``i`` and with a step of its own:

    x[i*128]                       x[i*128 + i'*128]      loop i' in 7, then perhaps once more
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..program import Address, Dma, Item, Loop, MachineOp, Phase, WaitOp
from .carry import carry
from .hoist import ALL
from .machine import LOOPS, DspMachine
from .pairs import pair_loads
from .simplify_loops import simplify


@dataclass(frozen=True, slots=True)
class Liberties:
    """The changes that a phase may undergo although they take registers."""

    hoisting: int = ALL  # vectors that come before a loop because its iterations share them
    carrying: bool = True  # values kept for the next iteration
    pairing: bool = True  # neighbouring words loaded as pairs


@dataclass(frozen=True, slots=True)
class Shares:
    """A thread's code. ``dynamic``: ``main`` is one iteration, and a register has their number."""

    main: list[Item]
    rest: list[Item] = field(default_factory=list)  # one iteration more, on some threads
    dynamic: bool = False
    step: str = ""
    least: int = 0  # iterations that ``main`` runs
    extents: dict[str, int] = field(default_factory=dict)


def share_out(phase: Phase, machine: DspMachine, free: Liberties) -> Shares:
    """The loop of a phase as every thread runs it."""

    def prepared(items: list[Item]) -> list[Item]:
        items = simplify(items, free.hoisting)
        if free.carrying:
            items = carry(items, machine)
        return pair_loads(items, machine.version) if free.pairing else items

    if phase.parallel is None:
        return Shares(prepared(phase.body))
    variable, extent = phase.parallel
    step = f"{variable}'"
    body = [_stepping(item, variable, step) for item in phase.body]
    least, odd = divmod(extent, machine.threads)
    extents = {variable: extent, step: least + 1}
    if least == 0:
        return Shares(prepared([Loop(step, 1, body)]), extents=extents)
    if odd and _size(body) > LOOPS.odd:
        return Shares(prepared(body), dynamic=True, step=step, extents=extents)
    rest = prepared(body) if odd else []
    main = prepared([Loop(step, least, body)])
    return Shares(main, rest, False, step, least, extents)


def _size(items: list[Item]) -> int:
    """Instructions written out; transfers are never written twice."""
    total = 0
    for item in items:
        match item:
            case MachineOp():
                total += 1
            case Loop(body=body):
                total += 4 + _size(body)
            case Dma() | WaitOp():
                total += LOOPS.odd + 1
    return total


def _stepping(item: Item, variable: str, step: str) -> Item:
    """``item`` with a term of the thread's own step beside each of the shared variable."""

    def moved(address: Address) -> Address:
        scale = dict(address.terms).get(variable, 0)
        if not scale:
            return address
        terms = tuple(sorted([*address.terms, (step, scale)]))
        return Address(address.buffer, address.offset, terms, address.index, address.even)

    match item:
        case MachineOp(row, result, operands, address, origin) if address is not None:
            return MachineOp(row, result, operands, moved(address), origin)
        case Dma(target=target, source=source):
            return replace(item, target=moved(target), source=moved(source))
        case Loop(variable=name, extent=extent, body=body):
            return Loop(name, extent, [_stepping(inner, variable, step) for inner in body])
        case MachineOp() | WaitOp():
            return item
