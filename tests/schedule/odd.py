"""Kernels that primitives must refuse: each breaks one rule."""

from __future__ import annotations

HEAD = "@prim_func\ndef odd(x: Buffer[i32, (8, 8)], y: Buffer[i32, (8, 8)]):\n"


def nest(name: str, store: str, *more: str, axes: str = "ij") -> str:
    """A block under loops of 8, its iters named after them."""
    lines, pad = [], "    "
    for axis in axes:
        lines.append(f"{pad}for {axis} in range(8):")
        pad += "    "
    lines.append(f'{pad}with block("{name}"):')
    lines += [f"{pad}    v{axis} = spatial(8, {axis})" for axis in axes]
    lines += [f"{pad}    {line}" for line in (*more, store)]
    return "\n".join(lines) + "\n"


LOCAL = "    a = alloc(i32, (8, 8))\n"

SUMMED = """\
@prim_func
def odd(x: Buffer[u16, (8, 600)], y: Buffer[u16, (8,)]):
    for i in range(8):
        for k in range({size}):
            for l in range(4):
                with block("sum"):
                    vi = spatial(8, i)
                    vk = reduce({size}, k)
                    vl = reduce(4, l)
                    with init():
                        y[vi] = u16(0)
                    y[vi] = y[vi] + {term}
"""

