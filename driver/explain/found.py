"""What there is to say about the kernels of a compiled model: how they were made, or under limits.

found = explained(task, tuned)
found.sites, found.sections                  # what lifting and selection did, by the compiler
compared(tuned, Limits(rules=...))           # cycles and bytes without some of it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ...graph.fuse import RESIDUALS, apart
from ...graph.operators.group import nodes_of
from ...schedule.knobs import Point
from ...tir.passes.lift import LiftedStore
from ...tir.rewrite.engine import Attempt
from ...tir.spell import show_expr
from ..choose import Choice
from ..errors import InputError
from ..kernel_task import CodeTask, KernelTask
from ..model_program import by_themselves
from ..points import Kernels
from ..prepare import Ready
from ..tuned import Tuned
from .code import Section, sections
from .variant import Limits, Outcome, Variant, nearest


class Coded(Protocol):
    """A compiled model, or a kernel that a person wrote: ``choices`` are points by key."""

    @property
    def ready(self) -> Kernels: ...

    @property
    def choices(self) -> Mapping[str, Choice]: ...

    @property
    def target(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Explained:
    """One distinct kernel at its point; ``names`` are those of all kernels that are equal to it."""

    task: CodeTask
    names: tuple[str, ...]
    template: str
    point: Point
    cycles: int
    sites: list[LiftedStore]
    sections: list[Section]
    nodes: tuple[str, ...] = ()  # of the graph, where the kernel is a group of several
    apart: str = ""  # why it is no part of the kernel before it, if it might be

    def as_dict(self, all_rows: bool) -> dict[str, Any]:
        return {
            "name": self.task.name, "names": list(self.names), "kind": self.task.kind,
            "template": self.template, "point": dict(self.point), "cycles": self.cycles,
            "nodes": list(self.nodes), "apart": self.apart,
            "lifting": [_site_dict(site, all_rows) for site in self.sites],
            "combining": [section.as_dict(all_rows) for section in self.sections],
        }  # fmt: skip


def _site_dict(site: LiftedStore, all_rules: bool) -> dict[str, Any]:
    attempts = [a for a in site.attempts if all_rules or a.result is not None]
    return {
        "buffer": site.store.buffer.name, "before": show_expr(site.store.value),
        "after": show_expr(site.value), "attempts": [_attempt_dict(a) for a in attempts],
    }  # fmt: skip


def _attempt_dict(attempt: Attempt) -> dict[str, Any]:
    after = None if attempt.result is None else show_expr(attempt.result)
    return {"rule": attempt.rule, "before": show_expr(attempt.site), "after": after,
            "reason": attempt.reason}  # fmt: skip


def explained(task: CodeTask, tuned: Coded) -> Explained:
    """A kernel of a compiled model, compiled once more with a record."""
    return _explained(Variant(task, Limits()), tuned.choices[task.key].point, tuned)


def under(row: Compared, tuned: Coded) -> Explained:
    """A kernel explained under the limits of a comparison."""
    return _explained(row.variant, row.outcome.point, tuned)


def _explained(variant: Variant, point: Point, tuned: Coded) -> Explained:
    cycles = variant.compiled(point).cost.cycles
    names = tuple(other.name for other in tuned.ready.kernels if other.key == variant.task.key)
    found = sections(variant.record, variant.machine.unit)
    return Explained(
        variant.task, names, variant.template.name, point, cycles, variant.sites, found,
        *_grouping(variant.task, tuned),
    )  # fmt: skip


def _grouping(task: CodeTask, tuned: Coded) -> tuple[tuple[str, ...], str]:
    """The nodes of a kernel that is a group, or why a kernel is none."""
    if not isinstance(task, KernelTask) or not isinstance(tuned.ready, Ready):
        return (), ""
    nodes = nodes_of(task.node)
    shown = tuple(f"{node.op} {node.output}" for node in nodes) if len(nodes) > 1 else ()
    once = RESIDUALS[tuned.ready.recipe.residual]
    return shown, apart(tuned.ready.graph, once).get(task.node.output, "")


@dataclass(frozen=True, slots=True)
class Compared:
    """A kernel with and without limits."""

    task: CodeTask
    cycles: int
    variant: Variant
    outcome: Outcome

    def as_dict(self) -> dict[str, Any]:
        found = self.outcome
        return {
            "name": self.task.name, "cycles": self.cycles, "limited_cycles": found.cycles,
            "exact": found.exact, "moved": found.moved, "point": dict(found.point),
            "message": found.message,
        }  # fmt: skip

    @property
    def note(self) -> str:
        """A remark on a compared kernel: other bytes, another space, or no code."""
        found = self.outcome
        if found.cycles is None:
            return f"no code: {found.message}"
        if not found.exact:
            return found.message
        return "at another point: lifting leaves a kernel of another space" if found.moved else ""


def compared(tuned: Coded, limits: Limits) -> list[Compared]:
    """Each distinct kernel's cycles as it is and under ``limits``, its bytes checked."""
    found = []
    for task in tuned.ready.tasks:
        choice = tuned.choices[task.key]
        variant = Variant(task, limits)
        found.append(Compared(task, choice.cost.cycles, variant, variant.outcome(choice.point)))
    return found


def narrowed(found: Ready, kernel: str | None) -> Ready:
    """The model with only those kernels whose name has ``kernel`` in it."""
    if kernel is None:
        return found
    require_named([task.name for task in found.kernels], kernel)
    exact = [task for task in found.kernels if task.name == kernel]
    some = exact or [task for task in found.kernels if kernel in task.name]
    keys = {task.key for task in some}
    tasks = [task for task in found.tasks if task.key in keys]
    return replace(found, kernels=some, tasks=tasks)


def require_named(names: Sequence[str], kernel: str | None) -> None:
    """InputError unless ``kernel`` is a part of one of the names."""
    if kernel is not None and not any(kernel in name for name in names):
        raise InputError(
            f"kernel: must be a part of the name of one of {', '.join(names)}, "
            f"but got {kernel!r}{nearest(kernel, names)}"
        )


def narrow(tuned: Tuned, kernel: str | None) -> Tuned:
    """A compiled model, of which only these kernels are asked about."""
    some = narrowed(tuned.ready, kernel)
    alone = by_themselves(some, tuned.choices)
    return tuned if some is tuned.ready else Tuned(some, tuned.choices, alone, alone)


def total(rows: Sequence[Compared]) -> tuple[int, int | None]:
    """Cycles of the whole model with and without limits; None where a kernel has no code."""
    before = sum(row.cycles * row.task.weight for row in rows)
    cycles = [row.outcome.cycles for row in rows]
    if any(number is None for number in cycles):
        return before, None
    pairs = zip(rows, cycles, strict=True)
    return before, sum((number or 0) * row.task.weight for row, number in pairs)
