"""Kernels of any blocks that fold: sums of products, sums, maxima and minima, as people write them.

    words      four products of bytes a lane: one operand's words as vectors, the other's as scalars
    lanes      words of both as vectors, for few results, whose partial sums are rows then
    rows       as many results as fill a register, each folded over elements that lie together
    columns    lanes are steps of the result; what is folded is looped over, some terms a step

Each block is a phase of its own; maps and copies are those of ``lanes``. Words and rows first come
into local copies where they do not lie so, or end in no whole registers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from math import prod

from ...target.dsp.machine import Machine
from ...tir.recent import OfOwner
from ...tir.stmt import PrimFunc
from ..errors import ScheduleError
from ..knobs import Knob, Point, Space, Value, choice, number
from ..schedule import Schedule
from ..structure import Form, Structure, structure
from ..tree import blocks_below
from .contraction import LANES, VECTOR, local
from .direct import direct
from .fold_chain import in_planes, in_words, turned
from .fold_lanes import in_lanes
from .fold_made import made_of
from .fold_operands import arrange_made
from .fold_order import straighten
from .fold_parts import Plain, lanes_of, now
from .fold_rows import able, in_parts, rows_of, run_columns_on, run_depth_on, run_rows_on, whole
from .fold_tiles import arrange
from .fold_words import of_bytes, shifted, words_of
from .fusing import ALONE, expand_terms, made_by
from .lanes import FORMS, ROWS, UNROLLS, Layer, layer_of
from .nest import Nest, scalar
from .packets import body_of
from .plans import Part, Plan, total
from .template import Estimate, Template

FOLDS = (Form.REDUCTION, Form.CONTRACTION)
KINDS = ("lanes", "unsigned", "signed", "none")
TERMS = (8, 4, 2, 1, 16)
SUMS = 4  # registers of sums of a body
BODY = 64  # loads of registers of a body
CODE = 256  # instructions of a body of several vectors, or of all where they are one phase
_taken = OfOwner[bool](256)
_ways = OfOwner["Prepared | None"](256)  # the same on any number of threads


@dataclass(frozen=True)
class Prepared:
    """A schedule whose operands lie as they are read; its blocks, some of them in special nests."""

    sch: Schedule
    layer: Layer
    special: dict[str, Part]

    def schedule(self, machine: Machine, point: Point) -> Schedule:
        sch = self.sch.copy()
        for block, part in self.special.items():
            part.place(sch, block, machine, point)
        self._layer(point).schedule(sch, machine, _of_layer(point))
        return sch

    def _layer(self, point: Point) -> Layer:
        return self.layer if point["maps"] else self._plain

    @cached_property
    def _plain(self) -> Layer:
        """The other blocks, maps element by element, since their lanes may have no code."""
        found = self.layer.nests
        nests = [scalar(nest) if nest.found.form is Form.MAP else nest for nest in found]
        return replace(self.layer, nests=tuple(nests))

    def fits(self, machine: Machine, point: Point) -> bool:
        """Whether sums stay in registers, and bodies short: of all phases where they are one."""
        unroll, rows, loads = number(point, "unroll"), number(point, "rows"), 0
        for nest in self.layer.nests:
            uses = nest.found.out, *nest.found.reads
            size = max(use.buffer.type.bytes for use in uses) * nest.lanes
            values = max(size // VECTOR, 1) * nest.together(unroll, None) * nest.rows(rows)
            if nest.found.form in FOLDS and values > SUMS:
                return False
            loads = max(loads, values * len(nest.found.reads))
        short = loads <= BODY and (point["loop"] != ALONE or self._code(machine, point) <= CODE)
        return short and all(part.fits(point) for part in self.special.values())

    def _code(self, machine: Machine, point: Point) -> float:
        return sum(plan.body.slots for plan in self._plans(machine, point))

    def _plans(self, machine: Machine, point: Point) -> list[Plan]:
        plans = [plan for part in self.special.values() for plan in part.plans(machine, point)]
        return plans + self._layer(point).plans(machine, _of_layer(point))

    def estimate(self, machine: Machine, point: Point) -> Estimate:
        """All phases, which are one on one thread, once constants have come."""
        alone = number(point, "loop") == ALONE
        machine = replace(machine, threads=1) if alone else machine
        plans = self._plans(machine, point)
        found, func = total(plans, machine), self.sch.logical
        known = sum(p.bytes for p in func.params if p.name in func.constants)
        wait = machine.dma_start + known / machine.dma_rate if known else 0.0
        wait -= (len(plans) - 1) * machine.barrier if alone else 0
        cycles = found.cycles + wait + self._far(machine)
        return Estimate(cycles, {**found.facts, "first_wait": wait})

    def _far(self, machine: Machine) -> float:
        """Cycles of local buffers for which TCM has no room: what is stored is waited for later."""
        free = machine.tcm - sum(p.bytes for p in self.sch.logical.params if p.scope == "tcm")
        vectors = 0.0
        for size in self._scratch:
            vectors += 0 if size <= free else size / VECTOR / machine.threads
            free -= size if size <= free else 0
        return direct(machine, 2 * vectors, VECTOR, vectors)

    @cached_property
    def _scratch(self) -> list[int]:
        return sorted(buffer.bytes for buffer in local(self.sch.logical))


def _of_layer(point: Point) -> Point:
    return {**point, "share": point["loop"]}


def folds(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of kernels in which some block folds; blocks of no known form are plain."""
    return _folds(func, machine, KINDS)


