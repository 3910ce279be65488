"""What names the code of a point before it is packed: a digest of its scheduled kernel.

    nest(template.apply(point))          # "5f0c...", equal for points that make the same nest

It is of the text, statement by statement, so that it is the same in every process.
"""

from __future__ import annotations

import hashlib
from functools import partial

from ..target.program import THREADS
from ..tir.recent import Recent
from ..tir.script.show import show_stmt
from ..tir.stmt import PrimFunc, Stmt, top

_recent = Recent[str](1024)


def nest(func: PrimFunc) -> str:
    """The name of all that ``func`` computes, where, in which order and on how many threads."""
    buffers, parts = top(func.body)
    texts = [f"{b.name}: {b.type} {b.shape} {b.scope}" for b in (*func.params, *buffers)]
    texts += [_recent(part, partial(_digest, part)) for part in parts]
    texts += [f"{THREADS}: {func.attrs[THREADS]}"] if THREADS in func.attrs else []
    return _hash("\n".join(texts))[:16]


def _digest(part: Stmt) -> str:
    return _hash(show_stmt(part))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
