"""Grouped convolutions on vectors of 32 outputs of one group; weights are unsigned.

    xp     the padded input, rows of bytes
    csum   128 times the sum of each pixel's inputs of a group;  wsum  that of a window
    acc    [n, oh, quad, group, vector, pixel, way, 32]      bias - wsum + sum x*(w + 128)
    z      [n, oh, quad, vector, 32, way, pixel]             where a register holds several pixels
    y      [n, oh, ow, channel]

Channel ``lane * ways + way`` of a vector's block is lane ``lane`` of way ``way``; a register of
output bytes holds the ways of ``pixels`` neighbouring pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...tir.expr import Expr, cast, const, transform
from ...tir.stmt import Alloc, Buffer, PrimFunc, Stmt, Store, seq
from ...tir.types import i32, u8
from .named import fill_of, find_block
from .padded import VECTOR, Padding, padded
from .steps import Axes, around, axes, nested, plus

LANES = 32  # sums of a register
WORD = 4  # bytes that one instruction sums


@dataclass(frozen=True, slots=True)
class Groups:
    """The extents of a grouped convolution. Pairs are (rows, columns)."""

    images: int
    output: tuple[int, int]  # rows and stored columns of y
    wanted: int  # columns of y that mean something
    count: int  # groups
    inputs: int  # of a group
    outputs: int
    depth: int  # stored channels of x
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def ways(self) -> int:
        return next(w for w in (4, 2, 1) if self.outputs % (LANES * w) == 0)

    @property
    def block(self) -> int:
        return LANES * self.ways

    @property
    def vectors(self) -> int:
        """Blocks of outputs of a group."""
        return self.outputs // self.block

    @property
    def pixels(self) -> int:
        """Pixels that one register of output bytes holds."""
        return VECTOR // self.block

    @property
    def quads(self) -> int:
        return -(-self.wanted // self.pixels)

    @property
    def together(self) -> int:
        """Blocks that lie in one register of y."""
        return min(self.pixels, self.count * self.vectors)

    @property
    def pieces(self) -> int:
        """Groups of inputs in a stored pixel."""
        return self.depth // self.inputs

    @property
    def padding(self) -> tuple[int, int]:
        """Rows and columns of the padded input."""
        last = (self.output[0] - 1, self.quads * self.pixels - 1)
        span = zip(last, self.stride, self.kernel, self.dilation, strict=True)
        rows, columns = (at * by + (taps - 1) * apart + 1 for at, by, taps, apart in span)
        return rows, columns

    @property
    def sums(self) -> int:
        """Sums of inputs in a row, in whole registers."""
        return -(-self.padding[1] * self.pieces // LANES) * LANES


def groups_of(func: PrimFunc) -> Groups | None:
    """The extents of a grouped convolution that ``by_groups`` takes."""
    facts = func.attrs
    if facts.get("kind") != "conv2d" or facts.get("blocks", 1) < 2:
        return None
    extents = [it.extent for it in find_block(func.body, "dot").iters]
    x, y = (next(p for p in func.params if p.name == name) for name in "xy")
    images, _, _, count, outputs, _, _, inputs = extents
    depth = x.shape[3]
    fits = inputs & (inputs - 1) == 0 and inputs >= WORD and count * inputs <= depth
    if not fits or outputs % LANES or depth % inputs or y.shape[3] != count * outputs:
        return None
    return Groups(images, (y.shape[1], y.shape[2]), facts["shapes"]["y"][3], count, inputs, outputs,
                  depth, facts["kernel"], facts["stride"], facts["dilation"])  # fmt: skip


def by_groups(func: PrimFunc) -> PrimFunc:
    """``func`` on vectors of outputs of one group."""
    groups = groups_of(func)
    assert groups is not None
    return _Writer(func, groups).function()


class _Writer:
    """Writes the function; one method a step."""

    def __init__(self, func: PrimFunc, groups: Groups) -> None:
        self.func, self.groups = func, groups
        self.params = {p.name: p for p in func.params}
        self.constants = dict(func.constants)
        self.locals: list[Buffer] = []
        self.steps: list[Stmt] = []

    def function(self) -> PrimFunc:
        self._pack()
        self._input()
        self._sums()
        self._dot()
        self._result()
        body = seq(*self.steps)
        for buffer in self.locals:
            body = Alloc(buffer, body)
        ordered = tuple(self.params[p.name] for p in self.func.params)
        return replace(self.func, params=ordered, body=body, constants=self.constants)

    def _local(self, buffer: Buffer) -> Buffer:
        self.locals.append(buffer)
        return buffer

    def _pack(self) -> None:
        """w as [group, vector, kh, kw, c/4, way, 32, 4], plus 128; bias, mult as [.., way, 32]."""
        sizes = self.groups
        parts = sizes.count, sizes.vectors, LANES, sizes.ways
        w = self.constants["w"].astype(np.int16) + 128
        kernel, inputs = w.shape[:2], w.shape[2]
        dealt = w.reshape(*kernel, inputs // WORD, WORD, *parts).transpose(4, 5, 0, 1, 2, 7, 6, 3)
        self._set("w", np.ascontiguousarray(dealt, np.uint8))
        for name in ("bias", "mult"):
            values = self.constants[name].reshape(parts).transpose(0, 1, 3, 2)
            self._set(name, np.ascontiguousarray(values))
        self.params["w"] = replace(self.params["w"], type=u8)

    def _set(self, name: str, data: np.ndarray) -> None:
        self.constants[name] = data
        self.params[name] = replace(self.params[name], shape=data.shape)

    def _input(self) -> None:
        sizes, facts = self.groups, self.func.attrs
        (top, _), (left, _) = facts["padding"]
        rows, columns = sizes.padding
        real = facts["shapes"]["x"][3]
        padding = Padding(rows, columns, (top, left), real, fill_of(self.func))
        xp, steps = padded(self.params["x"], padding, sizes.sums * sizes.inputs)
        self.xp = self._local(xp)
        self.steps += steps

    def _sums(self) -> None:
        sizes = self.groups
        rows, _ = sizes.padding
        kernel, stride, dilation = sizes.kernel, sizes.stride, sizes.dilation
        slack = -(-(kernel[1] - 1) * dilation[1] * sizes.pieces // LANES) * LANES
        csum = Buffer("csum", i32, (sizes.images, rows, sizes.sums + slack), "tcm")
        wsum = Buffer("wsum", i32, (sizes.images, sizes.output[0], sizes.sums), "tcm")
        n, h, v, e, c, kh, kw = axes("n", "h", "v", "e", "c", "kh", "kw")
        at = v * LANES + e
        term = cast(i32, self.xp[n, h, at * sizes.inputs + c]) * const(128, i32)
        outer: Axes = (("n", sizes.images), ("h", rows), ("v", sizes.sums // LANES), ("e", LANES))
        self._sum("csum", self._local(csum), (n, h, at), term, (*outer, ("c", sizes.inputs)), 1)
        term = csum[n, h * stride[0] + kh * dilation[0], at + kw * (dilation[1] * sizes.pieces)]
        outer = (("n", sizes.images), ("h", sizes.output[0]), *outer[2:])
        taps = (("kh", kernel[0]), ("kw", kernel[1]))
        self.wsum = self._local(wsum)
        self._sum("wsum", wsum, (n, h, at), term, (*outer, *taps), 2)

    def _sum(self, name: str, out: Buffer, where: tuple[Expr, ...], term: Expr, sizes: Axes,
             reduced: int) -> None:  # fmt: skip
        store = Store(out, where, out[where] + term)
        init = Store(out, where, const(0, i32))
        self.steps.append(nested(name, sizes, store, reduced=reduced, init=init))

    def _dot(self) -> None:
        sizes = self.groups
        spatial = (("n", sizes.images), ("oh", sizes.output[0]), ("q", sizes.quads),
                   ("g", sizes.count), ("o", sizes.vectors), ("p", sizes.pixels),
                   ("j", sizes.ways), ("i", LANES))  # fmt: skip
        self.acc = self._local(Buffer("acc", i32, tuple(s for _, s in spatial), "reg"))
        where = n, oh, q, g, o, p, j, i = axes("n", "oh", "q", "g", "o", "p", "j", "i")
        kh, kw, c, t = axes("kh", "kw", "c", "t")
        column = (q * sizes.pixels + p) * sizes.stride[1]
        byte = (column + kw * sizes.dilation[1]) * sizes.depth + g * sizes.inputs + c * WORD + t
        value = self.xp[n, oh * sizes.stride[0] + kh * sizes.dilation[0], byte]
        weight = self.params["w"][g, o, kh, kw, c, j, i, t]
        total = self.acc[where] + cast(i32, weight) * cast(i32, value)
        start = self.params["bias"][g, o, j, i] - self.wsum[n, oh, column * sizes.pieces + g]
        reduced = (("kh", sizes.kernel[0]), ("kw", sizes.kernel[1]), ("c", sizes.inputs // WORD),
                   ("t", WORD))  # fmt: skip
        self.steps.append(nested("dot", (*spatial, *reduced), Store(self.acc, where, total),
                                 reduced=4, init=Store(self.acc, where, start)))  # fmt: skip

    def _result(self) -> None:
        sizes, y = self.groups, self.params["y"]
        n, oh, q, g, o, i, j, p = axes("n", "oh", "q", "g", "o", "i", "j", "p")
        value = self._requantized(self.acc[n, oh, q, g, o, p, j, i])
        extents = (("n", sizes.images), ("oh", sizes.output[0]), ("q", sizes.quads),
                   ("g", sizes.count), ("o", sizes.vectors), ("i", LANES), ("j", sizes.ways),
                   ("p", sizes.pixels))  # fmt: skip
        number = g * sizes.vectors + o
        if sizes.pixels == 1:
            store = Store(y, (n, oh, q, number * sizes.block + i * sizes.ways + j), value)
            self.steps.append(nested("requant", extents, store))
            return
        shape = (sizes.images, sizes.output[0], sizes.quads, sizes.count * sizes.vectors, LANES,
                 sizes.ways, sizes.pixels)  # fmt: skip
        z = self._local(Buffer("z", u8, shape, "tcm"))
        self.steps.append(nested("requant", extents, Store(z, (n, oh, q, number, i, j, p), value)))
        self._undeal(z, y)

    def _undeal(self, z: Buffer, y: Buffer) -> None:
        """z to y; of a last quad that y has not all columns of, by way of registers."""
        sizes = self.groups
        n, oh, b, q, p, v, i, j, c = axes("n", "oh", "b", "q", "p", "v", "i", "j", "c")
        pixels, together = sizes.pixels, sizes.together
        whole, rest = divmod(min(sizes.quads * pixels, sizes.output[1]), pixels)
        size = together * sizes.block
        channel = v * sizes.block + i * sizes.ways + j
        source = b * together + v
        inner = (("p", pixels), ("v", together), ("i", LANES), ("j", sizes.ways))
        steps = []
        if whole:
            store = Store(
                y, (n, oh, q * pixels + p, b * size + channel), z[n, oh, q, source, i, j, p]
            )
            steps.append(self._step("undeal", store, ("q", whole), *inner))
        if rest:
            shape = sizes.images, sizes.output[0], z.shape[3] // together, pixels, size
            tail = self._local(Buffer("tail", u8, shape, "reg"))
            store = Store(tail, (n, oh, b, p, channel), z[n, oh, whole, source, i, j, p])
            steps.append(self._step("last", store, *inner))
            store = Store(y, (n, oh, plus(p, whole * pixels), b * size + c), tail[n, oh, b, p, c])
            steps.append(self._step("rest", store, ("p", rest), ("c", size)))
        outer = sizes.images, sizes.output[0], z.shape[3] // together
        self.steps.append(around("out", outer, seq(*steps)))

    def _step(self, name: str, store: Store, *sizes: tuple[str, int]) -> Stmt:
        """A block below the loops over images, rows and blocks that the last steps share."""
        groups = self.groups
        many = groups.count * groups.vectors // groups.together
        outer = (("n", groups.images), ("oh", groups.output[0]), ("b", many))
        return nested(name, (*outer, *sizes), store, shared="out", count=3)

    def _requantized(self, total: Expr) -> Expr:
        """The lowered result, of this accumulator and this order of channels."""
        g, o, j, i = axes("g", "o", "j", "i")
        store = find_block(self.func.body, "requant").body
        assert isinstance(store, Store)

        def change(node: Expr) -> Expr | None:
            if node.op == "load" and node.attr.name in ("acc", "mult"):
                return total if node.attr.name == "acc" else self.params["mult"][g, o, j, i]
            return None

        return transform(store.value, change)
