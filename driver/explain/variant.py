"""A kernel compiled with limits, and a record of how: what explain, --forbid and --bisect look at.

    variant = Variant(task, Limits(rules=frozenset({"min_of_all.u8"})))
    variant.outcome(point)              # cycles, and whether the bytes are the evaluator's
    variant.sites, variant.record       # what lifting and selection did

The code is made by the passes that make it for a tune; they only get a budget, names that they
must not use, and lists to write into.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property

from ...schedule.errors import ScheduleError
from ...schedule.knobs import Point, key
from ...schedule.templates.template import Template
from ...target.cost import Work
from ...target.program import Program
from ...target.protocol import Target
from ...target.selection_record import SelectionRecord
from ...tir.passes.lift import LiftedStore, lift
from ...tir.rewrite.engine import Attempt, Budget
from ...tir.rules import lifting_rules
from ...tir.stmt import PrimFunc
from ..compiler import REFUSALS, Lifting
from ..errors import InputError
from ..kernel_task import CodeTask, Tunable
from ..values import Values


@dataclass(frozen=True, slots=True)
class Limits:
    """Rules of lifting and rows that must not be used, and how many rewrites lifting may do."""

    rules: frozenset[str] = frozenset()
    rows: frozenset[str] = frozenset()
    rewrites: int | None = None
    asked: tuple[str, ...] = ()  # the names as they were given

    def __bool__(self) -> bool:
        return bool(self.rules or self.rows or self.rewrites is not None)

    def __str__(self) -> str:
        names = self.asked or tuple(sorted(self.rules | self.rows))
        parts = [f"without {', '.join(names)}"] if names else []
        if self.rewrites is not None:
            parts.append(f"with {self.rewrites} rewrites at most")
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A kernel under limits: ``cycles`` None where it has no code, which ``message`` explains, as
    it does for bytes that differ. ``moved``: the point is of another space than before."""

    cycles: int | None
    exact: bool
    point: Point
    moved: bool = False
    message: str = ""


@dataclass
class Variant(Tunable):
    """A task's kernel under limits; ``sites`` and ``record`` fill while it is compiled."""

    task: CodeTask
    limits: Limits = Limits()
    sites: list[LiftedStore] = field(default_factory=list)
    record: SelectionRecord = field(
        default_factory=SelectionRecord
    )  # of the program that was asked for last

    def __post_init__(self) -> None:
        self.machine = self.task.machine

    @property
    def func(self) -> PrimFunc:
        return self.task.func

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def work(self) -> Work:
        return self.task.work

    @property
    def values(self) -> Values:
        return self.task.values

    @cached_property
    def lifted(self) -> PrimFunc:
        """The kernel as lifting leaves it under the limits."""
        budget = Budget(self.limits.rewrites)
        return lift(self.func, budget=budget, forbidden=self.limits.rules, sites=self.sites)

    def template_of(self, lifting: Lifting) -> Template:
        return self.task.template_of(lifting)

    @cached_property
    def template(self) -> Template:
        """As the task's, for the lifted kernel."""
        return self.template_of(lambda _: self.lifted)

    @cached_property
    def programs(self) -> dict[str, tuple[Program, SelectionRecord]]:
        return {}

    def program(self, point: Point) -> Program:
        """The selected code of a point, written down in ``record``."""
        name = key(point)
        if name not in self.programs:
            record = SelectionRecord()
            func, forbidden = self.template.apply(point), self.limits.rows
            program = self.machine.build(func, record=record, forbidden=forbidden)
            self.programs[name] = program, record
        program, self.record = self.programs[name]
        return program

    def near(self, point: Point) -> tuple[Point, bool]:
        """``point``, or the default where the limits leave a kernel of another space."""
        try:
            return self.point(point), False
        except ScheduleError:
            return self.default, True

    def outcome(self, point: Point) -> Outcome:
        """The kernel's cycles and bytes at ``point``, or at its default in another space."""
        try:
            here, moved = self.near(point)
            cycles = self.compiled(here).cost.cycles
            exact, message = self.check(here)
        except REFUSALS as refused:
            return Outcome(None, False, point, message=" ".join(str(refused).split()))
        return Outcome(cycles, exact, here, moved, message)

    def rewrites(self) -> list[Attempt]:
        """The rewrites that lifting did, in order."""
        assert self.lifted
        return [a for site in self.sites for a in site.attempts if a.result is not None]


def limits(forbidden: tuple[str, ...], rewrites: int | None, target: Target) -> Limits:
    """The limits that names spell: rules of lifting, families of them, or rows of instructions."""
    if rewrites is not None and rewrites < 0:
        raise InputError(f"rewrite-limit: must not be negative, but got {rewrites}")
    rules: set[str] = set()
    rows: set[str] = set()
    for name in forbidden:
        found = rules_named(name)
        rules |= found
        if not found:
            rows.add(row_named(name, target, "forbid"))
    return Limits(frozenset(rules), frozenset(rows), rewrites, forbidden)


def rules_named(name: str) -> set[str]:
    """The rule of this name, or the family, whose name is the part before the first point."""
    known = [rule.name for rule in lifting_rules().rules]
    return {rule for rule in known if rule == name or rule.startswith(name + ".")}


def row_named(name: str, target: Target, what: str) -> str:
    """The row of this name, if values are covered by it for what it means."""
    rows = [row.name for row in target.rows.values() if row.covers]
    if name in rows:
        return name
    known = [rule.name for rule in lifting_rules().rules]
    families = [rule.partition(".")[0] for rule in known]
    raise InputError(
        f"{what}: must be a rule of lifting, a family of rules or an instruction that covers "
        f"values by its meaning, but got {name!r}{nearest(name, [*known, *families, *rows])}"
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not ``known``."""
    near = get_close_matches(name, list(dict.fromkeys(known)), 3, 0.5)
    return f"; near it are {', '.join(near)}" if near else ""
