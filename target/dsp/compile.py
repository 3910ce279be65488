"""From a selected program to packed code: lower, pipeline, pack, assign registers.

Where registers do not suffice, the phase is compiled again with some of them kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from ...tir.places import taken
from ...tir.recent import Recent
from ..barriers import free_phases
from ..program import Phase, Program, ops_in
from .allocate import NoRegister, assign, live_around, lives, states
from .cycles import calls
from .dead import drop_dead
from .hoist import ALL
from .listing import SPILL, Function, PackedListing, words_of
from .lower_program import FactTable, PhaseLowering, move
from .machine import DspMachine, only
from .modulo_code import Pipeline
from .pack import Pressure, list_schedule, packer
from .packet_distances import block_edges
from .rotate import rotate
from .scalar_rows import NOP
from .shares import Liberties, Shares, share_out
from .spill import Area, CompileError, Crowded, RegisterRoom, costs, crowd, fits
from .steps import BasicBlock, Node, Registers, Step, Trip, blocks
from .walk import Walker, cycles
from .webs import split_webs

_recent = Recent["_Compiled"](1024)
_ATTEMPTS = 60  # compilations of a phase, each with more registers in memory
_HOISTINGS = 4  # compilations after which a phase has all or none of its invariants in loops
_NEXT_TO_ALL = 100  # registers that packing does without to keep the order of the program
_MANY = 8  # registers short from which on fewer invariants are better than memory
_SPARE = 6  # registers of a file left free before spilling because no assignment was found


def compile_program(program: Program, machine: DspMachine) -> PackedListing:
    """The listing of ``program`` for as many threads of ``machine`` as it has; CompileError when
    its registers do not do."""
    threads = min(program.threads or machine.threads, machine.threads)
    machine = only(replace(machine, threads=threads))
    table = {(place.name, 0): i for i, place in enumerate(program.places)}
    table[SPILL, 0] = len(table)
    known = len(table)
    far = frozenset(place.name for place in program.places if place.scope == "ddr")
    found: dict[_Key, tuple[_Compiled, Function]] = {}
    for number, phase in enumerate(program.phases):
        if (key := _key(phase)) in found:
            continue
        given = phase.code, machine, far & _accessed(phase.code)
        try:
            made = _recent(given, partial(_phase, *given))
        except _Short:
            raise CompileError(
                f"compile: phase {number} of {program.name} needs too many registers"
            ) from None
        entries = [(name, phase.shifts.get(name, 0)) for name in made.places]
        places = tuple(4 * table.setdefault(entry, len(table)) for entry in entries)
        found[key] = made, replace(made.function, symbol=f"phase_{number}", places=places)
    functions = [found[_key(phase)][1] for phase in program.phases]
    tcm = sum(
        taken(place.size) * (machine.threads if place.per_thread else 1)
        for place in program.places
        if place.scope == "tcm"
    )
    spills = sum(made.spills for made, _ in found.values())
    most = max((made.spill_bytes for made, _ in found.values()), default=0)
    free = free_phases(program, threads)
    views = tuple((table[name, 0], shift) for name, shift in list(table)[known:])
    return PackedListing(program.name, machine, functions, spills, most, tcm, far, free, views)


_Key = tuple[Phase, frozenset[tuple[str, int]]]


def _key(phase: Phase) -> _Key:
    """The same for phases that are the same function."""
    return phase.code, frozenset(phase.shifts.items())


@lru_cache(maxsize=1024)
def _accessed(phase: Phase) -> frozenset[str]:
    """The places that a phase's instructions access."""
    return frozenset(op.address.buffer for op in ops_in(phase.body) if op.address)


class _Short(CompileError):
    """A phase needs more registers than there are."""


