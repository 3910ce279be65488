"""Kernels in plain arithmetic, as an image or DSP engineer writes them: no fixed-point words, no
instructions, no schedule. What they cost shows how much of an expert's code is found by itself.

    KERNELS["gaussian3x3"].func           # a PrimFunc, its operands in TCM
    KERNELS["gaussian3x3"].outputs        # 65,536

The families: windows over images, functions of single pixels, requantization, products, pooling of
images with channels last, rows of a softmax.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc

ROWS, COLUMNS = 128, 512  # of an image's result
PITCH = 640  # bytes of a row of the image that is read


@dataclass(frozen=True)
class Kernel:
    """A kernel and how many elements it gives."""

    text: str
    outputs: int

    @property
    def func(self) -> PrimFunc:
        return parse(self.text)


def nest(params: str, result: str, kind: str, shape: Sequence[int], value: str) -> Kernel:
    """One block that stores ``value``, in terms of v0, v1, ..., at each place of ``result``."""
    lines = [f'def kernel({params}, {result}: Buffer[{kind}, {tuple(shape)}, "tcm"]):']
    for depth, extent in enumerate(shape):
        lines.append(f"{'    ' * (depth + 1)}for i{depth} in range({extent}):")
    inner = "    " * (len(shape) + 1)
    lines.append(f'{inner}with block("result"):')
    for depth, extent in enumerate(shape):
        lines.append(f"{inner}    v{depth} = spatial({extent}, i{depth})")
    place = ", ".join(f"v{depth}" for depth in range(len(shape)))
    lines.append(f"{inner}    {result}[{place}] = {value}")
    return Kernel("\n".join(lines) + "\n", prod(shape))


# Windows over an image ---------------------------------------------------------------------------


def pixel(row: int, column: int, kind: str = "") -> str:
    """The pixel of a window, as ``kind`` where that is given."""
    read = f"x[v0 + {row}, v1 + {column}]"
    return f"cast({kind}, {read})" if kind else read


def image(value: str, rows: int = 2, kind: str = "u8") -> Kernel:
    """A function of a window that reaches over ``rows`` more rows."""
    params = f'x: Buffer[u8, ({ROWS + rows}, {PITCH}), "tcm"]'
    return nest(params, "y", kind, (ROWS, COLUMNS), value)


def weighted(taps: Sequence[int], terms: Sequence[str]) -> str:
    """The sum of terms times taps; a tap of 0 is left out, one of 1 is not written."""
    pairs = [(tap, term) for tap, term in zip(taps, terms, strict=True) if tap]
    return " + ".join(term if tap == 1 else f"{term} * {tap}" for tap, term in pairs)


def separable(taps: Sequence[int], kind: str, rows_first: bool = False) -> str:
    """The taps applied down and across, one after the other, as sums of sums."""
    size = range(len(taps))
    if rows_first:
        lines = [weighted(taps, [pixel(i, j, kind) for j in size]) for i in size]
    else:
        lines = [weighted(taps, [pixel(i, j, kind) for i in size]) for j in size]
    return weighted(taps, [f"({line})" for line in lines])


def window(taps: Sequence[Sequence[int]], kind: str) -> str:
    """All taps of a window in one sum."""
    places = product(range(len(taps)), range(len(taps[0])))
    return weighted([t for row in taps for t in row], [pixel(i, j, kind) for i, j in places])


def shifted(taps: Sequence[Sequence[int]], kind: str, by: int) -> str:
    return f"(({window(taps, kind)}) >> {by})"


def folded(function: str, terms: Sequence[str]) -> str:
    """``max`` or ``min`` of several terms, two at a time."""
    first, *others = terms
    for term in others:
        first = f"{function}({first}, {term})"
    return first


def clamped(value: str, low: int = 0, high: int = 255) -> str:
    return f"max(min({value}, {high}), {low})"


def square(size: int = 3) -> list[str]:
    return [pixel(i, j) for i, j in product(range(size), range(size))]


def median3() -> str:
    """The median of three pixels in a row."""
    a, b, c = (pixel(0, j) for j in range(3))
    return f"max(min({a}, {b}), min(max({a}, {b}), {c}))"


BINOMIAL3, BINOMIAL5 = (1, 2, 1), (1, 4, 6, 4, 1)
SHARP = ((1, -4, 7), (2, -5, 9), (3, -6, 8))
SOBEL = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
TURNED = tuple(zip(*SOBEL, strict=True))
ONES = ((1, 1, 1),) * 3

WINDOWS = {
    "gaussian3x3": image(f"cast(u8, ({separable(BINOMIAL3, 'i16')} + 8) >> 4)"),
    "gaussian3x3_rowfirst": image(f"cast(u8, ({separable(BINOMIAL3, 'i16', True)} + 8) >> 4)"),
    "gaussian5x5": image(f"cast(u8, ({separable(BINOMIAL5, 'u16')} + 128) >> 8)", 4),
    "conv3x3a16": image(f"cast(u8, {clamped(shifted(SHARP, 'i16', 4))})"),
    "conv3x3a32": image(f"cast(u8, {clamped(shifted(SHARP, 'i32', 4))})"),
    "sobel3x3": image(
        f"cast(u8, min(abs({window(SOBEL, 'i16')}) + abs({window(TURNED, 'i16')}), 255))"
    ),
    "blur3x3_by_division": image(f"cast(u8, ({window(ONES, 'u16')}) // 9)"),
    "average_pool2x2_s1": image(f"cast(u8, ({window(((1, 1),) * 2, 'u16')} + 2) >> 2)"),
    "dilate3x3": image(folded("max", square())),
    "erode5x5": image(folded("min", square(5)), 4),
    "median3": image(median3()),
    "max_pool_3rows": image(clamped(folded("max", [pixel(i, 0) for i in range(3)]), 3, 250)),
}


# Functions of single elements --------------------------------------------------------------------


def point(value: str, a: str = "u8", b: str = "u8", to: str = "u8") -> Kernel:
    """A function of the elements of one or two operands, of any interval of ``a``'s and ``b``'s."""
    params = f'a: Buffer[{a}, (512, 128), "tcm"]'
    if b:
        params += f', b: Buffer[{b}, (512, 128), "tcm"]'
    return nest(params, "y", to, (512, 128), value.format(a="a[v0, v1]", b="b[v0, v1]"))


POINTS = {
    "rounding_average_u8": point("cast(u8, (cast(u16, {a}) + cast(u16, {b}) + 1) >> 1)"),
    "absdiff_u8": point("cast(u8, abs(cast(i16, {a}) - cast(i16, {b})))"),
    "absdiff_u8_select": point("select({a} < {b}, {b} - {a}, {a} - {b})"),
    "sat_add_u8": point("cast(u8, min(cast(u16, {a}) + cast(u16, {b}), 255))"),
    "sat_add_i8": point(
        "cast(i8, max(min(cast(i16, {a}) + cast(i16, {b}), 127), -128))", "i8", "i8", "i8"
    ),
    "blend_u8": point("cast(u8, (cast(u16, {a}) * 77 + cast(u16, {b}) * 179 + 128) >> 8)"),
    "threshold_u8": point("select({a} > 99, {b}, {a})"),
    "mask_u8": point("({a} & 240) | ({b} & 15)"),
    "product_u8": point("cast(u8, (cast(u16, {a}) * cast(u16, {b}) + 128) >> 8)"),
    "product_i16_q15": point(
        "cast(i16, (cast(i32, {a}) * cast(i32, {b}) + 16384) >> 15)", "i16", "i16", "i16"
    ),
    "requant_shift_i32_u8": point(
        "cast(u8, max(min((({a} + 512) >> 10) + 12, 255), 0))", "i32", ""
    ),
    "requant_rndnu_i32_u8": point(
        "cast(u8, max(min(cast(i32, (cast(i64, {a}) * 1518500250 + (1 << 40)) >> 41) + 12, 250), "
        "12))", "i32", ""
    ),
    "qadd": point(
        "cast(u8, max(min((((cast(i32, {a}) - 7) * 9616 + (cast(i32, {b}) - 19) * 7312 + 8192) "
        ">> 14) + 12, 250), 3))"
    ),
    "qadd_yard": point(
        "cast(u8, max(min(((((cast(i32, {a}) - 3) << 6) * 12345 + ((cast(i32, {b}) - 7) << 6) "
        "* 23456 + (1 << 20)) >> 21) + 9, 255), 0))"
    ),
}  # fmt: skip


# Images with channels last, and the planes of a colour image -------------------------------------


def strided(row: int, column: int, kind: str = "") -> str:
    read = f"x[v0 * 2 + {row}, v1 * 2 + {column}, v2]"
    return f"cast({kind}, {read})" if kind else read


def channels(value: str, source: tuple[int, int, int], shape: tuple[int, int, int]) -> Kernel:
    return nest(f'x: Buffer[u8, {source}, "tcm"]', "y", "u8", shape, value)


def luma() -> Kernel:
    """Luminance of three planes."""
    params = ", ".join(f'{name}: Buffer[u8, (128, 512), "tcm"]' for name in "rgb")
    value = "cast(u8, (" + weighted(
        (77, 150, 29), [f"cast(u16, {name}[v0, v1])" for name in "rgb"]
    ) + " + 128) >> 8)"  # fmt: skip
    return nest(params, "y", "u8", (128, 512), value)


def corners(size: int) -> Iterator[tuple[int, int]]:
    return product(range(size), range(size))


CHANNELS = {
    "average_pool2x2_s2_nhwc": channels(
        f"cast(u8, ({' + '.join(strided(i, j, 'u16') for i, j in corners(2))} + 2) >> 2)",
        (64, 64, 128), (32, 32, 128),
    ),
    "max_pool3x3_s2_c64": channels(
        folded("max", [strided(i, j) for i, j in corners(3)]), (58, 58, 64), (28, 28, 64)
    ),
    "luma": luma(),
}  # fmt: skip


# Products and rows -------------------------------------------------------------------------------

PACKED = """
def kernel(a: Buffer[u8, (1, 64), "tcm"], w: Buffer[i8, (16, 1024, 4), "tcm"],
           y: Buffer[i32, (1, 1024), "tcm"]):
    for n in range(1024):
        for q in range(16):
            for r in range(4):
                with block("dot"):
                    vn = spatial(1024, n)
                    vq = reduce(16, q)
                    vr = reduce(4, r)
                    with init():
                        y[0, vn] = 0
                    y[0, vn] = y[0, vn] + cast(i32, a[0, vq * 4 + vr]) * cast(i32, w[vq, vn, vr])
