"""Signed weights stored as unsigned, so that two dot products fit into a packet.

    acc = bias + sum x*w   becomes   acc = (bias + constant) - 128*wsum + sum x*(w + 128)

where ``wsum`` is the sum of the window's inputs. The sums of each pixel's channels (block ``csum``)
are taken once per input pixel and then over the window's taps (block ``wsum``). Equal modulo 2**32:
sum x*w = sum x*(w + 128) - 128*sum x (rule 70 of the catalogue).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...tir.expr import Expr, cast, const, retyped, transform, var
from ...tir.linear import linear
from ...tir.stmt import (
    Alloc,
    Block,
    Buffer,
    For,
    Iter,
    LoopKind,
    PrimFunc,
    Seq,
    Stmt,
    Store,
    children,
    map_exprs,
    rebuild_stmt,
    seq,
    transform_stmt,
    walk_stmt,
)
from ...tir.types import i32, u8
from .resize import resized

SLACK = 32  # columns behind each row of ``csum`` that whole-vector reads may touch


def offset_weights(func: PrimFunc, pitch: int) -> PrimFunc:
    """``func`` (a dense convolution over ``xp``) with unsigned weights and input sums; rows of
    ``xp`` have ``pitch`` columns."""
    summed = find_buffer(func.body, "xp")
    func = narrow(func, pitch)
    dot = find_block(func.body, "dot")
    xp = find_buffer(func.body, "xp")
    weights = next(p for p in func.params if p.name == "w")
    moved = replace(weights, type=u8)
    n, oh, ow = (it.axis for it in dot.iters[:3])
    images, height, _ = (it.extent for it in dot.iters[:3])
    stride, dilation, taps = (func.attrs[k] for k in ("stride", "dilation", "kernel"))
    csum, wsum = _buffers(images, summed, height)
    reduce_c = xp.shape[3]
    inputs = min(reduce_c, weights.shape[2])
    window = (stride, dilation, taps)
    extra = 128 * taps[0] * taps[1] * (reduce_c - inputs) * _filled(func)
    window_sum = wsum[n, oh, _times(ow, stride[1])]
    init = _offset_init(dot, window_sum)
    body = transform_stmt(func.body, lambda s: init if _is_dot(s) else None)
    sums, locals_ = _csum(csum, xp, summed.shape[1:3])
    totals, more = _wsum(wsum, csum, window)
    body = _before_dot(_retyped(body, weights, moved), sums + totals)
    for buffer in (wsum, csum, *locals_, *more):
        body = Alloc(buffer, body)
    params = tuple(moved if p is weights else p for p in func.params)
    data = func.constants["w"].astype(np.int16) + 128
    bias = func.constants["bias"].astype(np.int64) + extra  # modulo 2**32
    constants = {"w": data.astype(np.uint8), "bias": bias.astype(np.int32)}
    return replace(func, params=params, body=body, constants={**func.constants, **constants})


def find_block(stmt: Stmt, name: str) -> Block:
    return next(s for s in walk_stmt(stmt) if isinstance(s, Block) and s.name == name)


def find_buffer(stmt: Stmt, name: str) -> Buffer:
    return next(s.buffer for s in walk_stmt(stmt) if isinstance(s, Alloc) and s.buffer.name == name)


def fill_of(func: PrimFunc) -> Expr:
    """The zero point that fills the pads of the lowered kernel."""
    for stmt in walk_stmt(func.body):
        if isinstance(stmt, Block) and stmt.name == "fill" and isinstance(stmt.body, Store):
            return stmt.body.value
    return const(0, u8)


def _filled(func: PrimFunc) -> int:
    """The zero point that pads hold."""
    value = fill_of(func)
    return int(value.attr) if value.is_const else func.numbers[value.attr.name]


def _buffers(images: int, xp: Buffer, height: int) -> tuple[Buffer, Buffer]:
    _, rows, columns, _ = xp.shape
    csum = Buffer("csum", i32, (images, rows, columns + SLACK), "tcm")
    return csum, Buffer("wsum", i32, (images, height, columns), "tcm")


def _times(expr: Expr, factor: int) -> Expr:
    return expr if factor == 1 else expr * factor


def pitch_of(func: PrimFunc) -> int:
    """Columns of a row of ``xp``: those that windows read, in whole registers."""
    xp, dot = find_buffer(func.body, "xp"), find_block(func.body, "dot")
    stride, dilation, taps = (int(func.attrs[k][1]) for k in ("stride", "dilation", "kernel"))
    used = (dot.iters[2].extent - 1) * stride + (taps - 1) * dilation + 1
    step = max(128 // xp.shape[3], 1)
    return min(-(-used // step) * step, xp.shape[2])


def rows_behind(columns: int, pitch: int) -> int:
    """Rows behind an image of ``pitch`` columns that reading ``columns`` of its last row takes."""
    return -(-(columns - pitch) // pitch)


def narrow(func: PrimFunc, pitch: int) -> PrimFunc:
    """``func`` with an ``xp`` of ``pitch`` columns, and slack behind its rows: sums of whole
    vectors of pixels run over the ends of rows."""
    xp = find_buffer(func.body, "xp")
    images, rows, columns, depth = xp.shape
    if pitch == columns:
        return func
    behind = rows_behind(columns, pitch) if depth <= 128 else 0  # else sums have them
    shape = (images, rows + behind, pitch, depth)

    def extent(block: Block, it: Iter) -> int:
        if it.axis.attr != "viw" or block.name not in ("fill", "copy"):
            return it.extent
        assert isinstance(block.body, Store)
        return min(it.extent, pitch - linear(block.body.index[2]).constant)

    return func.with_body(resized(func.body, {xp: replace(xp, shape=shape)}, extent))


def _offset_init(dot: Block, summed: Expr) -> Block:
    store = dot.init
    assert isinstance(store, Store)
    return replace(dot, init=replace(store, value=store.value - summed * 128))


def _retyped(body: Stmt, old: Buffer, new: Buffer) -> Stmt:
    def node(expr: Expr) -> Expr | None:
        if expr.op == "load" and expr.attr == old:
            return Expr("load", u8, expr.args, new)
        return retyped(expr)

    return map_exprs(body, lambda expr: transform(expr, node))


def _csum(csum: Buffer, xp: Buffer, size: tuple[int, ...]) -> tuple[list[Stmt], list[Buffer]]:
    """The sums of each pixel's channels; of many channels in 32 lanes first (``psum``)."""
    images, _, pitch, depth = xp.shape
    rows, columns = size
    pixels = (("n", images), ("h", rows), ("w", columns))

    def pixel(source: Buffer, n: Expr, h: Expr, w: Expr, c: Expr) -> Expr:
        """Columns behind a row are the next row's."""
        narrow = pitch != columns
        return source[n, h + w // pitch, w % pitch, c] if narrow else source[n, h, w, c]

    if depth <= 128:
        axes = _axes(*pixels, ("c", depth))
        n, h, w, c = (it.axis for it in axes)
        return [_nest("csum", axes, 3, csum, (n, h, w), cast(i32, pixel(xp, n, h, w, c)))], []
    psum = Buffer("psum", i32, (images, rows + rows_behind(columns, pitch), pitch, 32), "tcm")
    real = (("n", images), ("h", rows), ("w", pitch))
    axes = _axes(*real, ("l", 32), ("c", depth // 128), ("k", 4))
    n, h, w, lane, c, k = (it.axis for it in axes)
    term = cast(i32, xp[n, h, w, c * 128 + lane * 4 + k])
    first = _nest("psum", axes, 4, psum, (n, h, w, lane), term)
    axes = _axes(*pixels, ("l", 32))
    n, h, w, lane = (it.axis for it in axes)
    total = pixel(psum, n, h, w, lane)
    return [first, _nest("csum", axes, 3, csum, (n, h, w), total)], [psum]


def _wsum(
    wsum: Buffer, csum: Buffer, window: tuple[tuple[int, int], ...]
) -> tuple[list[Stmt], list[Buffer]]:
    """The sums over each window: down its columns first (``vsum``), then along."""
    (down, _across), (tall, wide), (kernel_h, kernel_w) = window
    images, height, columns = wsum.shape
    vsum = Buffer("vsum", i32, (images, height, csum.shape[2]), "tcm")
    pixels = (("n", images), ("h", height), ("w", columns))
    axes = _axes(*pixels, ("kh", kernel_h))
    n, h, w, kh = (it.axis for it in axes)
    value = csum[n, _times(h, down) + _times(kh, tall), w]
    first = _nest("vsum", axes, 3, vsum, (n, h, w), value)
    axes = _axes(*pixels, ("kw", kernel_w))
    n, h, w, kw = (it.axis for it in axes)
    value = vsum[n, h, w + _times(kw, wide)]
    return [first, _nest("wsum", axes, 3, wsum, (n, h, w), value)], [vsum]


def _axes(*sizes: tuple[str, int]) -> list[Iter]:
    return [Iter(var(f"s{name}"), extent, False, var(f"{name}_s")) for name, extent in sizes]


def _nest(
    name: str, axes: list[Iter], spatial: int, out: Buffer, where: tuple[Expr, ...], term: Expr
) -> Stmt:
    """A block that sums ``term`` over the axes from ``spatial`` on, in loops of its own."""
    loops = [var(f"{name}_{it.axis.attr}") for it in axes]
    iters = tuple(
        replace(it, binding=loop, reduce=i >= spatial)
        for i, (it, loop) in enumerate(zip(axes, loops, strict=True))
    )
    total = out[where] + term
    stmt: Stmt = Block(name, iters, Store(out, where, total), Store(out, where, const(0, i32)))
    for it, loop in reversed(list(zip(iters, loops, strict=True))):
        stmt = For(loop, it.extent, LoopKind.SERIAL, stmt)
    return stmt


def _before_dot(body: Stmt, sums: list[Stmt]) -> Stmt:
    """``sums`` in front of the nest that holds the block ``dot``."""
    if isinstance(body, Seq):
        parts: list[Stmt] = []
        for part in body.stmts:
            parts.extend(sums if _holds_dot(part) else [])
            parts.append(part)
        return seq(*parts)
    if isinstance(body, Alloc):
        return rebuild_stmt(body, tuple(_before_dot(child, sums) for child in children(body)))
    return seq(*sums, body)


def _holds_dot(stmt: Stmt) -> bool:
    return any(map(_is_dot, walk_stmt(stmt)))


def _is_dot(stmt: Stmt) -> bool:
    return isinstance(stmt, Block) and stmt.name == "dot"
