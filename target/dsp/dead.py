"""Drops what computes values that nothing needs: where selection ends, each register of the kernel
gets its value, though often nothing reads it again.

v1 = vadd(v2, v3)             v1 = vadd(v2, v3)
v4 = v1                 ->    vmem(y) = v1
vmem(y) = v1

A value is needed when a store, an address or a needed value reads it; which of a register's
values it reads is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..coalesce import base, reads
from ..program import Dma, Item, Loop, MachineOp, Reg


def drop_dead(items: list[Item]) -> list[Item]:
    """A phase's code without the instructions whose results no store needs, and without loops that
    are left with none."""
    needed = _needed(items)
    return _kept(items, needed)


def _kept(items: list[Item], needed: set[Reg]) -> list[Item]:
    done: list[Item] = []
    for item in items:
        match item:
            case MachineOp(result=result) if result is not None and base(result) not in needed:
                continue
            case Loop(variable=variable, extent=extent, body=body):
                inner = _kept(body, needed)
                if inner:
                    done.append(Loop(variable, extent, inner))
            case _:
                done.append(item)
    return done


def _needed(items: list[Item]) -> set[Reg]:
    """The registers from which a store or an address takes a value, directly or by others."""
    sources: dict[Reg, set[Reg]] = {}
    todo: list[Reg] = []
    for item in _all(items):
        if isinstance(item, Dma):
            ends = (item.target.index, item.source.index)
            todo += [index for index in ends if index is not None]
        elif isinstance(item, MachineOp) and (made := base(item.result) if item.result else None):
            sources.setdefault(made, set()).update(reads(item))
        elif isinstance(item, MachineOp):
            todo += reads(item)
    found = set[Reg]()
    while todo:
        register = todo.pop()
        if register not in found:
            found.add(register)
            todo += sources.get(register, ())
    return found


def _all(items: list[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        if isinstance(item, Loop):
            yield from _all(item.body)