"""
ROW_MAJOR = """
def kernel(a: Buffer[u8, (1, 64), "tcm"], w: Buffer[i8, (64, 1024), "tcm"],
           y: Buffer[i32, (1, 1024), "tcm"]):
    for n in range(1024):
        for q in range(64):
            with block("dot"):
                vn = spatial(1024, n)
                vq = reduce(64, q)
                with init():
                    y[0, vn] = 0
                y[0, vn] = y[0, vn] + cast(i32, a[0, vq]) * cast(i32, w[vq, vn])
"""
DOT_I16 = """
def kernel(a: Buffer[i16, (64, 256), "tcm"], b: Buffer[i16, (256,), "tcm"],
           y: Buffer[i32, (64,), "tcm"]):
    for i in range(64):
        for k in range(256):
            with block("dot"):
                vi = spatial(64, i)
                vk = reduce(256, k)
                with init():
                    y[vi] = 0
                y[vi] = y[vi] + cast(i32, a[vi, vk]) * cast(i32, b[vk])
"""
SOFTMAX = """
def kernel(x: Buffer[u8, (128, 128), "tcm"], t: Buffer[i32, (256,), "tcm"],
           y: Buffer[u8, (128, 128), "tcm"]):
    m = alloc(u8, (128,), "tcm")
    e = alloc(i32, (128, 128), "tcm")
    s = alloc(i32, (128,), "tcm")
    for i in range(128):
        for j in range(128):
            with block("top"):
                vi = spatial(128, i)
                vj = reduce(128, j)
                with init():
                    m[vi] = 0
                m[vi] = max(m[vi], x[vi, vj])
    for i in range(128):
        for j in range(128):
            with block("exp"):
                vi = spatial(128, i)
                vj = spatial(128, j)
                e[vi, vj] = t[cast(i32, m[vi]) - cast(i32, x[vi, vj])]
    for i in range(128):
        for j in range(128):
            with block("total"):
                vi = spatial(128, i)
                vj = reduce(128, j)
                with init():
                    s[vi] = 0
                s[vi] = s[vi] + e[vi, vj]
    for i in range(128):
        for j in range(128):
            with block("out"):
                vi = spatial(128, i)
                vj = spatial(128, j)
                y[vi, vj] = cast(u8, min((e[vi, vj] * (1073741824 // s[vi]) + 2097152) >> 22, 255))
"""

PRODUCTS = {
    "matmul_row_packed": Kernel(PACKED, 1024),
    "matmul_row_rowmajor": Kernel(ROW_MAJOR, 1024),
    "dot_i16": Kernel(DOT_I16, 64),
    "softmax_row": Kernel(SOFTMAX, 128 * 128),
}

KERNELS = {**WINDOWS, **POINTS, **CHANNELS, **PRODUCTS}

# Packets per 128 outputs of the best code by hand that is known for v66, packed and run.
HAND = {
    "gaussian3x3": 4.10,
    "gaussian3x3_rowfirst": 4.10,
    "conv3x3a16": 6.06,
    "conv3x3a32": 6.06,
    "dilate3x3": 2.88,
    "average_pool2x2_s1": 2.49,
    "average_pool2x2_s2_nhwc": 4.13,
    "max_pool_3rows": 1.72,
    "max_pool3x3_s2_c64": 6.12,
    "rounding_average_u8": 2.01,
    "absdiff_u8": 2.01,
    "absdiff_u8_select": 2.01,
    "sat_add_u8": 2.01,
    "sat_add_i8": 2.01,
    "requant_shift_i32_u8": 4.53,
    "requant_rndnu_i32_u8": 8.03,
    "qadd": 4.02,
    "qadd_yard": 4.02,
    "matmul_row_packed": 65.75,
}