ODD = {
    "twice": HEAD + nest("one", "y[vi, vj] = x[vi, vj]") * 2,
    "open": HEAD + nest("open", "y[vi, vj] = x[vi, j]"),
    "bare": HEAD + "    for i in range(8):\n        y[i, 0] = x[i, 0]\n",
    "shared": HEAD + """\
    a = alloc(i32, (8,))
    for i in range(8):
        for j in range(8):
            with block("first"):
                vi = spatial(8, i)
                vj = spatial(8, j)
                a[vj] = x[vi, vj]
            with block("second"):
                vi = spatial(8, i)
                vj = spatial(8, j)
                y[vi, vj] = a[0]
""",
    "within": HEAD + LOCAL + """\
    b = alloc(i32, (8, 8))
    for i in range(8):
        for j in range(8):
            with block("first"):
                vi = spatial(8, i)
                vj = spatial(8, j)
                a[vi, vj] = x[vi, vj]
            with block("second"):
                vi = spatial(8, i)
                vj = spatial(8, j)
                b[vi, vj] = a[vi, vj]
            with block("last"):
                vi = spatial(8, i)
                vj = spatial(8, j)
                y[vi, vj] = b[vi, vj]
""",
    "behind": HEAD + LOCAL + """\
    for i in range(8):
        for j in range(8):
            with block("first"):
                vi = spatial(8, i)
                vj = spatial(8, j)
                a[vi, vj] = y[vi, vj]
            with block("second"):
                vi = spatial(8, i)
                vj = spatial(8, j)
                y[vi, vj] = x[vi, vj]
""",
    "narrow": HEAD + """\
    for i in range(8):
        for j in range(4):
            with block("part"):
                vi = spatial(8, i)
                vj = spatial(4, j)
                y[vi, vj] = x[vi, vj]
""",
    "scan": HEAD + LOCAL
    + nest("scan", "a[vi, vj] = a[max(vi - 1, 0), min(vj + 1, 7)] + x[vi, vj]")
    + nest("out", "y[vi, vj] = a[vi, vj]"),
    "diagonal": HEAD + """\
    for i in range(8):
        with block("diagonal"):
            vi = spatial(8, i)
            vk = reduce(8, i)
            with init():
                y[vi, 0] = 0
            y[vi, 0] = y[vi, 0] + x[vi, vk]
""",
    "update": HEAD + LOCAL + "    t = alloc(i32, (8, 8))\n"
    + nest("start", "t[vi, vj] = x[vi, vj]")
    + nest("first", "a[vi, vj] = t[vi, vj]")
    + nest("change", "t[vi, vj] = x[vi, vj] * 2")
    + nest("last", "y[vi, vj] = a[vi, vj] + t[vi, vj]"),
    "guarded": HEAD + LOCAL
    + nest("first", "a[vi, vj] = x[vi, vj]", "where(vi < 5)")
    + nest("second", "a[vi, vj] = x[vi, vj] * 2", "where(5 <= vi)")
    + nest("last", "y[vi, vj] = a[vi, vj]"),
    "corner": HEAD + LOCAL
    + nest("first", "a[vi, vj] = x[vi, vj]", "where(vi < 5)")
    + nest("last", "y[vi, vj] = a[min(vi, 4), vj]"),
    "float": """\
@prim_func
def odd(x: Buffer[f32, (8, 8)], y: Buffer[f32, (8,)]):
    for i in range(8):
        for k in range(8):
            with block("sum"):
                vi = spatial(8, i)
                vk = reduce(8, k)
                with init():
                    y[vi] = f32(0.0)
                y[vi] = y[vi] + x[vi, vk]
""",
    "part": HEAD + LOCAL
    + nest("first", "a[vi, vj] = x[vi, vj]")
    + nest("last", "y[vi, 0] = a[vi, 3]", axes="i"),
    "idle": """\
@prim_func
def odd(x: Buffer[u8, (8,)], w: Buffer[i8, (8, 8)], y: Buffer[i32, (8,)]):
    for i in range(8):
        for k in range(8):
            with block("dot"):
                vi = spatial(8, i)
                vk = reduce(8, k)
                with init():
                    y[vi] = 0
                y[vi] = y[vi] + cast(i32, x[vi]) * cast(i32, w[vi, vk])
""",
    "square": """\
@prim_func
def odd(x: Buffer[u8, (8,)], w: Buffer[i8, (8, 8)], y: Buffer[i32, (8,)]):
    for i in range(8):
        for k in range(8):
            with block("dot"):
                vi = spatial(8, i)
                vk = reduce(8, k)
                with init():
                    y[vi] = 0
                y[vi] = y[vi] + cast(i32, w[vk, vi]) * cast(i32, w[vi, vk])
""",
    "unread": HEAD + LOCAL
    + nest("first", "a[vi, vj] = x[vi, vj]")
    + nest("last", "y[vi, vj] = x[vi, vj]"),
    "two": HEAD + nest("two", "y[vi, vj] = x[vi, vj]", "x[vi, vj] = 0"),
    "half": HEAD + LOCAL
    + nest("first", "a[vi, vj] = x[vi, vj]").replace("range(8)", "range(4)", 1)
    + nest("last", "y[vi, vj] = a[vi, vj]"),
    "lanes": HEAD + LOCAL
    + nest("first", "a[vi, vj] = x[vi, vj]")
    + nest("last", "y[vi, vj] = x[vi, vj] + group_sum(a[vi, 0:8], 8)"),
    "turned": HEAD + "    t = alloc(i32, (8, 8), \"tcm\")\n"
    + nest("copy", "t[vj, vi] = x[vi, vj]")
    + nest("last", "y[vi, vj] = t[vi, vj]"),
    "reversed": HEAD + LOCAL
    + nest("first", "a[vi, 7 - vj] = x[vi, vj]")
    + nest("last", "y[vi, 0] = a[vi, 3]", axes="i"),
    "filled": HEAD + LOCAL
    + nest("fill", "a[vi, vj] = 5")
    + nest("first", "a[vi + 2, vj] = x[vi, vj]")
    .replace("8, i", "4, i").replace("range(8)", "range(4)", 1)
    + nest("last", "y[vi, vj] = a[vi + {}, vj]")
    .replace("8, i", "4, i").replace("range(8)", "range(4)", 1),
    "veiled": HEAD + LOCAL
    + nest("fill", "a[vi, vj] = 5")
    + nest("first", "a[vi, vj] = x[vi, vj]", "where(vi < 5)")
    + nest("last", "y[vi, vj] = a[vi, vj]"),
    "words": """\
@prim_func
def odd(x: Buffer[u16, (8,)], y: Buffer[u16, (8,)]):
    for i in range(8):
        with block("copy"):
            vi = spatial(8, i)
            y[vi] = x[vi]
""",
    "quads": """\
@prim_func
def odd(x: Buffer[u16, (8,)], y: Buffer[u16, (8,)]):
    a = alloc(u16, (8,))
    for i in range(2):
        with block("first"):
            vi = spatial(2, i)
            a[vi * 4:vi * 4 + 4] = x[vi * 4:vi * 4 + 4]
    for i in range(2):
        with block("last"):
            vi = spatial(2, i)
            y[vi * 4:vi * 4 + 4] = a[vi * 4:vi * 4 + 4]
""",
    "halves": """\
@prim_func
def odd(x: Buffer[u16, (8, 8)], y: Buffer[u16, (8,)]):
    a = alloc(u16, (8,))
    for i in range(8):
        for k in range(8):
            with block("sum"):
                vi = spatial(8, i)
                vk = reduce(8, k)
                with init():
                    a[vi] = u16(0)
                a[vi] = a[vi] + x[vi, vk]
    for i in range(8):
        with block("last"):
            vi = spatial(8, i)
            y[vi] = a[vi]
""",
    "long": SUMMED.format(size=300, term="x[vi, vk + vl]"),
    "ones": SUMMED.format(size=4, term="u16(1)"),
    "masked": HEAD + LOCAL
    + nest("first", "a[vi, vj] = x[vi - (vi & 3), vj]")
    + nest("last", "y[vi, vj] = a[vi, vj]"),
}  # fmt: skip
