"""Vector loads and stores. The first cycle of a store's ``timing`` is 0: it has no result."""

from __future__ import annotations

from ...instruction import Kind
from ...vocabulary import memory
from ..decorators import boolx128, i32x32, instruction


@instruction(timing=(9,), unit="LOAD,VA", kind=Kind.LOAD, bytes=128, align=128, hvx="",
             asm="{d} = vmem({addr})")  # fmt: skip
def vmem() -> i32x32:
    """128 bytes at a multiple of 128: the low bits of the address are ignored."""
    return memory()


@instruction(timing=(9,), unit="NOSLOT1,LOAD,VP", kind=Kind.LOAD, bytes=128, align=1, hvx="",
             asm="{d} = vmemu({addr})")  # fmt: skip
def vmemu() -> i32x32:
    """128 bytes at any address."""
    return memory()


@instruction(timing=(0, 7), unit="STORE,VA", kind=Kind.STORE, bytes=128, align=128, hvx="",
             asm="vmem({addr}) = {a}")  # fmt: skip
def vmem_store(a: i32x32) -> None:
    """128 bytes to a multiple of 128: the low bits of the address are ignored."""
    ...


@instruction(timing=(0, 5), unit="NOSLOT1,STORE,VP", kind=Kind.STORE, bytes=128, align=1, hvx="",
             asm="vmemu({addr}) = {a}")  # fmt: skip
def vmemu_store(a: i32x32) -> None:
    """128 bytes to any address."""
    ...


@instruction(timing=(0, 7, 7), unit="STORE,VA", kind=Kind.STORE, bytes=128, align=128, hvx="",
             asm="if ({q}) vmem({addr}) = {a}")  # fmt: skip
def vmem_masked(q: boolx128, a: i32x32) -> None:
    """The bytes where the predicate holds, to a multiple of 128."""
    ...
