"""The words of the script as Python names, so that linters and type checkers know them.

from dovetail.tir.script import *

These mean something only inside a function under ``prim_func``, which is read, never run.
"""

from __future__ import annotations

from typing import Any

from .. import stmt


class _Word:
    """A name of the script; using it outside of a script says so."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *_: object, **__: object) -> Any:
        raise TypeError(f"{self.name}: it is a word of the script, used inside @prim_func only")


class _BufferWord:
    """``Buffer[u8, (128, 64), "tcm"]`` in annotations."""

    def __getitem__(self, parts: Any) -> stmt.Buffer:
        kind, shape, *scope = parts if isinstance(parts, tuple) else (parts,)
        axes = shape if isinstance(shape, tuple) else (shape,)
        return stmt.Buffer("", kind, tuple(map(int, axes)), *scope)


Buffer: Any = _BufferWord()
serial: Any = _Word("serial")
parallel: Any = _Word("parallel")
vectorized: Any = _Word("vectorized")
unrolled: Any = _Word("unrolled")
block: Any = _Word("block")
spatial: Any = _Word("spatial")
reduce: Any = _Word("reduce")
where: Any = _Word("where")
init: Any = _Word("init")
alloc: Any = _Word("alloc")
copy: Any = _Word("copy")
wait: Any = _Word("wait")
call: Any = _Word("call")
cast: Any = _Word("cast")
sat_cast: Any = _Word("sat_cast")
select: Any = _Word("select")
rint: Any = _Word("rint")
widening_add: Any = _Word("widening_add")
widening_sub: Any = _Word("widening_sub")
widening_mul: Any = _Word("widening_mul")
sat_add: Any = _Word("sat_add")
sat_sub: Any = _Word("sat_sub")
rounding_shr: Any = _Word("rounding_shr")
mul_shr: Any = _Word("mul_shr")
rounding_mul_shr: Any = _Word("rounding_mul_shr")
halving_add: Any = _Word("halving_add")
rounding_halving_add: Any = _Word("rounding_halving_add")
halving_sub: Any = _Word("halving_sub")
abs_diff: Any = _Word("abs_diff")
group_sum: Any = _Word("group_sum")
interleave: Any = _Word("interleave")
deinterleave: Any = _Word("deinterleave")
transpose: Any = _Word("transpose")
concat: Any = _Word("concat")
slice: Any = _Word("slice")  # in scripts, part of a vector
tile: Any = _Word("tile")
repeat: Any = _Word("repeat")
lookup: Any = _Word("lookup")
reinterpret: Any = _Word("reinterpret")

WORDS = sorted(k for k, v in globals().items() if isinstance(v, _Word | _BufferWord))
