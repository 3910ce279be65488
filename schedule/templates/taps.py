"""Depthwise convolutions on groups of four neighbouring pixels, so that one vrmpy sums four taps.

    xp   the padded input, a row at a time             (only where there are pads)
    xt   [n, row, block, group, way, 32, 4]            pixels group*step .. +3 of each channel
    acc  [n, oh, block, quad, pixel, way, 32]          sums over kernel rows and groups of taps
    z    [n, oh, block, quad, way, 32, 4]              four output pixels of each channel
    y    [n, oh, ow, channel]

A block is 128 channels (or all, where fewer are stored); its channel ``lane * ways + way`` is
lane ``lane`` of way ``way``, so that four bytes of a register are four ways. Weights are
stored by phase: the pixel of its first group at which a window begins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...tir.expr import Expr, cast, transform
from ...tir.stmt import (
    Alloc,
    Buffer,
    PrimFunc,
    Stmt,
    Store,
    seq,
)
from ...tir.types import i32, u8
from .offset import fill_of, find_block
from .padded import VECTOR, Padding, padded
from .steps import around, axes, nested

QUAD = 4  # pixels that are stored together, and taps of one instruction


@dataclass(frozen=True, slots=True)
class Window:
    """The extents of a depthwise convolution. Pairs are (rows, columns)."""

    images: int
    size: tuple[int, int]  # stored rows and columns of x
    real: int  # columns of x that mean something
    output: tuple[int, int]  # rows and stored columns of y
    wanted: int  # columns of y that mean something
    depth: int  # stored channels
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int]  # above and left
    zero: Expr  # what pads hold

    @property
    def block(self) -> int:
        return min(self.depth, VECTOR)

    @property
    def ways(self) -> int:
        """Vectors of 32 sums that one register of channels makes."""
        return self.block // 32

    @property
    def blocks(self) -> int:
        return self.depth // self.block

    @property
    def quads(self) -> int:
        """Groups of four pixels in an output row."""
        return -(-self.wanted // QUAD)

    @property
    def rows(self) -> int:
        """Input rows that windows read, pads included."""
        return (self.output[0] - 1) * self.stride[0] + (self.kernel[0] - 1) * self.dilation[0] + 1

    def phases(self, step: int) -> list[int]:
        """Where in a group of pixels, one each ``step``, the windows of a quad begin."""
        return sorted({p * self.stride[1] % step for p in range(QUAD)})

    def reach(self, step: int) -> int:
        """Groups that a window spans."""
        last = max(self.phases(step)) + (self.kernel[1] - 1) * self.dilation[1]
        return last // QUAD + 1

    def groups(self, step: int) -> int:
        """Groups in a row."""
        last = (self.quads * QUAD - 1) * self.stride[1] // step
        return last + (self.reach(step) - 1) * QUAD // step + 1

    def columns(self, step: int) -> int:
        """Input columns that the groups cover."""
        return (self.groups(step) - 1) * step + QUAD

    def direct(self, step: int) -> bool:
        """Whether the groups can be taken from the input where it lies."""
        return self.pads == (0, 0) and self.rows <= self.size[0] and self._within(step)

    def _within(self, step: int) -> bool:
        return self.columns(step) <= self.size[1]


def window_of(func: PrimFunc) -> Window:
    """The extents of a kernel of kind ``depthwise``."""
    facts = func.attrs
    x, y = (next(p for p in func.params if p.name == name) for name in "xy")
    images, rows, columns, depth = x.shape
    (top, _), (left, _) = facts["padding"]
    shapes = facts["shapes"]
    return Window(
        images, (rows, columns), shapes["x"][3], (y.shape[1], y.shape[2]), shapes["y"][3],
        depth, facts["kernel"], facts["stride"], facts["dilation"], (top, left), fill_of(func),
    )  # fmt: skip


def by_taps(func: PrimFunc, step: int, fused: bool) -> PrimFunc:
    """``func`` on groups of taps, one each ``step`` pixels; ``fused`` stores y without z."""
    return _Writer(func, window_of(func), step, fused).function()


def pack_weights(w: NDArray[np.int8], window: Window, step: int) -> NDArray[np.int8]:
    """w[kh, kw, c] as [block, way, phase, kh, group, 32, 4]."""
    wide = window.reach(step) * QUAD
    out = np.zeros((step, window.kernel[0], wide, window.depth), np.int8)
    for phase in window.phases(step):
        for tap in range(window.kernel[1]):
            out[phase, :, phase + tap * window.dilation[1]] = w[:, tap]
    shape = step, window.kernel[0], wide // QUAD, QUAD, window.blocks, 32, window.ways
    return np.ascontiguousarray(out.reshape(shape).transpose(4, 6, 0, 1, 2, 5, 3))


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the function; one method a step."""

    func: PrimFunc
    window: Window
    step: int
    fused: bool

    def function(self) -> PrimFunc:
        win, step = self.window, self.step
        params = {p.name: p for p in self.func.params}
        constants = dict(self.func.constants)
        constants["w"] = pack_weights(constants["w"], win, step)
        for name in ("bias", "mult"):
            dealt = constants[name].reshape(win.blocks, 32, win.ways).transpose(0, 2, 1)
            constants[name] = np.ascontiguousarray(dealt)
        for name in ("w", "bias", "mult"):
            params[name] = replace(params[name], shape=constants[name].shape)
        source, padded = self._padded(params["x"])
        group = win.blocks, win.groups(step), win.ways, 32, QUAD
        xt = Buffer("xt", u8, (win.images, win.rows, *group), "tcm")
        out = win.images, win.output[0], win.blocks, win.quads
        acc = Buffer("acc", i32, (*out, QUAD, win.ways, 32), "reg")
        z = Buffer("z", u8, (*out, win.ways, 32, QUAD), "tcm")
        tail = Buffer("tail", u8, (*out[:3], QUAD, win.block), "reg")
        value = self._requantized(acc, params["mult"])
        steps = [*padded, self._deal(source, xt), self._dot(xt, acc, params["w"], params["bias"])]
        if self.fused:
            steps.append(self._requant_to(params["y"], value))
        else:
            steps += [self._requant(z, value), self._undeal(z, tail, params["y"])]
        body = seq(*steps)
        local = [acc, xt, *([source] if padded else []), *([] if self.fused else [z])]
        local += [tail] if self.whole[1] and not self.fused else []
        for buffer in local:
            body = Alloc(buffer, body)
        ordered = tuple(params[p.name] for p in self.func.params)
        return replace(self.func, params=ordered, body=body, constants=constants)

    def _padded(self, x: Buffer) -> tuple[Buffer, list[Stmt]]:
        """The buffer of the groups (rows of bytes if it is a copy), and the steps that make it."""
        win = self.window
        if win.direct(self.step):
            return x, []
        return padded(x, Padding(win.rows, win.columns(self.step), win.pads, win.real, win.zero))

    # Groups, sums, results ----------------------------------------------------------------

    def _deal(self, source: Buffer, xt: Buffer) -> Stmt:
        win = self.window
        names = ("n", "h", "b", "g", "j", "i", "t")
        n, h, b, g, j, i, t = axes(*names)
        column = g * self.step + t
        channel = b * win.block + i * win.ways + j
        if source.name == "xp":
            value = source[n, h, column * win.depth + channel]
        else:
            value = source[n, h, column, channel]
        iters = tuple(zip(names, xt.shape, strict=True))
        return nested("deal", iters, Store(xt, (n, h, b, g, j, i, t), value))

    def _dot(self, xt: Buffer, acc: Buffer, w: Buffer, bias: Buffer) -> Stmt:
        win, step = self.window, self.step
        (down, across), tall = win.stride, win.dilation[0]
        names = ("n", "oh", "b", "q", "p", "j", "i")
        n, oh, b, q, p, j, i = axes(*names)
        kh, k, t = axes("kh", "k", "t")
        group = q * (QUAD * across // step) + p * across // step + k * (QUAD // step)
        value = xt[n, oh * down + kh * tall, b, group, j, i, t]
        weight = w[b, j, p * across % step, kh, k, i, t]
        where = n, oh, b, q, p, j, i
        total = acc[where] + cast(i32, value) * cast(i32, weight)
        reduced = (("kh", win.kernel[0]), ("k", win.reach(step)), ("t", QUAD))
        iters = (*zip(names, acc.shape, strict=True), *reduced)
        init = Store(acc, where, bias[b, j, i])
        return nested("dot", iters, Store(acc, where, total), reduced=3, init=init)

    def _requantized(self, acc: Buffer, mult: Buffer) -> Expr:
        """The lowered result, of this accumulator and this order of channels."""
        n, oh, b, q, p, j, i = axes("n", "oh", "b", "q", "p", "j", "i")
        store = find_block(self.func.body, "requant").body
        assert isinstance(store, Store)

        def change(node: Expr) -> Expr | None:
            if node.op == "load" and node.attr.name in ("acc", "mult"):
                return acc[n, oh, b, q, p, j, i] if node.attr.name == "acc" else mult[b, j, i]
            return None

        return transform(store.value, change)

    def _requant(self, z: Buffer, value: Expr) -> Stmt:
        names = ("n", "oh", "b", "q", "j", "i", "p")
        iters = tuple(zip(names, z.shape, strict=True))
        return nested("requant", iters, Store(z, axes(*names), value))

    def _requant_to(self, y: Buffer, value: Expr) -> Stmt:
        win = self.window
        n, oh, b, q, j, i, p = axes("n", "oh", "b", "q", "j", "i", "p")
        sizes = (win.images, win.output[0], win.blocks, win.quads, win.ways, 32, QUAD)
        iters = tuple(zip(("n", "oh", "b", "q", "j", "i", "p"), sizes, strict=True))
        where = n, oh, q * QUAD + p, b * win.block + i * win.ways + j
        return nested("requant", iters, Store(y, where, value))

    def _undeal(self, z: Buffer, tail: Buffer, y: Buffer) -> Stmt:
        """z to y; of a last quad that y has not all columns of, by way of registers."""
        win = self.window
        n, oh, b, q, p, i, j, c = axes("n", "oh", "b", "q", "p", "i", "j", "c")
        whole, rest = self.whole
        channel = i * win.ways + j
        outer = win.images, win.output[0], win.blocks
        steps = []
        if whole:
            store = Store(
                y, (n, oh, q * QUAD + p, b * win.block + channel), z[n, oh, b, q, j, i, p]
            )
            steps.append(self._step("undeal", store, q=whole, p=QUAD, i=32, j=win.ways))
        if rest:
            store = Store(tail, (n, oh, b, p, channel), z[n, oh, b, whole, j, i, p])
            steps.append(self._step("last", store, p=QUAD, i=32, j=win.ways))
            at = n, oh, p + whole * QUAD if whole else p, b * win.block + c
            store = Store(y, at, tail[n, oh, b, p, c])
            steps.append(self._step("rest", store, p=rest, c=win.block))
        return around("out", outer, seq(*steps))

    @property
    def whole(self) -> tuple[int, int]:
        """Quads of which y has all columns, and the columns of one more."""
        return divmod(min(self.window.quads * QUAD, self.window.output[1]), QUAD)

    def _step(self, name: str, store: Store, **sizes: int) -> Stmt:
        """A block below the loops over images, rows and blocks that the last steps share."""
        win = self.window
        outer = (("n", win.images), ("oh", win.output[0]), ("b", win.blocks))
        return nested(name, (*outer, *sizes.items()), store, shared="out", count=3)