def sums(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of few sums of many products of bytes, which lie in lanes."""
    return _folds(func, machine, KINDS[:1])


def products(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of products of two activations, whose sums a map takes in."""
    taken = _taken(func, "products", lambda: _has_product(func))
    return _folds(func, machine, KINDS[1:2]) if taken else None


def _has_product(func: PrimFunc) -> bool:
    sch = Schedule(func)
    found = (structure(block) for block in blocks_below(func.body))
    return any(part is not None and made_of(sch, part) for part in found)


def _folds(func: PrimFunc, machine: Machine, kinds: tuple[str, ...]) -> Template | None:
    blocks = {block: structure(block) for block in blocks_below(func.body)}
    folding = [found for found in blocks.values() if found is not None and found.form in FOLDS]
    plain: dict[str, Part] = {
        block.name: Plain(prod(it.extent for it in block.iters))
        for block, found in blocks.items()
        if found is None or found.form not in (*FORMS, *FOLDS)
    }
    words = kinds if any(of_bytes(found) for found in folding) else kinds[3:]

    @cache
    def prepared(words: Value, terms: int) -> Prepared | None:
        made = partial(_prepared, func, folding, plain, str(words), terms)
        return _ways(func, (words, terms), made)

    if not folding or not words or prepared(words[-1], 1) is None:
        return None

    def of(point: Point) -> Prepared:
        made = prepared(point["bytes"], number(point, "terms"))
        assert made is not None
        return made

    def fits(point: Point) -> bool:
        return prepared(point["bytes"], number(point, "terms")) is not None and of(point).fits(
            machine, point
        )

    maps = any(found is not None and found.form is Form.MAP for found in blocks.values())
    space = Space(_knobs(words, maps and len(kinds) > 1), (fits,))
    return Template("folds", func, machine, space, lambda point: of(point).schedule(machine, point),
                    lambda point: of(point).estimate(machine, point))  # fmt: skip


def _knobs(words: tuple[str, ...], maps: bool) -> tuple[Knob, ...]:
    """``bytes``: whether what is summed lies in lanes, or vectors of bytes are words, unsigned or
    as they are; ``loop``: whether threads share loops; ``maps``: whether they have lanes."""
    return (
        choice("bytes", words),
        choice("terms", TERMS),
        choice("unroll", UNROLLS),
        choice("rows", ROWS),
        choice("loop", (0, ALONE)),
        choice("maps", (1, 0) if maps else (1,)),
    )


def _prepared(
    func: PrimFunc, folding: list[Structure], plain: dict[str, Part], words: str, terms: int
) -> Prepared | None:
    """The kernel with each fold in the first way that takes it; None where one has none."""
    sch, special = Schedule(func), dict(plain)
    try:
        _near(sch)
        in_planes(sch)
        for found in folding:
            _prepare(sch, found, words, special)
        _near(sch)
        for name in [ref.name for ref in sch.blocks()]:
            if name not in special:
                _prepare_sums(sch, name, terms, special)
            if name not in special:
                whole(sch, now(sch, name))
    except ScheduleError:
        return None
    layer = layer_of(sch.logical, (*FORMS, *FOLDS), apart=special)
    if layer is None:
        return None
    nests = tuple(_few(nest) if able(nest) else scalar(nest) for nest in layer.nests)
    return Prepared(sch, replace(layer, nests=nests), special)


def _few(nest: Nest) -> Nest:
    """A nest that unrolls few vectors where each takes long."""
    body = body_of(nest.found, nest.lanes, 1, nest.reach(1))
    return replace(nest, most=max(int(CODE / body.slots), 1))


def _near(sch: Schedule) -> None:
    """Local buffers outlive the phase that fills them."""
    params = {p.name for p in sch.logical.params}
    for ref in sch.blocks():
        made = sch.get_buffer(made_by(sch, ref.name))
        if made.name not in params and made.scope != "tcm":
            sch.set_scope(made.name, "tcm")


def _prepare(sch: Schedule, found: Structure, kind: str, special: dict[str, Part]) -> None:
    words = kind != "none" and of_bytes(found)
    if words and kind == "lanes":
        special.update([in_lanes(sch, now(sch, found.block))])
        return
    made = made_of(sch, now(sch, found.block)) if words else None
    if made is not None:
        parts, sums = arrange_made(sch, made, kind == "unsigned")
        special.update(parts)
        for name in sums:
            _prepare(sch, now(sch, name), "none", special)
        return
    sums = _sums(sch, found) if words else []
    found = now(sch, found.block)
    if (words_of if words else rows_of)(found) is None:
        found = straighten(sch, found, words, LANES // 8 if words else lanes_of(found) // 4)
    plan = words_of(found) if words else None
    if plan is not None:
        special.update(arrange(sch, plan, kind == "unsigned"))
    else:
        for step in (turned, run_depth_on, in_parts, in_words, run_rows_on, whole, run_columns_on):
            special.update(step(sch, now(sch, found.block)))
    for name in sums:
        _prepare(sch, now(sch, name), "none", special)


def _sums(sch: Schedule, found: Structure) -> list[str]:
    """Takes numbers out of the operands; gives the blocks that sum the other ones."""
    names = [use.buffer.name for use in found.reads if shifted(found, use)]
    return [ref.name for name in names for ref in sch.offset_operand(found.block, name)]


def _prepare_sums(sch: Schedule, name: str, terms: int, special: dict[str, Part]) -> None:
    """A fold that has no words: rows at once, or a loop of so many terms."""
    found = structure(sch.get_block(name))
    if found is None or found.form not in FOLDS:
        return
    plan = rows_of(found)
    if plan is not None:
        special[name] = plan
        return
    expand_terms(sch, name, terms)
