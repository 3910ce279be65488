"""The script: the IR as Python source, in and out, and the names that Python code needs for it.

from dovetail.tir.script import *

@prim_func
def copy_row(x: Buffer[u8, (128,)], y: Buffer[u8, (128,)]):
    for i in vectorized(128):
        y[i] = x[i]
"""

from ..spell import show_expr
from .errors import ParseError
from .names import *  # noqa: F403
from .names import WORDS
from .parse import parse, parse_body, parse_stmt, prim_func
from .parse_expr import parse_expr
from .show import show, show_stmt

__all__ = [
    "ParseError", "parse", "parse_body", "parse_expr", "parse_stmt", "prim_func", "show",
    "show_expr", "show_stmt", *WORDS,
]  # fmt: skip
