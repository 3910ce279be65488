"""A kernel as parts of it, one after another, while transfers bring and take rows of images.

    copy(x_0, rows of x, "x_0");  copy(x_1, next rows, "x_1");  wait("x_0");  <phases of part 0>
    copy(rows of y, y_0, "y_0");  copy(x_0, ..., "x_2");  wait("x_1");        <phases of part 1>

Images in TCM are used where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ...target.machine_facts import Machine
from ...tir.expr import const
from ...tir.passes.flatten import flat_index
from ...tir.passes.lower_blocks import lower_blocks
from ...tir.passes.simplify import simplify_func
from ...tir.stmt import Alloc, Buffer, Copy, PrimFunc, Region, Stmt, seq, walk_stmt
from ...tir.types import i32
from ..errors import ScheduleError
from ..new_nests import Element, Index, retargeted
from .part import KernelPart, stretch
from .transfers import PLACES, Transfer, beside, in_turn

Form = tuple[tuple[Buffer, ...], Stmt]


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a part's rows of an image lie: ``size`` elements of a buffer of one dimension."""

    buffer: Buffer
    start: int
    size: int

    @property
    def region(self) -> Region:
        return Region(self.buffer, (const(self.start, i32),), (self.size,))


def images_of(func: PrimFunc, part: KernelPart) -> list[Buffer]:
    """The parameters that are cut."""
    return [param for param in func.params if param.name in part.boxes]


def strip_by_strip(
    func: PrimFunc,
    parts: Sequence[KernelPart],
    scheduled: Callable[[PrimFunc], PrimFunc],
    machine: Machine,
) -> PrimFunc:
    """``func`` as its parts, each as it is ``scheduled``, once where they are the same kernel."""
    known = {form_of(part.func): part.func for part in parts}
    made = {form: simplify_func(lower_blocks(scheduled(f))) for form, f in known.items()}
    forms = [form_of(part.func) for part in parts]
    images = images_of(func, parts[0])
    spots = [{image.name: _spot(image, part) for image in images} for part in parts]
    near = {image.name: _places(image, [own[image.name].size for own in spots])
            for image in images if image.scope == "ddr"}  # fmt: skip
    phases = []
    names: dict[str, Buffer] = {}
    for number, form in enumerate(forms):
        used = {name: _near(spot, near, number) for name, spot in spots[number].items()}
        renamed = _renamed(made[form].body, names, list(made).index(form))
        _check_copies(made[form].body, {*used, *(buffer.name for buffer in renamed)})
        phases.append(retargeted(made[form].body, _moved(used, renamed)))
    result = func.params[-1].name
    body = seq(*beside(phases, list(_transfers(spots, near, result)), machine))
    for buffer in [place for places in near.values() for place in places]:
        body = Alloc(buffer, body)
    flat = {image.name: replace(image, shape=(image.size,)) for image in images}
    first = made[forms[0]]
    return replace(first, params=tuple(flat.get(p.name, p) for p in first.params), body=body)


def _check_copies(body: Stmt, moved: set[str]) -> None:
    """A part's own transfers must leave the images alone: rows of them lie apart elsewhere."""
    for copy in (s for s in walk_stmt(body) if isinstance(s, Copy)):
        if names := sorted({copy.target.buffer.name, copy.source.buffer.name} & moved):
            raise ScheduleError(
                f"strips: transfers of a part must be of what is not cut, but one is of {names[0]}"
            )


def form_of(part: PrimFunc) -> Form:
    """Parts of one form are the same kernel."""
    return part.params, part.body


def _spot(image: Buffer, part: KernelPart) -> _Spot:
    found = stretch(image, part.boxes[image.name])
    assert found is not None
    return _Spot(replace(image, shape=(image.size,)), *found)


def _places(image: Buffer, sizes: Sequence[int]) -> list[Buffer]:
    """The buffers of an image in DDR."""
    return [Buffer(f"{image.name}_{turn}", image.type, (max(sizes),), "tcm")
            for turn in range(min(PLACES, len(sizes)))]  # fmt: skip


def _near(spot: _Spot, near: dict[str, list[Buffer]], number: int) -> _Spot:
    """The spot itself, or the buffer whose turn it is."""
    places = near.get(spot.buffer.name)
    return spot if places is None else _Spot(places[number % PLACES], 0, spot.size)


def _transfers(
    spots: Sequence[dict[str, _Spot]], near: dict[str, list[Buffer]], result: str
) -> Iterator[Transfer]:
    for number, own in enumerate(spots):
        for name in near:
            far, spot = own[name].region, _near(own[name], near, number).region
            token = f"{name}_strip_{number}"
            if name == result:
                needed = min(number + PLACES, len(spots))
                yield Transfer(Copy(far, spot, token), number + 1, needed)
            else:
                yield in_turn(Copy(spot, far, token), number, range(len(spots)), PLACES)


def _moved(spots: dict[str, _Spot], renamed: dict[Buffer, Buffer]) -> Element:
    def element(buffer: Buffer, index: Index) -> tuple[Buffer, Index] | None:
        if buffer.name in spots:
            spot, at = spots[buffer.name], flat_index(buffer, index)
            return spot.buffer, (at + spot.start if spot.start else at,)
        return (renamed[buffer], index) if buffer in renamed else None

    return element


def _renamed(body: Stmt, known: dict[str, Buffer], form: int) -> dict[Buffer, Buffer]:
    """Scratch that differs from that of an earlier form under the same name."""
    local = dict.fromkeys(s.buffer for s in walk_stmt(body) if isinstance(s, Alloc))
    return {b: replace(b, name=f"{b.name}_form_{form}")
            for b in local if known.setdefault(b.name, b) != b}  # fmt: skip
