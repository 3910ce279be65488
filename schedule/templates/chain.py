"""Chains of reductions along one axis and of maps of their results, read from their accesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...tir.stmt import Buffer, PrimFunc
from ..structure import Form, Structure, structure
from ..tree import blocks_below

LANES = 128  # bytes of a register
WORDS = 32  # rows that a register holds once there is one number a row
MOST = 128  # rows of a tile


@dataclass(frozen=True, slots=True)
class Steps:
    """One block of the chain: its iters for the rows, in one order for all blocks, and for the axis
    along which rows are reduced (None: it has one element a row)."""

    name: str
    form: Form
    rows: tuple[str, ...]
    along: str | None
    out: Buffer


@dataclass(frozen=True, slots=True)
class Chain:
    """The blocks in order, and how rows and the axis lie in the operand's memory."""

    steps: tuple[Steps, ...]
    x: Buffer
    y: Buffer
    extents: tuple[int, ...]  # of the row axes
    strides: tuple[int, ...]
    length: int  # elements of a row
    stride: int  # bytes between them

    @property
    def deep(self) -> int:
        """Channels as they are stored."""
        return self.x.shape[-1]

    @property
    def dealt(self) -> bool:
        """Whether a copy puts a row's elements side by side."""
        return 1 < self.stride == self.deep < LANES

    @property
    def lanes(self) -> int:
        """Lanes of a register that belong to one row; 1 where registers lie across rows."""
        if self.dealt:
            return LANES // self.deep
        return min(self.deep, LANES) if self.stride == 1 else 1

    @property
    def beside(self) -> int:
        """Rows that share a register."""
        return LANES // self.lanes

    @property
    def registers(self) -> int:
        """Steps of a register along a row."""
        return -(-self.length // self.lanes)

    @property
    def tiled(self) -> int:
        """The row axis of which tiles are made: the innermost one that is more than a lane."""
        open_ = range(len(self.extents) - self.dealt)
        return max((k for k in open_ if self.extents[k] > 1), default=max(open_))

    @property
    def unit(self) -> int:
        """Rows that one step of the tiled axis brings."""
        return self.deep if self.dealt else 1


def chain_of(func: PrimFunc) -> Chain | None:
    """The chain that ``func`` is; None for other kernels."""
    params = [p for p in func.params if p.name not in func.constants]
    if len(params) != 2 or params[0].shape != params[1].shape or len(params[0].shape) != 4:
        return None
    found = [structure(block) for block in blocks_below(func.body)]
    blocks = [block for block in found if block is not None]
    if len(blocks) != len(found) or len(blocks) < 3:
        return None
    narrow = _results(blocks)
    steps = [_steps(block, narrow) for block in blocks]
    first, last = blocks[0], blocks[-1]
    if None in steps or first.form is not Form.REDUCTION or last.form is not Form.MAP:
        return None
    x, y = params
    read = next((use for use in first.reads if use.buffer == x), None)
    if read is None or last.out.buffer != y or read.start or last.out.start:
        return None
    known = {str(axis.var.attr): axis for axis in first.axes}
    ways = [step for step in steps if step is not None]
    kept = [known[name] for name in ways[0].rows]
    along = known[ways[0].along or ""]
    chain = Chain(tuple(ways), x, y, tuple(axis.extent for axis in kept),
                  tuple(read.step(axis) for axis in kept), along.extent,
                  read.step(along))  # fmt: skip
    return chain if _suits(chain) else None


def _results(blocks: Sequence[Structure]) -> set[str]:
    """The buffers that hold a number a row: those of reductions, and what is made of them alone."""
    narrow: set[str] = set()
    for block in blocks:
        reads = {use.buffer.name for use in block.reads}
        if block.form is Form.REDUCTION or (block.form is Form.MAP and reads and reads <= narrow):
            narrow.add(block.out.buffer.name)
    return narrow


def _steps(block: Structure, narrow: set[str]) -> Steps | None:
    uses = [use for use in (block.out, *block.reads) if use.buffer.name in narrow]
    names = {str(axis.var.attr) for axis in block.axes}
    rows_ = {tuple(str(e.attr) if e.op == "var" else "" for e in use.index) for use in uses}
    if len(rows_) != 1 or block.form not in (Form.REDUCTION, Form.MAP):
        return None
    (order,) = rows_
    rest = sorted(names - {*order})
    if not {*order} <= names or len(rest) > 1 or not order:
        return None
    return Steps(block.block, block.form, order, rest[0] if rest else None, block.out.buffer)


def _suits(chain: Chain) -> bool:
    wide = [step for step in chain.steps if step.along]
    if len(wide) < 3 or chain.steps[0].along is None or chain.x.type.bits != 8:
        return False
    if chain.lanes > 1:
        return len(chain.extents) > chain.dealt
    if chain.extents[-1] != chain.deep or chain.strides[-1] != 1:
        return False
    pixels = max(LANES // chain.deep, 1)
    return pixels == 1 or (
        chain.strides[-2:-1] == (chain.deep,) and chain.extents[-2] % pixels == 0
    )
