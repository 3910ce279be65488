"""A selected program as LLVM IR: the structure that the machine runs, over host vectors.

    define void @kernel(ptr %places, i64 %first, i64 %count) { calls of so many phases in order }
    define void @phase_0(ptr %p0, ...) { code of phases that are alike; each loop one block chain }

Virtual registers become SSA values here, without memory: a register that a loop assigns is a phi
at the loop's head. Each instruction is a call of its function (``llvm_rows.py``), inlined where it
is small or runs often.
Threads' iterations run one after another; a copy is done when it starts, since nothing may touch
its target before the wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .instruction import LARGE, Kind, Register
from .llvm import ir_type
from .llvm_facts import BodyFacts, Slot, Terms, class_of, facts_of, slots
from .llvm_rows import LOOPS, computed, held_type, looks_up, row_function
from .program import Address, Dma, Item, Loop, MachineOp, Operand, Phase, Program

Held = str | int  # an LLVM value, or a number that a scalar is known to hold

SMALL = 4  # instructions of a row that is inlined at each of its uses
HOT = 1 << 14  # trips from which on any row is: code generation takes a millisecond for each place


def program_ir(program: Program, features: frozenset[str]) -> str:
    """The module's text; its function ``kernel`` takes an array of the places' addresses."""
    return _Emitter(program, features).text()


class _Emitter:
    """Writes the text of one module."""

    def __init__(self, program: Program, features: frozenset[str]) -> None:
        self.program, self.features = program, features
        self.kinds: dict[Register, str] = {
            kind: str(ir_type(held_type(kind, program.vector)))
            for kind in Register
            if kind is not Register.IMMEDIATE
        }
        self.lines: list[str] = []
        self.count = 0
        self.block = "entry"
        self.held: dict[Slot, Held] = {}
        self.scope: list[str] = []  # variables of the loops around
        self.trips = 1  # how often the code here runs
        self.pointers: dict[tuple[str, Terms], str] = {}
        self.facts: dict[int, BodyFacts] = {}
        self.functions: dict[str, str] = {}
        self.declares: dict[str, str] = {_MASK: f"declare ptr @{_MASK}(ptr, i64)"}

    def text(self) -> str:
        for number, place in enumerate(self.program.places):
            at = self.new(f"getelementptr ptr, ptr %places, i64 {number}")
            self.pointers[place.name, ()] = self.new(f"load ptr, ptr {at}")
        codes: dict[Phase, str] = {}
        for number, phase in enumerate(self.program.phases):
            if phase.code not in codes:
                name = codes[phase.code] = f"phase_{len(codes)}"
                self.functions[name] = self.function(name, phase.code)
            self.call(number, codes[phase.code], phase.shifts)
        head = "define void @kernel(ptr %places, i64 %first, i64 %count) {"
        kernel = [head, "entry:", *self.lines, "  ret void", "}"]
        return "\n".join([*self.declares.values(), *self.functions.values(), *kernel])

    def call(self, number: int, code: str, shifts: Mapping[str, int]) -> None:
        """The call of a phase, if it is one of those that are wanted."""
        since = self.new(f"sub i64 {number}, %first")
        wanted, there, after = self.new(f"icmp ult i64 {since}, %count"), self.label(), self.label()
        self.lines.append(f"  br i1 {wanted}, label %{there}, label %{after}")
        self.enter(there)
        places = (self.shifted(place.name, shifts) for place in self.program.places)
        self.lines.append(f"  call void @{code}({', '.join(places)})")
        self.lines.append(f"  br label %{after}")
        self.enter(after)

    def shifted(self, place: str, shifts: Mapping[str, int]) -> str:
        """The address from which on a phase works in a place."""
        at, by = self.pointers[place, ()], shifts.get(place, 0)
        return f"ptr {self.new(f'getelementptr i8, ptr {at}, i64 {by}') if by else at}"

    def function(self, name: str, phase: Phase) -> str:
        """The code of phases that are alike, called with the addresses of all places."""
        body = phase.body if phase.parallel is None else [Loop(*phase.parallel, phase.body)]
        body = body if phase.start is None else [phase.start, *body]
        outside, self.lines = (self.pointers, self.lines), []
        params = {place.name: f"%p{n}" for n, place in enumerate(self.program.places)}
        self.pointers = {(place, ()): param for place, param in params.items()}
        self.block, self.held = "entry", {}
        facts_of(body, self.facts)
        self.items(body)
        given = ", ".join(f"ptr {param}" for param in params.values())
        head = f"define internal void @{name}({given}) noinline {{"
        text = "\n".join([head, "entry:", *self.lines, "  ret void", "}"])
        self.pointers, self.lines = outside
        return text

    def new(self, text: str) -> str:
        """A line that computes a value; its name."""
        name = self.name()
        self.lines.append(f"  {name} = {text}")
        return name

    def name(self) -> str:
        self.count += 1
        return f"%t{self.count}"

    def label(self) -> str:
        self.count += 1
        return f"b{self.count}"

    def enter(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    # Items ----------------------------------------------------------------------------------

    def items(self, items: Sequence[Item]) -> None:
        for item in items:
            match item:
                case MachineOp():
                    self.op(item)
                case Loop() if item.extent > 0:
                    self.loop(item)
                case Dma():
                    self.copy(item)
                case _:
                    pass  # a Wait: the copy is done

    def loop(self, loop: Loop) -> None:
        """A loop of at least one iteration: its exit test comes last."""
        facts, before = self.facts[id(loop)], self.block
        head, after = self.label(), self.label()
        moving = {s: k for s, k in facts.assigned.items() if s in self.held or s in facts.needed}
        came = {slot: self.worth(slot, kind) for slot, kind in moving.items()}
        phis = {slot: self.name() for slot in moving}
        self.held.update(phis)
        self.lines.append(f"  br label %{head}")
        self.enter(head)
        start, outer, variable = len(self.lines), self.pointers, self.name()
        self.pointers = {**outer, **self.moved(loop.variable, variable, facts)}
        self.scope.append(loop.variable)
        self.trips *= loop.extent
        self.items(loop.body)
        self.trips //= loop.extent
        self.scope.pop()
        self.pointers = outer
        following = self.new(f"add nuw nsw i64 {variable}, 1")
        done = self.new(f"icmp eq i64 {following}, {loop.extent}")
        self.lines.append(f"  br i1 {done}, label %{after}, label %{head}")
        heads = [f"  {variable} = phi i64 [ 0, %{before} ], [ {following}, %{self.block} ]"]
        for slot, kind in moving.items():
            ways = f"[ {came[slot]}, %{before} ], [ {self.worth(slot, kind)}, %{self.block} ]"
            heads.append(f"  {phis[slot]} = phi {self.kinds[kind]} {ways}")
        self.lines[start:start] = heads
        self.enter(after)

    def moved(self, name: str, variable: str, facts: BodyFacts) -> dict[tuple[str, Terms], str]:
        """Pointers that move with the loop's variable, each from one that does not."""
        fresh: dict[tuple[str, Terms], str] = {}
        for buffer, terms in facts.addresses:
            rest = tuple(term for term in terms if term[0] in self.scope)
            key = (buffer, tuple(term for term in terms if term[0] in (*self.scope, name)))
            if key[1] != rest and key not in fresh:
                step = self.new(f"mul nsw i64 {variable}, {dict(terms)[name]}")
                fresh[key] = self.new(
                    f"getelementptr i8, ptr {self.pointers[buffer, rest]}, i64 {step}"
                )
        return fresh

    def copy(self, dma: Dma) -> None:
        """The rows of a copy, in a loop where they do not adjoin."""
        target, source = self.pointer(dma.target), self.pointer(dma.source)
        rows, size = dma.rows, dma.row_bytes
        if rows > 1 and dma.target_stride == dma.source_stride == size:
            rows, size = 1, rows * size
        self.declares[_COPY] = f"declare void @{_COPY}(ptr, ptr, i64, i1)"
        if rows == 1:
            self.lines.append(f"  call void @{_COPY}(ptr {target}, ptr {source}, i64 {size}, i1 0)")
            return
        before, head, after, row = self.block, self.label(), self.label(), self.name()
        self.lines.append(f"  br label %{head}")
        self.enter(head)
        start, moved = len(self.lines), []
        for base, stride in ((target, dma.target_stride), (source, dma.source_stride)):
            step = self.new(f"mul nsw i64 {row}, {stride}")
            moved.append(self.new(f"getelementptr i8, ptr {base}, i64 {step}"))
        self.lines.append(f"  call void @{_COPY}(ptr {moved[0]}, ptr {moved[1]}, i64 {size}, i1 0)")
        following = self.new(f"add nuw nsw i64 {row}, 1")
        done = self.new(f"icmp eq i64 {following}, {rows}")
        self.lines.insert(start, f"  {row} = phi i64 [ 0, %{before} ], [ {following}, %{head} ]")
        self.lines.append(f"  br i1 {done}, label %{after}, label %{head}")
        self.enter(after)

    # Instructions ---------------------------------------------------------------------------

    def op(self, op: MachineOp) -> None:
        row = op.instruction
        if row.kind is Kind.LOAD:
            self.load(op)
        elif row.kind is Kind.STORE:
            self.store(op)
        else:
            self.compute(op)

    def compute(self, op: MachineOp) -> None:
        row = op.instruction
        assert op.result is not None, f"{row.name}: an instruction that computes has a result"
        held = [self.values(operand) for operand in op.operands]
        numbers = [values[0] if isinstance(values[0], int) else None for values in held]
        if all(number is not None for number in numbers):
            result = computed(row, tuple(number for number in numbers if number is not None))
            if result is not None:
                self.held[slots(op.result)[0]] = result
                return
        built_in = looks_up(row)
        known = tuple(
            number if built_in or p.register is Register.IMMEDIATE else None
            for p, number in zip(row.parameters, numbers, strict=True)
        )
        function = row_function(row, known, self.features)
        self.functions[function.name] = function.define
        self.declares.update(function.declares)
        args = [
            f"{self.kinds[p.register]} {value}"
            for p, values, number in zip(row.parameters, held, known, strict=True)
            if number is None
            for value in values
        ]
        one = self.kinds[row.result_register or Register.VECTOR]
        result_type = (
            one if function.results == 1 else f"{{ {', '.join([one] * function.results)} }}"
        )
        small = function.size <= SMALL or (self.trips >= HOT and function.size < LOOPS)
        where = "alwaysinline" if small else "noinline"
        value = self.new(f'call {result_type} @"{function.name}"({", ".join(args)}) {where}')
        for part, slot in enumerate(slots(op.result)):
            whole = function.results == 1
            self.held[slot] = (
                value if whole else self.new(f"extractvalue {result_type} {value}, {part}")
            )

    def load(self, op: MachineOp) -> None:
        row, result = op.instruction, op.result
        assert op.address is not None and result is not None and row.result is not None
        at = self.pointer(op.address, row.align if row.bytes == row.vector else 1)
        first, *rest = slots(result)
        if class_of(result) in LARGE:
            kind = self.kinds[Register.VECTOR]
            self.held[first] = self.new(f"load {kind}, ptr {at}, align {row.align}")
            return
        bits = min(8 * row.bytes, 32)
        value = self.new(f"load i{bits}, ptr {at}, align 1")
        if bits < 32:
            value = self.new(f"{'sext' if row.result.signed else 'zext'} i{bits} {value} to i32")
        self.held[first] = value
        if rest:
            high = self.new(f"getelementptr i8, ptr {at}, i64 4")
            self.held[rest[0]] = self.new(f"load i32, ptr {high}, align 1")

    def store(self, op: MachineOp) -> None:
        row = op.instruction
        assert op.address is not None
        at = self.pointer(op.address, row.align if row.bytes == row.vector else 1)
        *masks, data = op.operands
        parameter, values = row.parameters[-1], self.values(data)
        if parameter.register is Register.VECTOR:
            text = str(values[0])
            if masks:
                text = self.blended(str(self.values(masks[0])[0]), text, at, row.align)
            kind = self.kinds[Register.VECTOR]
            self.lines.append(f"  store {kind} {text}, ptr {at}, align {row.align}")
            return
        bits = min(8 * row.bytes, 32)
        for part, value in enumerate(values):
            if bits < 32 and not isinstance(value, int):
                value = self.new(f"trunc i32 {value} to i{bits}")
            elif isinstance(value, int):
                value &= (1 << bits) - 1
            to = self.new(f"getelementptr i8, ptr {at}, i64 {4 * part}") if part else at
            self.lines.append(f"  store i{bits} {value}, ptr {to}, align 1")

    def blended(self, mask: str, data: str, at: str, align: int) -> str:
        """``data`` where the mask's bytes are ones, else what memory holds."""
        kind = self.kinds[Register.VECTOR]
        old = self.new(f"load {kind}, ptr {at}, align {align}")
        kept = self.new(f"xor {kind} {old}, {data}")
        changed = self.new(f"and {kind} {kept}, {mask}")
        return self.new(f"xor {kind} {old}, {changed}")

    # Values ---------------------------------------------------------------------------------

    def values(self, operand: Operand) -> list[Held]:
        """What an operand's parts hold."""
        if isinstance(operand, int):
            return [operand]
        missing = [slot for slot in slots(operand) if slot not in self.held]
        if missing:
            raise ValueError(
                f"{self.program.name}: a register must be assigned before it is read, "
                f"but {operand} is not"
            )
        return [self.held[slot] for slot in slots(operand)]

    def worth(self, slot: Slot, kind: Register) -> Held:
        """What a slot holds; zero where nothing was assigned."""
        return self.held.get(slot, "zeroinitializer" if kind in LARGE else 0)

    def pointer(self, address: Address, align: int = 1) -> str:
        """The address; of aligned instructions its low bits are ignored."""
        at = self.pointers[address.buffer, address.terms]
        if address.offset:
            at = self.new(f"getelementptr i8, ptr {at}, i64 {address.offset}")
        if address.index is not None:
            index = self.new(f"sext i32 {self.values(address.index)[0]} to i64")
            at = self.new(f"getelementptr i8, ptr {at}, i64 {index}")
        steps = [address.offset, *(scale for _, scale in address.terms)]
        if align == 1 or (address.index is None and all(step % align == 0 for step in steps)):
            return at
        return self.new(f"call ptr @{_MASK}(ptr {at}, i64 {-align})")


_MASK = "llvm.ptrmask.p0.i64"
_COPY = "llvm.memcpy.p0.p0.i64"
