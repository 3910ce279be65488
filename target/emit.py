"""Emits a region: expressions of register size become instructions over virtual registers.

Values are made in the order in which the region's effects need them. Accumulating instructions
write the register they read; a copy is made only where the old value is still wanted. Constants and
splats of constants are made once, in front of the phase.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..tir.expr import Expr, const, is_fixed, is_number
from ..tir.linear import Linear, from_linear
from ..tir.types import Type, i32, i64, u32
from .coalesce import assign
from .errors import SelectError
from .instruction import Instruction, Register, has_register, register_class, size_of
from .numbers import HoleFiller, halves, is_splat, splat_word
from .program import Address, Half, Item, MachineOp, Operand, Reg
from .roles import Roles
from .scalars import Promoter
from .select import Cover, Selector
from .selection_record import Begin, CodeEnd, Emitted

Unit = tuple[str, int]
Effect = tuple[Address, Expr, int]  # a store, and the version of its buffer before it


@dataclass(slots=True)
class _Counter:
    """A loop's variable as a register, made when an instruction asks for its value."""

    register: Reg | None = None
    before: list[MachineOp] = field(default_factory=list)
    after: list[MachineOp] = field(default_factory=list)


class RegionEmitter:
    """Emits the regions of one phase; ``prelude`` holds what is made once in front of it."""

    def __init__(
        self, selector: Selector, roles: Roles, numbers: Mapping[str, int] | None = None
    ) -> None:
        self.selector, self.roles = selector, roles
        self.numbers = HoleFiller(numbers or {})
        self.prelude: list[Item] = []
        self.constants: dict[Expr, Reg] = {}
        self.units: dict[Unit, Reg] = {}
        self.counters: dict[str, _Counter] = {}
        self.pending: list[MachineOp] = []  # address arithmetic that the next region begins with
        self.indices: dict[Expr, Reg] = {}  # the registers that it makes
        self.count = 0
        self.promote = Promoter()
        self._start({}, {})

    def _start(self, uses: Mapping[Expr, int], values: Mapping[Unit, Expr]) -> None:
        self.code: list[MachineOp] = []
        self.made: dict[Expr, Operand] = {}
        self.uses = uses

    def fresh(self, register: Register) -> Reg:
        self.count += 1
        return Reg(self.count, register)

    # Loops --------------------------------------------------------------------------------

    def enter(self, loop: str) -> None:
        self.counters[loop] = _Counter()

    def leave(self, loop: str) -> _Counter:
        counter = self.counters.pop(loop)
        if counter.register is not None:
            step = self.roles.add_immediate()
            zero = self.roles.constant()
            counter.before.append(MachineOp(zero, counter.register, (0,)))
            counter.after.append(MachineOp(step, counter.register, (counter.register, 1)))
        return counter

    # Regions ------------------------------------------------------------------------------

    def region(self, effects: list[Effect], values: Mapping[Unit, Expr]) -> list[Item]:
        """The code that performs the stores in order and gives the units their new values."""
        stores = [(where, self._stored(value), version) for where, value, version in effects]
        finals = {u: self.promote(v) for u, v in values.items()}
        if self.selector.record is not None:
            self.selector.record.events.append(Begin(tuple(self.counters)))
        self._start(_count([v for _, v, _ in stores] + list(finals.values())), finals)
        self.code.extend(self.offsets())
        ends: dict[Unit, Operand] = {}
        early = self._early_loads({where.buffer for where, _, _ in stores})
        for where, value, version in stores:
            while early.get(where.buffer) and early[where.buffer][-1].attr[1] <= version:
                self.operand(early[where.buffer].pop())  # the value before this store
            self._store(where, value)
        for unit, value in finals.items():
            ends[unit] = self.operand(value)
        wanted = {self.unit(unit, finals[unit].type): end for unit, end in ends.items()}
        kept = {*self.constants.values(), *(r for r in self.units.values() if r not in wanted)}
        kept |= {c.register for c in self.counters.values() if c.register is not None}
        if self.selector.record is not None:
            self.selector.record.events.append(CodeEnd())
        return list(assign(self.code, wanted, kept, self.roles.move, self.fresh))

    def _early_loads(self, stored: set[str]) -> dict[str, list[Expr]]:
        """The loads of buffers that the region stores to, the oldest versions last."""
        found: dict[str, list[Expr]] = {}
        for node in self.uses:
            if node.op == "fetch" and node.attr[0].buffer in stored:
                found.setdefault(node.attr[0].buffer, []).append(node)
        for loads in found.values():
            loads.sort(key=lambda node: -node.attr[1])
        return found

    def index(self, scalar: Callable[[Expr], Expr], form: Linear) -> Reg:
        """A byte offset that is not linear in the loops, in a register."""
        value = self.promote(scalar(from_linear(form)))
        known = self.indices.get(value)
        if known is not None:
            return known
        code, made, uses = self.code, self.made, self.uses
        self._start(_count([value]), {})
        found = self.operand(value)
        self.pending.extend(self.code)
        self.code, self.made, self.uses = code, made, uses
        if not isinstance(found, Reg):
            raise SelectError("select: an address needs a register")
        self.indices[value] = found
        return found

    def offsets(self) -> list[MachineOp]:
        """The address arithmetic so far, for what is no region."""
        code, self.pending, self.indices = self.pending, [], {}
        return code

    def unit(self, unit: Unit, kind: Type) -> Reg:
        if unit not in self.units:
            self.units[unit] = self.fresh(register_class(kind, self.roles.bytes))
        return self.units[unit]

    def _stored(self, value: Expr) -> Expr:
        """What a store needs of a scalar: its low bits, so a narrowing cast falls away."""
        if value.type.lanes == 1 and value.op == "cast" and value.type.bits <= 32:
            inner = self.promote(value.args[0])
            if inner.type.bits == 32:
                return Expr("stored", value.type, (inner,))
        fresh = self.promote.low(value)
        return Expr("stored", value.type, (fresh,)) if fresh.type != value.type else fresh

    def _store(self, where: Address, value: Expr) -> None:
        data = self.operand(value.args[0] if value.op == "stored" else value)
        row = self.roles.store(value.type, _aligned(where, self.roles.bytes))
        self.code.append(MachineOp(row, None, (data,), where))
        self._emitted(row, value, value, where)

    def operand(self, node: Expr) -> Operand:
        found = self.made.get(node)
        if found is None:
            found = self.made[node] = self._make(node)
        return found

    def _make(self, node: Expr) -> Operand:
        if is_fixed(node) or is_splat(node):
            return self._constant(node)
        if node.op == "var":
            return self._variable(node)
        if node.op == "fetch":
            return self._fetch(node)
        if node.op == "slice" and _is_half(node, self.roles.bytes):
            pair = self.operand(node.args[0])
            assert isinstance(pair, Reg)
            return Half(pair, 0 if node.attr[0] == 0 else 1)
        if node.op in ("cast", "reinterpret") and _same_register(node, self.roles.bytes):
            return self._same(node, node.args[0])
        if node.op == "cast" and node.type in (i32, u32) and node.args[0].op == "fetch":
            return self._same(node, node.args[0])  # loads extend to the register
        if node.op == "cast" and node.type.lanes == 1 and _is_word(node.args[0].type, node.type):
            return self._same(node, node.args[0])
        if node.op == "cast" and node.type in (i32, u32) and node.args[0].type == i64:
            wide = self.operand(node.args[0])
            assert isinstance(wide, Reg)
            return Half(wide, 0)
        if node.op == "concat" and size_of(node.type) == 4 and all(e.is_const for e in node.args):
            return self._constant(_of_lanes(node))
        if node.op == "tile" and node.args[0].type.lanes == 1:
            cover = self.selector.cover(node, self._users)
            return self._emit(cover) if cover else self._splat(node)
        cover = self.selector.cover(node, self._users)
        if cover is not None:
            return self._emit(cover)
        smaller = self.selector.expand(node)
        if smaller is None:
            raise SelectError(_no_row(node))
        return self._same(node, self.promote(smaller))

    def _same(self, node: Expr, other: Expr) -> Operand:
        """The value of ``other``, which ``node`` is too."""
        if self.selector.record is not None:
            self.selector.record.same[node] = other
        return self.operand(other)

    def _emitted(
        self, row: Instruction, node: Expr, operand: Expr | None, where: Address | None = None
    ) -> None:
        if self.selector.record is not None:
            buffer = None if where is None else where.buffer
            self.selector.record.events.append(Emitted(row, node, operand, buffer))

    def _users(self, node: Expr) -> int:
        """Users of a value; one that fits no register cannot be shared and counts none, and so do
        numbers, which an instruction takes as they are."""
        if is_number(node) or is_splat(node):
            return 0
        return self.uses.get(node, 1) if has_register(node.type, self.roles.bytes) else 0

    def _emit(self, cover: Cover) -> Reg:
        operands: list[Operand] = []
        for parameter, node in zip(cover.row.parameters, cover.operands, strict=True):
            if parameter.register is Register.IMMEDIATE:
                operands.append(self.numbers(node))
            else:
                operands.append(self.operand(node))
        assert cover.row.result is not None
        result = self.fresh(register_class(cover.row.result, self.roles.bytes))
        self.code.append(MachineOp(cover.row, result, tuple(operands)))
        return result

    def _fetch(self, node: Expr) -> Reg:
        where: Address = node.attr[0]
        result, row = (
            self.fresh(register_class(node.type, self.roles.bytes)),
            self.roles.load(node.type, _aligned(where, self.roles.bytes)),
        )
        self.code.append(MachineOp(row, result, (), where))
        self._emitted(row, node, None, where)
        return result

    def _variable(self, node: Expr) -> Operand:
        if isinstance(node.attr, tuple):
            return self.unit(node.attr, node.type)
        counter = self.counters.get(str(node.attr))
        if counter is None:
            raise SelectError(f"select: the value of {node.attr} is not known inside the kernel")
        counter.register = counter.register or self.fresh(Register.SCALAR)
        return counter.register

    def _splat(self, node: Expr) -> Reg:
        if size_of(node.type) != self.roles.bytes:
            raise SelectError(_no_row(node))
        scalar = self.promote(Expr("cast", i32, node.args))
        value, row = self.operand(scalar), self.roles.splat(node.type.bits)
        result = self.fresh(Register.VECTOR)
        self.code.append(MachineOp(row, result, (value,)))
        self._emitted(row, node, scalar)
        return result

    def _constant(self, node: Expr) -> Reg:
        """A constant or a number in a register, made once in front of the phase."""
        if node in self.constants:
            return self.constants[node]
        kind = register_class(node.type, self.roles.bytes)
        result = self.fresh(kind)
        if kind is Register.VECTOR:
            word = self._constant(_word(node))
            self.prelude.append(MachineOp(self.roles.splat(32), result, (word,)))
        elif kind is Register.DOUBLE:
            high, low = map(self._constant, _words(node))
            self.prelude.append(MachineOp(self.roles.combine(), result, (high, low)))
        elif kind is Register.SCALAR:
            whole = node if node.type.lanes == 1 else _word(node)
            self.prelude.append(MachineOp(self.roles.constant(), result, (self.numbers(whole),)))
        else:
            raise SelectError(f"select: a constant of type {node.type} has no register")
        self.constants[node] = result
        return result


