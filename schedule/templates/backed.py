"""Kernels for which no point of a special template has code: the templates for any kernel do them.

A point of those has the knob ``general``. Nothing of them is made before one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial

from ...tir.stmt import PrimFunc
from ..knobs import Point, Space, fixed
from ..schedule import Schedule
from .template import Estimate, Template

GENERAL = "general"


@dataclass(frozen=True)
class Backed(Template):
    """A special template with a general one behind it, whose points it takes, too."""

    special: Template = field(kw_only=True)

    def of(self, point: Mapping[str, object]) -> Template:
        assert self.spare is not None
        return self.spare() if GENERAL in point else self.special

    def apply(self, point: Point) -> PrimFunc:
        return self.of(point).apply(point)


def backed(special: Template, general: Callable[[], Template]) -> Template:
    """The special template and what stands behind it; its space is that of the special one."""

    def schedule(point: Point) -> Schedule:
        return made.of(point).schedule(point)

    def estimate(point: Point) -> Estimate:
        return made.of(point).estimate(point)

    made = Backed(
        special.name, special.func, special.machine, special.space, schedule, estimate,
        parts=special.parts, spare=cache(lambda: _marked(general())), special=special,
    )  # fmt: skip
    return made


def _marked(template: Template) -> Template:
    """With points that say whose they are."""

    def marked(part: Callable[[], Space]) -> Space:
        return fixed(part(), GENERAL, True)

    parts = {threads: partial(marked, part) for threads, part in template.parts.items()}
    return replace(template, space=fixed(template.space, GENERAL, True), parts=parts)
