"""Registers: liveness over the packed code, and an assignment to the real ones.

Points of time are two a packet: an atom that is read is live at the even point, a written one from
the odd one. The life of an atom is the bit set of points where it is live, loops included; two
atoms can share a register when their sets are disjoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from .machine import DspMachine
from .steps import OPTIONAL, BasicBlock, Node, Registers, Step, blocks


class NoRegister(Exception):
    """A register found no place: its number, and the packet where its life begins."""

    def __init__(self, number: int, life: int) -> None:
        super().__init__(f"no register is free for number {number}")
        self.number, self.life = number, life


Sets = tuple[int, int]  # atoms read before written; atoms written


def _effect(node: Node, known: dict[int, Sets]) -> Sets:
    """What a node reads from before it, and what it surely writes, as bit sets of atoms; ``known``
    gets those of all nodes in it, by ``id``."""
    if isinstance(node, BasicBlock):
        found = _block_effect(node)
    else:
        reads = writes = 0
        for inner in node.body:
            first, more = _effect(inner, known)
            reads |= first & ~writes
            writes |= more
        found = reads, 0 if node.level == OPTIONAL else writes
    known[id(node)] = found
    return found


def _block_effect(block: BasicBlock) -> Sets:
    reads, writes = set[int](), set[int]()
    for group in block.packets or block.groups:
        for step in group:
            for atom, _ in step.reads:
                if atom not in writes:
                    reads.add(atom)
        for step in group:
            writes.update(step.writes)
    return mask(reads), mask(writes)


def mask(atoms: Iterable[int]) -> int:
    """A bit set of atoms."""
    found = 0
    for atom in atoms:
        found |= 1 << atom
    return found


def live_around(nodes: list[Node], live: int = 0) -> dict[int, Sets]:
    """Atoms live before and after each block, by ``id`` of the block."""
    found: dict[int, Sets] = {}
    known: dict[int, Sets] = {}
    for node in nodes:
        _effect(node, known)
    _live(nodes, live, known, found)
    return found


def _live(nodes: list[Node], after: int, known: Mapping[int, Sets], found: dict[int, Sets]) -> None:
    """Adds to ``found`` those of nodes behind which the atoms ``after`` live."""
    for node in reversed(nodes):
        reads, writes = known[id(node)]
        before = reads | (after & ~writes)
        if isinstance(node, BasicBlock):
            found[id(node)] = (before, after)
        else:
            around = after if node.level == OPTIONAL else after | before
            _live(node.body, around, known, found)
        after = before


def lives(nodes: list[Node]) -> dict[int, int]:
    """The bit set of points of each atom, over the packets of all blocks in order."""
    around = live_around(nodes)
    life: dict[int, int] = {}
    began: dict[int, int] = {}
    point = 0

    def turn(changed: int) -> None:
        while changed:
            low = changed & -changed
            changed ^= low
            atom = low.bit_length() - 1
            if atom in began:
                start = began.pop(atom)
                life[atom] = life.get(atom, 0) | ((1 << point) - (1 << start))
            else:
                began[atom] = point

    state = 0
    for block in blocks(nodes):
        before, after = around[id(block)]
        for now in states(block.packets, after) or [before]:
            turn(state ^ now)
            state = now
            point += 1
    turn(state)
    return life


def states(packets: Sequence[Sequence[Step]], after: int) -> list[int]:
    """Atoms live at each point of a block, in order."""
    found: list[int] = []
    for packet in reversed(packets):
        reads = writes = 0
        for step in packet:
            for atom in step.writes:
                writes |= 1 << atom
            for atom, _ in step.reads:
                reads |= 1 << atom
        found.append(after | writes)
        after = reads | (after & ~writes)
        found.append(after)
    found.reverse()
    return found


class Wish(NamedTuple):
    """A register that wants a place."""

    number: int
    file: int
    pair: bool
    life: int  # of the low half or the single register
    high: int  # of the high half
    low8: bool


def assign(nodes: list[Node], registers: Registers, machine: DspMachine) -> dict[int, int]:
    """A real register for each virtual one; of a pair, the even one."""
    life = lives(nodes)
    small = _small(nodes)
    files = registers.files
    wishes = [
        Wish(
            n, files[n], registers.paired(n), life.get(2 * n, 0), life.get(2 * n + 1, 0), n in small
        )
        for n in sorted({atom >> 1 for atom in life})
    ]
    failed: tuple[int, int] | None = None
    for key, tight in product((_by_start, _pairs_first, _by_length), (False, True)):
        try:
            return _color(sorted(wishes, key=key), registers, machine, tight)
        except NoRegister as error:
            failed = failed or (error.number, error.life)
    assert failed is not None
    raise NoRegister(*failed)


def _small(nodes: list[Node]) -> set[int]:
    """Registers that an instruction wants among r0 .. r7."""
    return {
        step.operands[i] >> 2
        for block in blocks(nodes)
        for packet in block.packets
        for step in packet
        for i in step.facts.low
    }


def _by_start(wish: Wish) -> tuple[int, ...]:
    life = wish.life | wish.high
    return (not wish.low8, (life & -life).bit_length(), -life.bit_length(), wish.number)


def _pairs_first(wish: Wish) -> tuple[int, ...]:
    return (not wish.low8, not wish.pair, *_by_start(wish)[1:])


def _by_length(wish: Wish) -> tuple[int, ...]:
    life = wish.life | wish.high
    return (not wish.low8, not wish.high, -life.bit_count(), wish.number)


def _color(
    wishes: list[Wish], registers: Registers, machine: DspMachine, tight: bool
) -> dict[int, int]:
    """The first register that is free, or, when ``tight``, the one that was free for the shortest
    time before."""
    files = (range(machine.vectors), _scalars(machine), range(machine.predicates),
             range(machine.conditions))  # fmt: skip
    busy = [[0] * 32 for _ in files]
    found: dict[int, int] = {}
    for wish in wishes:
        if wish.number in registers.fixed:
            real = registers.fixed[wish.number]
            busy[wish.file][real] |= wish.life
            found[wish.number] = real
    for wish in wishes:
        if wish.number not in found:
            taken = busy[wish.file]
            real = _place(wish, taken, files[wish.file], tight)
            found[wish.number] = real
            taken[real] |= wish.life
            if wish.pair:
                taken[real + 1] |= wish.high
    return found


def _scalars(machine: DspMachine) -> list[int]:
    """r8 and up last: the low eight serve operands that must be there."""
    return [*range(7, -1, -1), *range(8, machine.scalars)]


def _place(wish: Wish, busy: list[int], file: Sequence[int], tight: bool) -> int:
    found, best = -1, -1
    life = wish.life | wish.high
    before, pair = (life & -life) - 1, wish.pair
    # Pairs from one end, singles from the other, so that whole pairs stay free.
    for real in file if pair else reversed(file):
        if wish.low8 and real > 7:
            continue
        if pair and (real & 1 or real + 1 not in file):
            continue
        if busy[real] & wish.life or (pair and busy[real + 1] & wish.high):
            continue
        if not tight:
            return real
        last = (busy[real] & before).bit_length()
        last += (busy[real + 1] & before).bit_length() if pair else 0
        if last > best:
            found, best = real, last
    if found < 0:
        raise NoRegister(wish.number, life)
    return found
