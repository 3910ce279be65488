"""Products of two activations: their extents, and whether a vector template takes them.

``images`` times rows x depth by depth x columns. Tensors of rank 4 keep their second axis innermost
in memory (``heads``); in others the columns are innermost.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ...tir.expr import Expr, as_type, const, is_number, walk
from ...tir.stmt import PrimFunc, Store
from ...tir.types import u8
from .named import find_block

VECTOR = 128  # bytes of a register
LANES = 32  # sums of a register
WORD = 4  # bytes that one instruction sums


@dataclass(frozen=True, slots=True)
class Product:
    """The extents of a product: ``images`` (and ``heads``) of rows x depth by depth x columns."""

    images: int
    rows: int
    depth: int
    columns: int  # stored ones; of an image with heads, those of a head
    heads: int  # stored ones, innermost; 1: columns are innermost
    real: int  # heads that mean something
    shared: tuple[bool, bool]  # whether a, b are the same for all images
    zeros: tuple[Expr, Expr]  # of a and b, as bytes

    @property
    def ways(self) -> int:
        return WORD if self.heads > 1 else min(self.columns, VECTOR) // LANES

    @property
    def pixels(self) -> int:
        """Rows that one register of output bytes holds."""
        return WORD // self.ways

    @property
    def blocks(self) -> int:
        """Blocks of columns."""
        return -(-self.columns // (LANES if self.heads > 1 else LANES * self.ways))

    @property
    def groups(self) -> int:
        """Blocks of heads."""
        return -(-self.real // WORD)

    @property
    def words(self) -> tuple[int, int]:
        """Blocks of words and words of a block: heads keep 32 k together."""
        if self.heads > 1:
            return -(-self.depth // LANES), LANES // WORD
        return 1, -(-self.depth // WORD)

    @property
    def count(self) -> int:
        """Words of four k."""
        return self.words[0] * self.words[1]

    @property
    def quads(self) -> int:
        """Groups of rows that fill registers."""
        return -(-self.rows // self.pixels)


def product_of(func: PrimFunc) -> Product | None:
    """The extents of a product of two activations; None where its operands' heads differ."""
    shapes = func.attrs["shapes"]
    stored = {p.name: p.shape for p in func.params}
    if not {"a", "b", "y"} <= stored.keys() <= {"a", "b", "y", *func.constants}:
        return None
    a, b, y = (shapes[name] for name in "aby")
    zeros = _zeros(func)
    if zeros is None or min(map(len, (a, b, y))) < 2:
        return None
    if len(y) == 4:
        if a[:2] != b[:2] or not 1 <= y[1] <= LANES or {len(a), len(b)} != {4}:
            return None
        _, _, width, heads = stored["y"]
        return Product(y[0], y[2], a[-1], width, heads, y[1], (False, False), zeros)
    if 4 in (len(a), len(b)):  # its second axis is innermost, that of y is not
        return None
    images = prod(y[:-2])
    counts = prod(a[:-2]), prod(b[:-2])
    same = tuple(count == 1 and images > 1 for count in counts)
    if any(count != images and not one for count, one in zip(counts, same, strict=True)):
        return None
    if stored["y"][3] < LANES:
        return None
    return Product(images, y[-2], a[-1], stored["y"][3], 1, 1, (same[0], same[1]), zeros)


def _zeros(func: PrimFunc) -> tuple[Expr, Expr] | None:
    """The zero points that the lowered kernel subtracts from its operands."""
    store = find_block(func.body, "dot").body
    assert isinstance(store, Store)
    found = {"a": const(0, u8), "b": const(0, u8)}
    for node in walk(store.value):
        if node.op in ("sub", "add") and is_number(node.args[1]) and node.args[0].op == "cast":
            read = node.args[0].args[0]
            if read.op != "load" or read.attr.name not in found:
                return None
            zero = next(part for part in walk(node.args[1]) if part.op == "hole")
            found[read.attr.name] = as_type(zero, u8)
    return found["a"], found["b"]
