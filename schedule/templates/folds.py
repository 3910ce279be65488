"""Kernels of any blocks that fold: sums of products, sums, maxima and minima, as people write them.

    words      four products of bytes a lane: one operand's words as vectors, the other's as scalars
    lanes      words of both as vectors, for few results, whose partial sums are rows then
    rows       as many results as fill a register, each folded over elements that lie together
    columns    lanes are steps of the result; what is folded is looped over, some terms a step

Each block is a phase of its own; maps and copies are those of ``lanes``. Words and rows first come
into local copies where they do not lie so, or end in no whole registers.
"""

from __future__ import annotations

from functools import partial
from math import prod

from ...target.machine_facts import Machine
from ...tir.recent import OfOwner
from ...tir.stmt import PrimFunc
from ..errors import ScheduleError
from ..knobs import Point, choice, number
from ..schedule import Schedule
from ..structure import Form, Structure, structure
from ..tree import blocks_below
from .arranged import WIDE, Arranged, kept, nests, template
from .contraction import WORD
from .fold_chain import in_planes, in_words, turned
from .fold_lanes import in_lanes
from .fold_made import made_of
from .fold_operands import arrange_made
from .fold_order import straighten
from .fold_parts import now
from .fold_rows import able, in_parts, rows_of, run_columns_on, run_depth_on, run_rows_on, whole
from .fold_tiles import arrange
from .fold_words import of_bytes, shifted, words_of
from .fusing import ALONE, expand_terms, made_by
from .lanes import FOLDS, FORMS, layer_of
from .nest import lanes_of
from .plans import BlockPlan
from .scalar import Plain
from .template import Template

KINDS = ("lanes", "unsigned", "signed", "none")
TERMS = (8, 4, 2, 1, 16)
_taken = OfOwner[bool](256)


def folds(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of kernels in which some block folds; blocks of no known form are plain."""
    return _folds(func, machine, KINDS)


def sums(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of few sums of many products of bytes, which lie in lanes."""
    return _folds(func, machine, KINDS[:1])


def products(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of products of two activations, whose sums a map takes in."""
    vector = machine.vector_bytes
    taken = _taken(func, ("products", vector), lambda: _has_product(func, vector))
    return _folds(func, machine, KINDS[1:2]) if taken else None


def _has_product(func: PrimFunc, vector: int) -> bool:
    sch = Schedule(func)
    found = (structure(block) for block in blocks_below(func.body))
    return any(part is not None and made_of(sch, part, vector) for part in found)


def _folds(func: PrimFunc, machine: Machine, kinds: tuple[str, ...]) -> Template | None:
    blocks = {block: structure(block) for block in blocks_below(func.body)}
    folding = [found for found in blocks.values() if found is not None and found.form in FOLDS]
    plain: dict[str, BlockPlan] = {
        block.name: Plain(prod(it.extent for it in block.iters))
        for block, found in blocks.items()
        if found is None or found.form not in (*FORMS, *FOLDS)
    }
    words = kinds if any(of_bytes(found) for found in folding) else kinds[3:]

    def arranged(words: str, terms: int) -> Arranged | None:
        made = partial(_arranged, func, folding, plain, words, terms, machine)
        return kept(func, (words, terms, machine.vector_bytes, machine.issue), made)

    if not folding or not words or arranged(words[-1], 1) is None:
        return None
    maps = any(found is not None and found.form is Form.MAP for found in blocks.values())
    knobs = (
        choice("bytes", words),
        choice("terms", TERMS),
        *nests(loops=(0, ALONE)),
        choice(WIDE, (1, 0) if maps and len(kinds) > 1 else (1,)),
    )

    def at(point: Point) -> Arranged | None:
        return arranged(str(point["bytes"]), number(point, "terms"))

    return template("folds", func, machine, knobs, at)


def _arranged(
    func: PrimFunc,
    folding: list[Structure],
    plain: dict[str, BlockPlan],
    words: str,
    terms: int,
    machine: Machine,
) -> Arranged | None:
    """The kernel with each fold in the first way that takes it; None where one has none."""
    sch, special, vector = Schedule(func), dict(plain), machine.vector_bytes
    try:
        _near(sch)
        in_planes(sch)
        for found in folding:
            _prepare(sch, found, words, special, vector)
        _near(sch)
        for name in [ref.name for ref in sch.blocks()]:
            if name not in special:
                _prepare_sums(sch, name, terms, special, vector)
            if name not in special:
                whole(sch, now(sch, name), vector)
    except ScheduleError:
        return None
    layer = layer_of(sch.logical, machine, (*FORMS, *FOLDS), apart=special)
    if layer is None:
        return None
    tiles = {name: part if part.turn or able(part.nest) else part.plain()
             for name, part in layer.items()}  # fmt: skip
    return Arranged(sch, {**special, **tiles})


def _near(sch: Schedule) -> None:
    """Local buffers outlive the phase that fills them."""
    params = {p.name for p in sch.logical.params}
    for ref in sch.blocks():
        made = sch.get_buffer(made_by(sch, ref.name))
        if made.name not in params and made.scope != "tcm":
            sch.set_scope(made.name, "tcm")


def _prepare(
    sch: Schedule, found: Structure, kind: str, special: dict[str, BlockPlan], vector: int
) -> None:
    words = kind != "none" and of_bytes(found)
    if words and kind == "lanes":
        special.update([in_lanes(sch, now(sch, found.block), vector)])
        return
    made = made_of(sch, now(sch, found.block), vector) if words else None
    if made is not None:
        parts, sums = arrange_made(sch, made, kind == "unsigned")
        special.update(parts)
        for name in sums:
            _prepare(sch, now(sch, name), "none", special, vector)
        return
    sums = _sums(sch, found) if words else []
    found = now(sch, found.block)
    if (words_of if words else rows_of)(found, vector) is None:
        least = vector // WORD // 8 if words else lanes_of(found, vector) // 4
        found = straighten(sch, found, words, least, vector)
    plan = words_of(found, vector) if words else None
    if plan is not None:
        special.update(arrange(sch, plan, kind == "unsigned"))
    else:
        for step in (turned, run_depth_on, in_parts, in_words, run_rows_on, whole, run_columns_on):
            special.update(step(sch, now(sch, found.block), vector))
    for name in sums:
        _prepare(sch, now(sch, name), "none", special, vector)


def _sums(sch: Schedule, found: Structure) -> list[str]:
    """Takes numbers out of the operands; gives the blocks that sum the other ones."""
    names = [use.buffer.name for use in found.reads if shifted(found, use)]
    return [ref.name for name in names for ref in sch.offset_operand(found.block, name)]


def _prepare_sums(
    sch: Schedule, name: str, terms: int, special: dict[str, BlockPlan], vector: int
) -> None:
    """A fold that has no words: rows at once, or a loop of so many terms."""
    found = structure(sch.get_block(name))
    if found is None or found.form not in FOLDS:
        return
    plan = rows_of(found, vector)
    if plan is not None:
        special[name] = plan
        return
    expand_terms(sch, name, terms)
