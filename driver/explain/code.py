"""What selection recorded, folded for a reader: sections by loops, equal values once.

for section in sections(record, target.unit):
    for value in section.values: print(value.count, value.name, value.row, value.text)

Values are numbered within a section, operands before users. Unrolled copies differ in addresses
only, so they are one value with a count; so is a chain in which each value takes the one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...target.instruction import Instruction
from ...target.selection_record import (
    Begin,
    CodeEnd,
    Covered,
    Emitted,
    Expanded,
    SelectionRecord,
    Started,
    Trial,
)
from ...tir.expr import Expr, rebuild, var, walk
from ...tir.spell import show_expr

Unit = Callable[[Instruction], str]  # what executes a row


@dataclass(slots=True)
class ShownValue:
    """Equal values. ``text``: the operators that the row does in one; ``trials``: the other rows
    that were tried, the nearest first; ``chain``: each takes the one before as an operand."""

    name: str
    kind: str  # its type
    row: str | None  # None: an expansion had to
    unit: str
    inside: int
    text: str
    operands: tuple[str, ...]
    trials: tuple[Trial, ...]
    count: int = 1
    chain: bool = False

    def as_dict(self, all_rows: bool) -> dict[str, Any]:
        tried = [
            {"row": t.row.name, "operators": t.inside, "agreed": t.met, "reason": t.reason}
            for t in self.trials
            if all_rows or t.near
        ]
        return {
            "name": self.name, "type": self.kind, "row": self.row, "unit": self.unit,
            "operators": self.inside, "expression": self.text, "operands": list(self.operands),
            "count": self.count, "chain": self.chain, "tried": tried,
        }  # fmt: skip


@dataclass(slots=True)
class ShownExpansion:
    """An expansion: ``before`` was written as ``after``; ``early``: before its users were known."""

    name: str
    before: str
    after: str
    early: bool
    count: int = 1

    def as_dict(self) -> dict[str, Any]:
        return {
            "expansion": self.name, "before": self.before, "after": self.after,
            "early": self.early, "count": self.count,
        }  # fmt: skip


@dataclass(slots=True)
class Section:
    """Straight-line code in ``loops``, the outermost first, of a phase that ``parallel`` shares
    among threads. ``memory`` counts loads and stores: (row, buffer) -> number."""

    phase: int
    parallel: str | None
    loops: tuple[str, ...]
    values: list[ShownValue] = field(default_factory=list)
    steps: list[ShownExpansion] = field(default_factory=list)
    memory: Counter[tuple[str, str]] = field(default_factory=Counter)

    def as_dict(self, all_rows: bool) -> dict[str, Any]:
        memory = [
            {"row": row, "buffer": buffer, "count": n} for (row, buffer), n in self.memory.items()
        ]
        return {
            "phase": self.phase, "parallel": self.parallel, "loops": list(self.loops),
            "values": [value.as_dict(all_rows) for value in self.values],
            "expansions": [step.as_dict() for step in self.steps], "memory": memory,
        }  # fmt: skip


def sections(record: SelectionRecord, unit: Unit) -> list[Section]:
    """The sections of a kernel's code in order; sections without a value are left out."""
    found: list[Section] = []
    for phase, parallel, loops, events in _regions(record):
        section = Section(phase, parallel, loops)
        _Folding(section, record.same, unit).run(events)
        last = found[-1] if found else None
        if last is not None and _equal(last, section):
            _add(last, section)
        elif section.values or section.steps or section.memory:
            found.append(section)
    return found


Events = list[Covered | Expanded | Emitted]


def _regions(record: SelectionRecord) -> Iterator[tuple[int, str | None, tuple[str, ...], Events]]:
    """The events of each region, with the events that prepared it."""
    phase, parallel, loops = 0, None, ()  # type: int, str | None, tuple[str, ...]
    events: Events = []
    for event in record.events:
        match event:
            case Started(parallel=parallel):
                phase += 1
            case Begin(loops=loops):
                pass
            case CodeEnd():
                yield phase, parallel, loops, events
                events = []
            case _:
                events.append(event)


def _equal(a: Section, b: Section) -> bool:
    """Whether two regions of the same loops say the same."""
    same = (a.phase, a.loops) == (b.phase, b.loops) and len(a.values) == len(b.values)
    return same and all(
        (x.row, x.text, x.operands) == (y.row, y.text, y.operands)
        for x, y in zip(a.values, b.values, strict=True)
    )


def _add(section: Section, more: Section) -> None:
    section.memory.update(more.memory)
    for value, other in zip(section.values, more.values, strict=True):
        value.count += other.count


Names = dict[Expr, str]


