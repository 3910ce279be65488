"""The words of the script as Python names, so that linters and type checkers know them.

from dovetail.tir.script import *

These mean something only inside a function under ``prim_func``, which is read, never run.
"""

from __future__ import annotations

from typing import Any

from .. import stmt
from ..ops import *  # noqa: F403  (rows are words)
from ..row import Op
from ..types import Type
from ..types import f32 as f32
from ..types import i8 as i8
from ..types import i16 as i16
from ..types import i32 as i32
from ..types import i64 as i64
from ..types import u8 as u8
from ..types import u16 as u16
from ..types import u32 as u32
from ..types import u64 as u64


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

WORDS = sorted(
    name for name, value in globals().items()
    if isinstance(value, _Word | _BufferWord | Type)
    or (isinstance(value, Op) and name == value.name and not value.symbol)
)  # fmt: skip