def _same_register(node: Expr, vector: int) -> bool:
    """Whether a vector of the same bits is asked for: other elements, or other signs of lanes; or
    the lanes of a word as one."""
    size, source = size_of(node.type), node.args[0].type
    if node.op == "reinterpret" and node.type == i32:
        return size_of(source) == size
    whole = size == size_of(source) and size in (vector, 2 * vector)
    ints = node.type.is_int and source.is_int
    return whole and ints and (node.op == "reinterpret" or node.type.lanes == source.lanes)


def _is_word(*kinds: Type) -> bool:
    return all(kind in (i32, u32) for kind in kinds)


def _is_half(node: Expr, vector: int) -> bool:
    """Whether a slice is one of the two registers of a pair."""
    start, lanes = node.attr
    halved = size_of(node.args[0].type) == 2 * vector == 2 * size_of(node.type)
    return halved and start in (0, lanes)


def _no_row(node: Expr) -> str:
    if node.op == "call":
        return f"select: the kernel's code asks for {node.attr} by name, but it is forbidden"
    given = ", ".join(str(arg.type) for arg in node.args)
    return f"select: no instruction computes {node.op} of type {node.type} from {given}"


def _aligned(where: Address, vector: int) -> bool:
    known = (where.offset, *dict(where.terms).values())
    return all(n % vector == 0 for n in known) and (where.index is None or where.even % vector == 0)


