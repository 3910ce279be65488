"""Products of two activations as sums of words: four k of one operand by 32 columns of the other.

    heads    a, b of rank 4 keep heads innermost: made [image, row, head, k] and [image, k, head, w]
    bt       [image, head block, column block, k/4, way, 32, 4]      words of four k
    asum     zero of b times the sum of each row of a;   bsum  zero of a times each column of b
    acc      sum a*b - asum - bsum + depth*za*zb  =  sum (a - za)*(b - zb)
    y        requantized by whole vectors

Ways of a vector are neighbouring columns, or heads where these are innermost. A mask
clears the pads of ``a``, so that pads of ``b`` do not matter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...tir.expr import Expr, cast, const, minimum, transform
from ...tir.passes.simplify import simplify
from ...tir.stmt import Alloc, Buffer, PrimFunc, Stmt, Store, seq
from ...tir.types import Type, i32, u8
from .named import find_block
from .products import LANES, VECTOR, WORD, Product, product_of
from .steps import Axes, around, axes, nested, plus

Index = tuple[Expr, ...]


def by_words(func: PrimFunc) -> PrimFunc:
    """``func`` on words of four k."""
    product = product_of(func)
    assert product is not None
    return _Writer(func, product).function()


class _Writer:
    """Writes the function; one method a step."""

    def __init__(self, func: PrimFunc, product: Product) -> None:
        self.func, self.product = func, product
        self.params = {p.name: p for p in func.params}
        self.constants: dict[str, Any] = dict(func.constants)
        self.fresh: list[Buffer] = []
        self.locals: list[Buffer] = []
        self.steps: list[Stmt] = []

    def function(self) -> PrimFunc:
        self._left()
        self._right()
        self._sums()
        self._dot()
        self._result()
        body = seq(*self.steps)
        for buffer in self.locals:
            body = Alloc(buffer, body)
        kept = [p for p in self.func.params if p.name != "y"]
        params = (*kept, *self.fresh, self.params["y"])
        return replace(self.func, params=params, body=body, constants=self.constants)

    def _local(self, name: str, kind: Type, shape: tuple[int, ...], scope: str = "tcm") -> Buffer:
        buffer = Buffer(name, kind, shape, scope)
        self.locals.append(buffer)
        return buffer

    def _constant(self, name: str, values: list[int]) -> Buffer:
        array = np.array(values, np.uint8)
        buffer = Buffer(name, u8, array.shape)
        self.constants[name] = array
        self.fresh.append(buffer)
        return buffer

    # Operands -----------------------------------------------------------------------------

    def _left(self) -> None:
        """``self.a``: rows of k; ``self.word(n, m, row, j, v, k, t)`` is a byte."""
        a, product = self.params["a"], self.product
        if product.heads > 1:
            made = self._by_heads("a", a, product.depth)
            rows = product.rows
            self.row_bytes = made.shape[2] * LANES
            self.a = made

            def word(n: Expr, m: Expr, row: Expr, j: Expr, v: Expr, k: Expr, t: Expr) -> Expr:
                return made[n, row, v, m * WORD + j, k * WORD + t]

        else:
            rows, self.a = self._masked(a)

            def word(n: Expr, m: Expr, row: Expr, j: Expr, v: Expr, k: Expr, t: Expr) -> Expr:
                return self.a[self._image(n, 0), row, k * WORD + t]

        self.word, self.rows = word, rows

    def _image(self, n: Expr, which: int) -> Expr:
        return const(0, i32) if self.product.shared[which] else n

    def _masked(self, a: Buffer) -> tuple[int, Buffer]:
        """Rows of ``a``, its pads cleared: as many rows as sums are taken of."""
        product = self.product
        _, images, stored, depth = a.shape
        rows = -(-max(product.quads * product.pixels, 1) // LANES) * LANES
        if product.depth == depth and stored % LANES == 0:
            return self._copied(a, images, stored, stored, None)
        mask = None
        if product.depth != depth:
            size = max(depth, VECTOR)
            mask = self._constant("mask", [255 * (k % depth < product.depth) for k in range(size)])
        return self._copied(a, images, stored, rows, mask)

    def _copied(
        self, a: Buffer, images: int, stored: int, rows: int, mask: Buffer | None
    ) -> tuple[int, Buffer]:
        depth = a.shape[3]
        at = self._local("at", u8, (images, rows, depth))
        n, v, part, q = axes("n", "v", "part", "q")
        parts = max(depth // VECTOR, 1)
        count = min(stored, rows) * depth // (parts * VECTOR)
        byte = q if parts == 1 else part * VECTOR + q
        row, k = v, byte
        if depth < VECTOR:
            row, k = (v * VECTOR + q) // depth, (v * VECTOR + q) % depth
        value = a[0, n, row, k]
        if mask is not None:
            value = minimum(value, mask[byte])
        store = Store(at, (n, row, k), value)
        sizes = (("n", images), ("v", count), ("part", parts), ("q", VECTOR))
        self.steps.append(nested("left", sizes, store))
        return rows, at

    def _by_heads(self, name: str, x: Buffer, depth: int) -> Buffer:
        """x[n, row, column, head] as [n, row, column/32, head, 32]; for ``a`` without its pads."""
        images, rows, _, heads = x.shape
        source, columns = self._whole_rows(name, x)
        parts = columns // LANES
        high = -(-rows // LANES) * LANES  # rows of k in blocks, or the rows that sums are taken of
        made = self._local(f"{name}h", u8, (images, high, parts, heads, LANES))
        n, r, v, c, i = axes("n", "r", "v", "c", "i")
        byte = (v * LANES + i) * heads + c
        value = source[n, r, byte] if source is not x else source[n, r, v * LANES + i, c]
        if name == "a" and depth != columns:
            held = [255 * (k < depth) for k in range(columns)]
            table = np.repeat(np.array(held).reshape(parts, 1, LANES), heads, axis=1)
            mask = self._constant("mask", table.reshape(-1).tolist())
            value = minimum(value, mask[v * (heads * LANES) + c * LANES + i])
        store = Store(made, (n, r, v, c, i), value)
        sizes = (("n", images), ("r", rows), ("v", parts), ("c", heads), ("i", LANES))
        self.steps.append(nested(f"{name}_heads", sizes, store))
        return made

    def _whole_rows(self, name: str, x: Buffer) -> tuple[Buffer, int]:
        """x with a multiple of 32 columns: itself, or rows of bytes."""
        images, rows, stored, heads = x.shape
        columns = -(-stored // LANES) * LANES
        if columns == stored:
            return x, stored
        wide = self._local(f"{name}w", u8, (images, rows, columns * heads))
        n, r, v, q = axes("n", "r", "v", "q")
        byte = v * VECTOR + q
        store = Store(wide, (n, r, byte), x[n, r, byte // heads, byte % heads])
        count = stored * heads // VECTOR
        sizes = (("n", images), ("r", rows), ("v", count), ("q", VECTOR))
        self.steps.append(nested(f"{name}_wide", sizes, store))
        return wide, columns

    def _right(self) -> None:
        """``self.bt``: words of four k by columns."""
        b, product = self.params["b"], self.product
        images = 1 if product.shared[1] else product.images
        shape = images, product.groups, product.blocks, product.count, product.ways, LANES, WORD
        bt = self.bt = self._local("bt", u8, shape)
        n, m, q, k, j, i, t = axes("n", "m", "q", "k", "j", "i", "t")
        row = k * WORD + t
        if product.heads > 1:
            bh = self._by_heads("b", b, product.depth)
            value = bh[n, row, q, m * WORD + j, i]
            self._deal(Store(bt, (n, m, q, k, j, i, t), value), product.count)
            return
        column = q * (LANES * product.ways) + i * product.ways + j
        whole = min(b.shape[2] // WORD, product.count)
        if whole:
            store = Store(bt, (n, m, q, k, j, i, t), b[0, n, row, column])
            self._deal(store, whole)
        if whole < product.count:
            rest = self._local("rest", u8, (images, WORD, b.shape[3]))
            r, v, e = axes("r", "v", "e")
            size = min(b.shape[3], VECTOR)
            store = Store(rest, (n, r, v * size + e), b[0, n, plus(r, whole * WORD), v * size + e])
            rows = min(b.shape[2], product.count * WORD) - whole * WORD
            sizes = (("n", images), ("v", b.shape[3] // size), ("r", rows), ("e", size))
            self.steps.append(nested("rest", sizes, store))
            last = plus(k, whole)
            store = Store(bt, (n, m, q, last, j, i, t), rest[n, t, column])
            self._deal(store, 1, "last")

    def _deal(self, store: Store, words: int, name: str = "deal") -> None:
        images, groups, blocks, _, ways, _, _ = self.bt.shape
        sizes = (("n", images), ("m", groups), ("q", blocks), ("k", words), ("j", ways),
                 ("i", LANES), ("t", WORD))  # fmt: skip
        self.steps.append(nested(name, sizes, store))

    # Sums ---------------------------------------------------------------------------------

    def _sums(self) -> None:
        """Each row of a times the zero of b, each column of b times the zero of a."""
        za, zb = self.product.zeros
        self.asum = None if zb.is_const else self._row_sums(zb)
        self.bsum = None if za.is_const else self._column_sums(self.func.numbers[za.attr.name])

    def _row_sums(self, zero: Expr) -> Buffer:
        product = self.product
        if product.heads > 1:
            images, rows, parts, heads, _ = self.a.shape
            each = max(LANES // heads, 1)
            high = -(-rows // each) * each
            asum = self._local("asum", i32, (images, high, heads))
            n, r, e, c, v, k = axes("n", "r", "e", "c", "v", "k")
            row = r * each + e
            term = cast(i32, self.a[n, row, v, c, k]) * cast(i32, zero)
            where: Index = (n, row, c)
            outer: Axes = (("n", images), ("r", rows // each), ("e", each), ("c", heads))
            sizes: Axes = (*outer, ("v", parts), ("k", LANES))
            reduced = 2
        else:
            images, rows, depth = self.a.shape
            asum = self._local("asum", i32, (images, rows))
            n, r, e, k = axes("n", "r", "e", "k")
            row = r * LANES + e
            term = cast(i32, self.a[n, row, k]) * cast(i32, zero)
            where = n, row
            sizes = (("n", images), ("r", rows // LANES), ("e", LANES), ("k", depth))
            reduced = 1
        init = Store(asum, where, const(0, i32))
        store = Store(asum, where, asum[where] + term)
        self.steps.append(nested("asum", sizes, store, reduced=reduced, init=init))
        return asum

    def _column_sums(self, zero: int) -> Buffer:
        product = self.product
        images, groups, blocks, words, ways, _, _ = self.bt.shape
        weights = self._constant("zeros", [zero * (k < product.depth) for k in range(words * WORD)])
        bsum = self._local("bsum", i32, (images, groups, blocks, ways, LANES))
        n, m, q, j, i, k, t = axes("n", "m", "q", "j", "i", "k", "t")
        where = n, m, q, j, i
        term = cast(i32, self.bt[n, m, q, k, j, i, t]) * cast(i32, weights[k * WORD + t])
        sizes = (("n", images), ("m", groups), ("q", blocks), ("j", ways), ("i", LANES),
                 ("k", words), ("t", WORD))  # fmt: skip
        store = Store(bsum, where, bsum[where] + term)
        init = Store(bsum, where, const(0, i32))
        self.steps.append(nested("bsum", sizes, store, reduced=2, init=init))
        return bsum

    # Products and results -----------------------------------------------------------------

    def _dot(self) -> None:
        product = self.product
        spatial = (("n", product.images), ("m", product.groups), ("r", product.quads),
                   ("q", product.blocks), ("p", product.pixels), ("j", product.ways),
                   ("i", LANES))  # fmt: skip
        acc = self.acc = self._local("acc", i32, tuple(size for _, size in spatial), "reg")
        where = n, m, r, q, p, j, i = axes("n", "m", "r", "q", "p", "j", "i")
        v, k, t = axes("v", "k", "t")
        row = r * product.pixels + p
        image, number = self._image(n, 1), v * product.words[1] + k
        value = cast(i32, self.bt[image, m, q, number, j, i, t])
        total = acc[where] + value * cast(i32, self.word(n, m, row, j, v, k, t))
        za, zb = (cast(i32, zero) for zero in product.zeros)
        start = simplify(za * zb * product.depth)
        if self.asum is not None:
            heads = self.product.heads > 1
            found = self.asum[n, row, m * WORD + j] if heads else self.asum[self._image(n, 0), row]
            start = start - found
        if self.bsum is not None:
            start = start - self.bsum[image, m, q, j, i]
        reduced = (("v", product.words[0]), ("k", product.words[1]), ("t", WORD))
        init = Store(acc, where, start)
        self.steps.append(nested("dot", (*spatial, *reduced), Store(acc, where, total), reduced=3,
                                 init=init))  # fmt: skip

    def _result(self) -> None:
        product, y = self.product, self.params["y"]
        n, m, r, q, i, j, p = axes("n", "m", "r", "q", "i", "j", "p")
        value = self._requantized(self.acc[n, m, r, q, p, j, i])
        sizes = (("n", product.images), ("m", product.groups), ("r", product.quads),
                 ("q", product.blocks), ("i", LANES), ("j", product.ways),
                 ("p", product.pixels))  # fmt: skip
        if product.heads == 1:
            column = q * (LANES * product.ways) + i * product.ways + j
            target: Buffer = y
            where: Index = (const(0, i32), n, r * product.pixels + p, column)
        elif product.heads == WORD:
            target, where = y, (n, r, q * LANES + i, j)
        else:
            stored = product.heads // WORD
            shape = product.images, product.rows, product.blocks, stored, LANES, WORD
            target = self._local("z", u8, shape)
            where = n, r, q, m, i, j
        self.steps.append(nested("requant", sizes, Store(target, where, value)))
        if target is not y:
            self._from_heads(target, y)

    def _from_heads(self, z: Buffer, y: Buffer) -> None:
        """z[n, row, block, group, 32, 4] as y[n, row, column, head]."""
        images, rows, blocks, groups, _, _ = z.shape
        heads, width = y.shape[3], blocks * LANES
        n, r, q, i, m, j, v = axes("n", "r", "q", "i", "m", "j", "v")
        whole = width == y.shape[2]
        wide = y if whole else self._local("yw", u8, (images, rows, width * heads))
        column, head = q * LANES + i, m * WORD + j
        where: Index = (n, r, column, head) if whole else (n, r, column * heads + head)
        store = Store(wide, where, z[n, r, q, m, i, j])
        sizes: Axes = (
            ("n", images),
            ("r", rows),
            ("q", blocks),
            ("i", LANES),
            ("m", groups),
            ("j", WORD),
        )
        first = nested("join", sizes, store, shared="out", count=2)
        if whole:
            self.steps.append(around("out", (images, rows), first))
            return
        byte = v * VECTOR + i
        store = Store(y, (n, r, byte // heads, byte % heads), wide[n, r, byte])
        count = y.shape[2] * heads // VECTOR
        sizes = (("n", images), ("r", rows), ("v", count), ("i", VECTOR))
        second = nested("put", sizes, store, shared="out", count=2)
        self.steps.append(around("out", (images, rows), seq(first, second)))

    def _requantized(self, total: Expr) -> Expr:
        store = find_block(self.func.body, "requant").body
        assert isinstance(store, Store)

        def change(node: Expr) -> Expr | None:
            return total if node.op == "load" and node.attr.name == "acc" else None

        return transform(store.value, change)