class _Turned(Exception):
    """Registers do not do where loops are turned: the one without a place, or -1, and the loops
    that should stay as they are."""

    def __init__(self, number: int, still: frozenset[str]) -> None:
        super().__init__("registers do not do where loops are turned")
        self.number, self.still = number, still


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The code of a phase, in any program; ``places`` are those that it uses, in its order."""

    function: Function
    places: tuple[str, ...]
    spills: int
    spill_bytes: int
    crowded: bool  # slower than it would be with more registers
    roomy: int  # vectors that may come before loops and leave them enough registers

    def cycles(self, machine: DspMachine) -> int:
        """Cycles of the thread with the most iterations."""
        count = max(count for _, count in calls(self.function, machine))
        return cycles(Walker(self.function, machine).run(count))


@dataclass(frozen=True, slots=True)
class _Full:
    """An attempt given up because invariants before loops would fill memory, not registers."""

    roomy: int
    crowded: bool = True


def _phase(phase: Phase, machine: DspMachine, far: frozenset[str]) -> _Compiled:
    """With all liberties; where these take too many registers, also with fewer of them: first with
    fewer invariants before their loops, then without values kept for the next iteration. What
    changes no code is not tried again; the best of all. What was given up is compiled after all
    where nothing else leaves registers enough."""
    table, phase = FactTable(machine, far), replace(phase, body=drop_dead(phase.body))
    found, refused, tried = list[_Compiled](), None, list[tuple[Liberties, Shares]]()
    full = list[tuple[Liberties, Shares]]()
    todo = [Liberties(most, carrying) for carrying in (True, False) for most in (ALL, 0)]
    while todo:
        free = todo.pop(0)
        plan = share_out(phase, machine, free)
        if any(plan == other for _, other in tried):
            continue
        tried.append((free, plan))
        made = _attempt(phase, table, free, plan, patient=free.hoisting == 0)
        match made:
            case CompileError():
                refused = made
                continue
            case _Full():
                full.append(tried[-1])
            case _Compiled():
                found.append(made)
        same = [one.hoisting for one, _ in tried if one.carrying == free.carrying]
        if not made.crowded:
            todo = [less for less in todo if found[1:] and less.carrying != free.carrying]
        if len(same) < _HOISTINGS and (more := _between(same, made)) not in same:
            todo.insert(0, replace(free, hoisting=more))
    for free, plan in full if all(made.crowded for made in found) else ():
        made = _attempt(phase, table, free, plan, patient=True)
        if isinstance(made, _Compiled):
            found.append(made)
        elif isinstance(made, CompileError):
            refused = made
    if not found:
        assert refused is not None
        raise refused
    return min(found, key=lambda made: made.cycles(machine)) if found[1:] else found[0]


def _between(tried: list[int], made: _Compiled | _Full) -> int:
    """How many invariants to move next: fewer where these are too many, which come last; else as
    many as lie in the middle of these and of the next ones that are too many."""
    last = tried[-1]
    if made.crowded:
        return min(made.roomy, max(last - 1, 0))
    above = min((most for most in tried if last < most < ALL), default=last)
    return (last + above + 1) // 2


def _attempt(phase: Phase, table: FactTable, free: Liberties, plan: Shares,
             patient: bool) -> _Compiled | _Full | CompileError:  # fmt: skip
    """Compiles again and again: first with pairs that count whole, where one of scalars finds no
    place, and without those, where scalars are short; then with more and more registers in memory,
    but unless ``patient`` not where many have to go there at first. ``plan`` is the phase with
    these liberties."""
    spilled, spare, pipelined, more, whole = set[int](), [0, 0, 0], True, 1, False
    still: frozenset[str] | None = frozenset()  # loops that are not turned; None: all of them

    def parting(short: bool) -> bool:
        """Where scalars are short, no more pairs of them; whether that changes the code."""
        nonlocal free, plan
        before = plan
        if short and free.pairing:
            free = replace(free, pairing=False)
            plan = share_out(phase, table.machine, free)
        return plan != before

    for _ in range(_ATTEMPTS):
        low = PhaseLowering(phase, table, plan)
        split_webs(low.nodes, live_around(low.nodes), low.registers)
        area = Area(low)
        area.spill(spilled)
        kept = frozenset({*low.registers.fixed, *area.fresh})
        vectors, scalars, predicates = spare
        room = RegisterRoom(table.machine, low.registers, (vectors, scalars, predicates),
                    costs(low.nodes), kept, low.link >> 2, whole)  # fmt: skip
        loops = Pipeline(low, room)
        try:
            real = _pack(low, room, loops if pipelined else None, still)
        except _Turned as turned:
            file = low.registers.files[turned.number] if turned.number >= 0 else 2
            if not whole and _halved(turned.number, low.registers):
                whole = True
            elif file < 2 and spare[file] < _SPARE:
                spare[file] += 2
            elif still is not None and turned.still - still:
                still |= turned.still
            else:
                still, spare = None, [0, 0, 0]
        except Crowded as crowded:
            files = {low.registers.files[register] for register in crowded.victims}
            if not patient and not spilled and len(crowded.victims) > _MANY:
                return _Full(min(loops.roomy, default=0))
            spilled = set() if parting(1 in files) else spilled | crowded.victims
        except NoRegister as error:
            file = low.registers.files[error.number]
            victims = _in_the_way(error, low.nodes, room, more if file < 2 else 1)
            if not whole and _halved(error.number, low.registers):
                whole = True
            elif parting(file == 1):
                spilled = set()
            elif file < 2 and spare[file] < _SPARE:
                spare[file] += 2
            elif victims:
                spilled, more = spilled | victims, 2 * more
            elif pipelined:
                pipelined = False
            elif file == 2 and spare[2] < table.machine.predicates - 1:
                spare[2] += 1
            else:
                return _Short()
        except CompileError as error:
            if not pipelined:
                return error
            pipelined = False
        else:
            short = bool(area.steps or loops.roomy)
            made, roomy = _function(phase, low, real), min(loops.roomy, default=0)
            return _Compiled(made, tuple(low.places), area.steps, area.bytes, short, roomy)
    return _Short()


def _halved(number: int, registers: Registers) -> bool:
    """Whether it is a pair of scalars that has no place, as where halves of others lie apart."""
    return number >= 0 and registers.files[number] == 1 and registers.paired(number)


def _function(phase: Phase, low: PhaseLowering, real: dict[int, int]) -> Function:
    extent = phase.parallel[1] if phase.parallel else None
    words = words_of(low.nodes)
    return Function("", extent, low.nodes, low.registers, real, low.records, phase.name, (), words)


def _pack(
    low: PhaseLowering, room: RegisterRoom, loops: Pipeline | None, still: frozenset[str] | None
) -> dict[int, int]:
    """Packs all blocks of the lowering, loops turned but for some; gives the real registers."""
    if loops is not None:
        low.nodes = loops.run()
    _close(low.nodes, low.table)
    labels = low.labels
    if still is not None:
        low.nodes = rotate(low.nodes, low.label, still)
    try:
        return _packed(low, room)
    except (Crowded, NoRegister, CompileError) as short:
        turned = frozenset(_beside(low.nodes))
        if low.labels == labels or (isinstance(short, Crowded) and not turned):
            raise
        number = short.number if isinstance(short, NoRegister) else -1
        raise _Turned(number, turned) from short


def _beside(nodes: list[Node]) -> Iterator[str]:
    """The labels of the loops around loops in which packing stopped, or next to which."""
    for before, node, after in zip([None, *nodes], nodes, [*nodes[1:], None], strict=False):
        if isinstance(node, Trip):
            yield from _beside(node.body)
            if node.level == 1 and any(_stopped(other) for other in (before, *node.body, after)):
                yield node.label


def _stopped(node: Node | None) -> bool:
    return isinstance(node, BasicBlock) and node.stopped


def _packed(low: PhaseLowering, room: RegisterRoom) -> dict[int, int]:
    """Packs what is not packed yet; gives the real registers."""
    split_webs(low.nodes, live_around(low.nodes), low.registers)
    around = live_around(low.nodes)
    for block in blocks(low.nodes):
        if not block.packets:
            before, after = around[id(block)]
            _pack_block(block, before, after, low, room)
    _pad(low.nodes, low.table)
    return assign(low.nodes, low.registers, room.machine)


def _pack_block(
    block: BasicBlock, before: int, after: int, low: PhaseLowering, room: RegisterRoom
) -> None:
    """Packs with fewer and fewer registers until those in use suffice; where they do not with next
    to none, which keeps the order of the program, with no other number either."""
    machine = room.machine
    edges = block_edges(block, low.extents, machine, low.table.far)

    def fitting(less: int) -> bool:
        vectors, scalars, *rest = room.limits
        limits = (vectors - less, scalars - less, rest[0], rest[1])
        pressure = Pressure(before, after, low.registers, limits, room.whole)
        block.packets = list_schedule(block.steps, edges, packer(machine), pressure)
        return fits(states(block.packets, after), room)

    if fitting(0):
        return
    if not fitting(_NEXT_TO_ALL):
        block.stopped = True
        raise crowd(states(block.packets, after), room)
    frugal = block.packets
    if not any(map(fitting, (3, 6, 10))):
        block.packets = frugal


def _in_the_way(error: NoRegister, nodes: list[Node], room: RegisterRoom, count: int) -> set[int]:
    """Registers to spill of those that live where another's life begins, in the same file."""
    first = error.life & -error.life
    files = room.registers.files
    found = [atom for atom, life in lives(nodes).items()
             if life & first and files[atom >> 1] == files[error.number]]  # fmt: skip
    try:
        return room.victims(found, count, {}).victims
    except CompileError:
        return set()


def _close(nodes: list[Node], table: FactTable) -> None:
    """Moves the pointers of innermost loops that were not pipelined."""
    for node in nodes:
        if isinstance(node, Trip):
            if node.bumps:
                block = node.body[0]
                assert isinstance(block, BasicBlock)
                move(block, node.bumps, table)
            _close(node.body, table)


def _pad(nodes: list[Node], table: FactTable) -> None:
    """A hardware loop ends in a packet of its own that does not branch."""
    for node in nodes:
        if not isinstance(node, Trip):
            continue
        _pad(node.body, table)
        last = node.body[-1]
        assert isinstance(last, BasicBlock)
        if node.level < 2 and (not last.packets or any(s.is_call for s in last.packets[-1])):
            last.packets.append([Step(table(NOP))])