def _words(node: Expr) -> tuple[Expr, Expr]:
    """The high and the low word of 64 bits."""
    if node.type.lanes > 1:
        return _word(node), _word(node)
    if not node.is_const:
        return halves(node)
    value = int(node.attr)
    return const(value >> 32, i32), const(value, i32)


def _of_lanes(node: Expr) -> Expr:
    """The word that known lanes are together, the first one lowest."""
    bits = node.type.bits
    lanes = [int(lane.attr) & ((1 << bits) - 1) for lane in node.args]
    return const(sum(lane << bits * at for at, lane in enumerate(lanes)), i32)


def _word(node: Expr) -> Expr:
    """A 32-bit word that holds a splat's value in each of its lanes."""
    bits = node.type.bits
    if not node.is_const:
        return splat_word(node.args[0], bits)
    value = int(node.attr) & ((1 << bits) - 1)
    return const(sum(value << shift for shift in range(0, 32, bits)), i32)


def _count(roots: list[Expr]) -> dict[Expr, int]:
    """How often each node is used: by other nodes, and by the region's effects."""
    uses: dict[Expr, int] = {}
    stack = list(roots)
    for root in roots:
        uses[root] = uses.get(root, 0) + 1
    seen: set[Expr] = set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
            stack.append(arg)
    return uses