class _Folding:
    """Folds the events of one region into its section."""

    def __init__(self, section: Section, same: dict[Expr, Expr], unit: Unit) -> None:
        self.section, self.same, self.unit = section, same, unit
        self.events: dict[Expr, Covered | Emitted] = {}
        self.groups: dict[Expr, ShownValue] = {}
        self.done: set[Expr] = set()

    def run(self, events: Events) -> None:
        for event in events:
            if isinstance(event, Emitted) and event.buffer is not None:
                self.section.memory[event.row.name, event.buffer] += 1
            elif not isinstance(event, Expanded) and event.node not in self.events:
                self.events[event.node] = event
        for node in list(self.events):
            self._visit(node)
        for event in events:
            if isinstance(event, Expanded):
                self._step(event)

    def _visit(self, root: Expr) -> None:
        """Operands first, without recursion: chains are long."""
        stack = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if node in self.done:
                continue
            if ready:
                self.done.add(node)
                self._fold(self.events[node])
                continue
            if node in self.events:
                stack.append((node, True))
            stack.extend((part, False) for part in reversed(self._below(node)))
            if node not in self.events:
                self.done.add(node)

    def _below(self, node: Expr) -> Sequence[Expr]:
        event = self.events.get(node)
        if isinstance(event, Covered) and event.row is not None:
            return event.operands
        if isinstance(event, Emitted):
            return (event.operand,) if event.operand is not None else ()
        return (self.same[node],) if node in self.same else node.args

    def _fold(self, event: Covered | Emitted) -> None:
        if isinstance(event, Covered) and event.row is None and event.node in self.same:
            return  # the steps stand for it
        below = self._below(event.node)
        names = self._names(below)
        value = self._value(event, names)
        for part in below:  # a chain: the same, but for an operand that is of this group
            group = self.groups.get(part)
            if group is not None and group.row == value.row:
                place = value.operands.index(names[part])
                again = self._value(event, names | {part: group.operands[place]})
                if _key(again) == _key(group):
                    group.chain = True
                    value = again
        for group in self.section.values:
            if _key(group) == _key(value):
                group.count += 1
                self.groups[event.node] = group
                return
        value.name = f"%{len(self.section.values) + 1}"
        self.section.values.append(value)
        self.groups[event.node] = value

    def _names(self, parts: Sequence[Expr]) -> Names:
        """The operands' names; other copies of the same value get a stroke."""
        names: Names = {}
        for part in parts:
            name = self.name(part)
            while part not in names and name in names.values() and part.op != "const":
                name += "'"
            names[part] = name
        return names

    def _value(self, event: Covered | Emitted, names: Names) -> ShownValue:
        node, row = event.node, event.row
        operands = tuple(names.values())
        trials = event.trials if isinstance(event, Covered) else ()
        inside = 1
        if isinstance(event, Covered):
            inside = next((t.inside for t in trials if not t.reason), 1)
        text = self._text(node, row, operands, names)
        unit = self.unit(row) if row is not None else ""
        name = None if row is None else row.name
        return ShownValue("", str(node.type), name, unit, inside, text, operands, trials)

    def _text(
        self, node: Expr, row: Instruction | None, operands: tuple[str, ...], names: Names
    ) -> str:
        if node.op == "call":
            return f"{node.attr}({', '.join(operands)})"
        if row is None:
            names = {arg: self.name(arg) for arg in node.args}
        inner = {part: name for part, name in names.items() if part.op != "const"}
        return text_of(node, inner)

    def name(self, node: Expr) -> str:
        """An operand's name: the number of a value, a buffer, a loop, or a constant."""
        seen: set[Expr] = set()
        while node not in self.groups and node not in seen:
            seen.add(node)
            match node.op:
                case "const":
                    return str(int(node.attr))
                case "fetch":
                    return str(node.attr[0].buffer)
                case "var":
                    return str(node.attr[0] if isinstance(node.attr, tuple) else node.attr)
                case "slice" if node not in self.same:
                    return f"{self.name(node.args[0])}.{'hi' if node.attr[0] else 'lo'}"
            if node not in self.same and not node.args:
                break
            node = self.same.get(node, node.args[0] if node.args else node)
        group = self.groups.get(node)
        return group.name if group is not None else node.op

    def _step(self, event: Expanded) -> None:
        names = _letters(event.node.args)
        before, after = text_of(event.node, names), text_of(event.result, names)
        for step in self.section.steps:
            if (step.name, step.before, step.after) == (event.name, before, after):
                step.count += 1
                return
        self.section.steps.append(ShownExpansion(event.name, before, after, event.early))


def _letters(parts: Sequence[Expr]) -> Names:
    names: Names = {}
    for part in parts:
        if part.op != "const" and part not in names:
            names[part] = "abcdefgh"[len(names)]
    return names


def text_of(root: Expr, names: Names) -> str:
    """``root`` as script; what has a name is written by it, and rows called by name as calls."""
    tree = _named(root, names)
    twice = Counter(arg for node in walk(tree) for arg in node.args if arg.args)
    shared = {n: f"t{i or ''}" for i, n in enumerate(n for n in walk(tree) if twice[n] > 1)}
    text = show_expr(_named(tree, shared))
    for node, name in reversed(shared.items()):
        inner = {n: t for n, t in shared.items() if n is not node}
        text += f", {name} = {show_expr(_named(node, inner))}"
    return text


def _named(root: Expr, names: Names) -> Expr:
    """``root`` with variables for what has a name; parts that come again are looked at once."""
    known: dict[Expr, Expr] = {}

    def named(node: Expr) -> Expr:
        if node not in known:
            known[node] = _one_named(node, names, named)
        return known[node]

    return named(root)


def _one_named(node: Expr, names: Names, named: Callable[[Expr], Expr]) -> Expr:
    if node in names:
        return var(names[node], node.type)
    if not node.args:
        return node
    args = tuple(named(arg) for arg in node.args)
    if node.op != "call":
        return rebuild(node, args)
    return var(f"{node.attr}({', '.join(show_expr(arg) for arg in args)})", node.type)


def _key(value: ShownValue) -> tuple[object, ...]:
    tried = tuple((t.row.name, t.reason) for t in value.trials if t.near)
    return value.row, value.text, value.operands, tried
