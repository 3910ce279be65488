"""Random small kernels: what is stored, over which axes, from which operands, in which layout.

kernel(7)       # the same for each seed: one to three blocks, parameters x, z, ... and y
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from dovetail.tir.ops import JOINING, OPS
from dovetail.tir.passes.lift import lift
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc
from dovetail.tir.type_rules import compared
from dovetail.tir.types import parse_type
from tests.target.lanes import COMPUTED
from tests.tir.operands import plain

NARROW = ("u8", "i8")
ELEMENTS = ("u8", "u8", "i8", "i16", "u16", "i32")
SHAPES = (
    (128,), (256,), (2, 128), (4, 64), (8, 32), (32, 8), (64, 4), (3, 130), (5, 40), (2, 4, 32),
    (4, 4, 16), (2, 3, 64), (512,), (128, 2), (7,), (1, 128), (128, 4), (4, 128), (64, 64),
)  # fmt: skip


def spelled(op: str) -> str:
    """An operator of one or two operands, in script."""
    if OPS[op].symbol:
        return f"{{a}} {OPS[op].symbol} {{b}}"
    return f"{op}({{a}}, {{b}})" if OPS[op].arity == 2 else f"{op}({{a}})"


def same(rng: Random, kind: str) -> str:
    """An operator of one type, in script."""
    return spelled(rng.choice(plain(parse_type(kind), COMPUTED)))


TESTS = [spelled(op.name) for op in OPS.values() if op.rule is compared]


@dataclass
class Source:
    """A buffer that later blocks may read."""

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass
class Draft:
    """The text of a kernel under construction."""

    rng: Random
    params: list[str] = field(default_factory=list)
    allocs: list[str] = field(default_factory=list)
    nests: list[str] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    tables: int = 0

    def param(self, kind: str, shape: Sequence[int], name: str = "") -> Source:
        made = Source(name or f"x{len(self.params)}", kind, tuple(shape))
        scope = self.rng.choice(("tcm", "tcm", "ddr"))
        self.params.append(f'{made.name}: Buffer[{kind}, ({_tuple(made.shape)}), "{scope}"]')
        return made

    def local(self, kind: str, shape: Sequence[int]) -> Source:
        made = Source(f"a{len(self.allocs)}", kind, tuple(shape))
        scope = self.rng.choice(("tcm", "tcm", "ddr"))
        self.allocs.append(f'    {made.name} = alloc({kind}, ({_tuple(made.shape)}), "{scope}")')
        return made

    def nest(
        self, axes: Sequence[tuple[str, int, bool]], store: str, init: str | None = None
    ) -> None:
        """A block under loops in random order, its iters in the order given."""
        name, pad, lines = f"b{len(self.nests)}", "    ", []
        order = list(axes)
        if self.rng.random() < 0.3:
            self.rng.shuffle(order)
        for axis, extent, _ in order:
            lines.append(f"{pad}for {name}{axis} in range({extent}):")
            pad += "    "
        lines.append(f'{pad}with block("{name}"):')
        for axis, extent, reduces in axes:
            word = "reduce" if reduces else "spatial"
            lines.append(f"{pad}    v{axis} = {word}({extent}, {name}{axis})")
        if init is not None:
            lines += [f"{pad}    with init():", f"{pad}        {init}"]
        lines.append(f"{pad}    {store}")
        self.nests.append("\n".join(lines))

    @property
    def text(self) -> str:
        body = [*self.allocs, *self.nests]
        return f"@prim_func\ndef drawn({', '.join(self.params)}):\n" + "\n".join(body) + "\n"


def _tuple(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes)) + ","


def text(seed: int) -> str:
    """The script of the kernel of this seed."""
    draft = Draft(Random(seed))
    kinds = {5: pooled, 11: padded}
    kinds.get(seed % 16, draft.rng.choice(KINDS))(draft)
    return draft.text


def kernel(seed: int) -> PrimFunc:
    """The kernel of this seed; every third one is lifted, half of them have constant weights."""
    func = parse(text(seed))
    numbers = np.random.default_rng(seed)
    for param in func.params if seed % 2 else ():
        if param.name.startswith("w"):
            low, high = param.type.low, param.type.high
            values = numbers.integers(low, high, param.shape, np.int64, endpoint=True)
            func.constants[param.name] = values.astype(param.type.numpy)
    return lift(func) if seed % 3 == 0 else func


# Operands ---------------------------------------------------------------------------------------


def axes_of(shape: Sequence[int]) -> list[tuple[str, int, bool]]:
    return [("ijkl"[d], extent, False) for d, extent in enumerate(shape)]


def read(draft: Draft, axes: Sequence[tuple[str, int, bool]], kind: str) -> str:
    """An element of a fresh or known buffer of ``kind``: as it lies, permuted, repeated along an
    axis, every second one, shifted, or from its end."""
    rng = draft.rng
    known = [s for s in draft.sources if s.kind == kind and len(s.shape) == len(axes)
             and all(a == e for a, (_, e, _) in zip(s.shape, axes, strict=True))]  # fmt: skip
    if known and rng.random() < 0.6:
        return f"{rng.choice(known).name}[{', '.join('v' + a for a, _, _ in axes)}]"
    chosen = list(axes)
    if rng.random() < 0.3:
        rng.shuffle(chosen)
    if len(chosen) > 1 and rng.random() < 0.2:
        chosen.pop(rng.randrange(len(chosen)))
    index, shape = [], []
    for axis, extent, _ in chosen:
        match rng.randrange(12):
            case 0:
                pace, more = rng.choice((2, 2, 3, 4)), rng.randrange(2)
                index.append(f"v{axis} * {pace}" + f" + {more}" * bool(more))
                shape.append(extent * pace + more)
            case 1:
                more = rng.choice((1, 2, 5))
                index.append(f"v{axis} + {more}")
                shape.append(extent + more)
            case 2 if rng.random() < 0.3:
                index.append(f"{extent - 1} - v{axis}")
                shape.append(extent)
            case 3 if rng.random() < 0.4:
                index.append(f"v{axis} // 2")
                shape.append(-(-extent // 2))
            case _:
                index.append(f"v{axis}")
                shape.append(extent)
    name = f"w{len(draft.params)}" if rng.random() < 0.2 else ""
    made = draft.param(kind, shape, name)
    if index == [f"v{a}" for a, _, _ in axes]:
        draft.sources.append(made)
    return f"{made.name}[{', '.join(index)}]"


def number(rng: Random, kind: str) -> str:
    bits, signed = int(kind[1:]), kind[0] == "i"
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    value = rng.choice((0, 1, 2, 3, 7, high, low, rng.randint(low, high), rng.randint(0, 99)))
    return f"{kind}({value})"


def value(draft: Draft, axes: Sequence[tuple[str, int, bool]], kind: str, depth: int) -> str:
    """An expression of ``kind`` over elements."""
    rng = draft.rng
    if depth <= 0:
        if rng.random() < 0.2:
            return number(rng, kind)
        if rng.random() < 0.6:
            return read(draft, axes, kind)
        return f"cast({kind}, {read(draft, axes, rng.choice(ELEMENTS))})"

    def below(of: str = kind) -> str:
        return value(draft, axes, of, depth - rng.choice((1, 1, 2)))

    bits = int(kind[1:])
    match rng.randrange(13):
        case 0 | 1:
            word = rng.choice(("cast", "sat_cast"))
            return f"{word}({kind}, {below(rng.choice(ELEMENTS))})"
        case 2:
            return f"{below()} {rng.choice(('<<', '>>'))} {rng.randrange(bits)}"
        case 3:
            return f"rounding_shr({below()}, {rng.randrange(bits)})"
        case 4:
            other = rng.choice(ELEMENTS)
            test = rng.choice(TESTS).format(a=f"({below(other)})", b=f"({below(other)})")
            return f"select({test}, {below()}, {below()})"
        case 5 | 6 if bits > 8:
            narrow = [f"{'u' if kind[0] == 'u' else rng.choice('ui')}{bits // 2}" for _ in "ab"]
            if kind[0] == "i" and narrow[0][0] == narrow[1][0] == "u":
                narrow[0] = f"i{bits // 2}"
            word = rng.choice(("widening_mul", "widening_mul", "widening_add"))
            return f"{word}({below(narrow[0])}, {below(narrow[1])})"
        case 7 if kind == "u8" and draft.tables == 0:
            draft.tables = 1
            table = draft.param("u8", (256,), "t")
            return f"lookup({table.name}[0:256], {below('u8')})"
        case 8 if kind == "i32":
            shift = rng.choice((31, 32, 35, 40, 46))
            return f"rounding_mul_shr({below()}, {rng.randrange(1 << 30, 1 << 31)}, {shift})"
        case 9 if kind[0] == "u":
            other = rng.choice((f"u{bits}", f"i{bits}"))
            return f"abs_diff({below(other)}, {below(other)})"
        case _:
            return same(rng, kind).format(a=f"({below()})", b=f"({below()})")


def narrowed(draft: Draft, axes: Sequence[tuple[str, int, bool]], sums: str) -> str:
    """Sums as bytes."""
    rng = draft.rng
    match rng.randrange(4):
        case 0:
            return f"sat_cast(u8, rounding_mul_shr({sums}, 1518500250, {rng.choice((36, 40))}) + 3)"
        case 1:
            return f"sat_cast(u8, rounding_shr({sums}, {rng.choice((1, 5, 8))}))"
        case 2:
            return f"cast(u8, max(min({sums} >> 7, 255), 0))"
        case _:
            return f"cast(u8, {sums})"


# Kernels ----------------------------------------------------------------------------------------


def elementwise(draft: Draft) -> None:
    """A chain of one to three blocks."""
    rng = draft.rng
    shape = rng.choice(SHAPES)
    axes = axes_of(shape)
    where = ", ".join(f"v{a}" for a, _, _ in axes)
    count = rng.choice((1, 2, 2, 3))
    for step in range(count):
        kind = rng.choice(ELEMENTS)
        term = value(draft, axes, kind, rng.choice((0, 1, 1, 2, 2, 3)))
        last = step == count - 1
        made = draft.param(kind, shape, "y") if last else draft.local(kind, shape)
        draft.nest(axes, f"{made.name}[{where}] = {term}")
        draft.sources = [made]


def moved(draft: Draft) -> None:
    """A transpose, a copy with strides, or a broadcast."""
    rng = draft.rng
    shape = rng.choice(SHAPES)
    axes = axes_of(shape)
    kind = rng.choice(ELEMENTS)
    source = read(draft, axes, kind)
    order = rng.sample(axes, len(axes))
    made = draft.param(kind, [extent for _, extent, _ in order], "y")
    draft.nest(axes, f"{made.name}[{', '.join('v' + a for a, _, _ in order)}] = {source}")


def reduction(draft: Draft) -> None:
    """A sum or extreme over some axes, perhaps finished by another block."""
    rng = draft.rng
    shape = rng.choice([s for s in SHAPES if len(s) > 1])
    axes = axes_of(shape)
    reduced = set(rng.sample([a for a, _, _ in axes], rng.randint(1, len(axes) - 1)))
    axes = [(a, extent, a in reduced) for a, extent, _ in axes]
    kept = [axis for axis in axes if not axis[2]]
    rng.shuffle(kept)
    op = rng.choice(JOINING) if rng.random() < 0.4 else "add"
    kind = rng.choice(("i32", "i32", "i16") if op == "add" else ("u8", "i8", "i16", "i32"))
    term = value(draft, axes, kind, rng.choice((0, 0, 1, 1, 2)))
    neutral = OPS[op].neutral
    assert neutral is not None
    start = f"{kind}({neutral(parse_type(kind))})"
    _finish(draft, axes, kept, kind, spelled(op), f"({term})", start)


def _finish(draft: Draft, axes: Sequence[tuple[str, int, bool]],
            kept: Sequence[tuple[str, int, bool]], kind: str, word: str, term: str,
            start: str) -> None:  # fmt: skip
    rng = draft.rng
    where = ", ".join(f"v{a}" for a, _, _ in kept)
    shape = [extent for _, extent, _ in kept]
    more = kind == "i32" and rng.random() < 0.6
    made = draft.local(kind, shape) if more else draft.param(kind, shape, "y")
    here = f"{made.name}[{where}]"
    draft.nest(axes, f"{here} = {word.format(a=here, b=term)}", f"{here} = {start}")
    if more:
        plain = [(a, extent, False) for a, extent, _ in kept]
        done = draft.param("u8", shape, "y")
        draft.nest(plain, f"{done.name}[{where}] = {narrowed(draft, plain, here)}")


def contraction(draft: Draft) -> None:
    """Sums of products, each operand over its own axes in its own order."""
    rng = draft.rng
    few, most = rng.choice(((4, 64), (3, 40), (1, 128), (4, 32), (2, 96), (128, 1), (8, 33)))
    depth = rng.choice((4, 8, 16, 4, 2, 6, 3))
    axes = [("m", few, False), ("n", most, False), ("k", depth, True)]
    if rng.random() < 0.25:
        axes.append(("l", rng.choice((2, 4)), True))
    reduces = [axis for axis in axes if axis[2]]
    sides = [[axes[0], *reduces], [axes[1], *reduces]]
    if rng.random() < 0.3:
        sides[rng.randrange(2)] = [axes[0], axes[1], *reduces]
    factors = []
    kinds = rng.choice((("u8", "i8"), ("u8", "i8"), ("u8", "u8"), ("i8", "i8"), ("i16", "i16"),
                        ("u8", "i16"), ("i32", "i8")))  # fmt: skip
    for name, side, kind in zip("xw", sides, kinds, strict=True):
        order = rng.sample(side, len(side))
        made = draft.param(kind, [extent for _, extent, _ in order], name)
        element = f"{made.name}[{', '.join('v' + a for a, _, _ in order)}]"
        factors.append(element if kind == "i32" else f"cast(i32, {element})")
    kept = axes[:2] if rng.random() < 0.7 else axes[1::-1]
    start = "0"
    if rng.random() < 0.4:
        start = f"{draft.param('i32', (most,), 'bias').name}[vn]"
    _finish(draft, axes, kept, "i32", spelled("add"), " * ".join(factors), start)


def window(draft: Draft) -> None:
    """Sums or extremes over a window that moves along one axis or two."""
    rng = draft.rng
    height, width, channels = rng.choice(((1, 128, 1), (4, 8, 32), (3, 32, 4), (2, 5, 64)))
    size, pace = rng.choice((2, 3, 3)), rng.choice((1, 1, 2))
    axes = [("h", height, False), ("w", width, False), ("c", channels, False), ("k", size, True)]
    kept = axes[:3]
    x = draft.param(rng.choice(NARROW), (height, (width - 1) * pace + size, channels))
    element = f"{x.name}[vh, vw * {pace} + vk, vc]" if pace > 1 else f"{x.name}[vh, vw + vk, vc]"
    if rng.random() < 0.3:
        low = "0" if x.kind == "u8" else "-128"
        _finish(draft, axes, kept, x.kind, spelled("max"), element, f"{x.kind}({low})")
        return
    weight = draft.param(rng.choice(NARROW), (channels, size) if rng.random() < 0.5 else
                         (size, channels), "w")  # fmt: skip
    place = "vc, vk" if weight.shape == (channels, size) else "vk, vc"
    term = f"cast(i32, {element}) * cast(i32, {weight.name}[{place}])"
    _finish(draft, axes, kept, "i32", spelled("add"), term, "0")


def updated(draft: Draft) -> None:
    """A buffer that is read and written in place, at the same element or at another one."""
    rng = draft.rng
    shape = rng.choice([s for s in SHAPES if len(s) < 3])
    axes = axes_of(shape)
    kind = rng.choice(("u8", "u16", "i16", "i32"))
    far = [rng.choice((0, 0, 1, 2)) for _ in shape]
    made = draft.param(kind, [n + more for n, more in zip(shape, far, strict=True)], "y")
    here = [f"v{a}" for a, _, _ in axes]
    there = [f"{at} + {more}" if more else at for at, more in zip(here, far, strict=True)]
    if rng.random() < 0.5:
        here, there = there, here
    old = f"{made.name}[{', '.join(there)}]"
    term = same(rng, kind).format(a=old, b=f"({value(draft, axes, kind, 1)})")
    draft.nest(axes, f"{made.name}[{', '.join(here)}] = {term}")


def paired(draft: Draft) -> None:
    """A block of two stores, of which the second reads what the first one has stored."""
    rng = draft.rng
    shape = rng.choice(SHAPES)
    axes = axes_of(shape)
    kind = rng.choice(ELEMENTS)
    where = ", ".join(f"v{a}" for a, _, _ in axes)
    first, second = draft.param(kind, shape, "z"), draft.param(kind, shape, "y")
    term = value(draft, axes, kind, 1)
    other = same(rng, kind).format(a=f"z[{where}]", b=f"({value(draft, axes, kind, 1)})")
    stores = (f"{first.name}[{where}] = {term}", f"{second.name}[{where}] = {other}")
    pad = "    " * (len(axes) + 2)
    draft.nest(axes, f"\n{pad}".join(stores))


def padded(draft: Draft) -> None:
    """A copy amid a border of one value, or over all of it, and what reads both."""
    rng = draft.rng
    rows, columns = rng.choice(((4, 64), (3, 40), (8, 32), (5, 128)))
    sides = [rng.choice((0, 0, 1, 2)) for _ in range(4)]
    if rng.random() < 0.3:
        sides = [0] * 4
    above, left, below, right = sides
    shape = rows + above + below, columns + left + right
    local, x = draft.local("u8", shape), draft.param("u8", (rows, columns))
    draft.nest(axes_of(shape), f"{local.name}[vi, vj] = u8({rng.randrange(256)})")
    at = [f"v{a} + {n}" if n else f"v{a}" for a, n in (("i", above), ("j", left))]
    draft.nest(axes_of((rows, columns)), f"{local.name}[{', '.join(at)}] = {x.name}[vi, vj]")
    inside = rows + above + below - 1, columns + left + right - rng.choice((0, 2))
    y = draft.param("u8", inside, "y")
    draft.nest(axes_of(inside), f"y[vi, vj] = max({local.name}[vi, vj], {local.name}[vi + 1, vj])")
    assert y.shape == inside


def pooled(draft: Draft) -> None:
    """The largest elements of windows that lie in both axes, over a padded copy."""
    rng = draft.rng
    rows, columns = rng.choice(((4, 64), (6, 32), (3, 128)))
    tall, wide, pace = rng.choice((2, 3)), rng.choice((2, 3)), rng.choice((1, 1, 2))
    shape = rows + tall - 1, columns + wide - 1
    local, x = draft.local("u8", shape), draft.param("u8", (rows, columns))
    draft.nest(axes_of(shape), f"{local.name}[vi, vj] = u8(0)")
    at = f"vi + {tall // 2}, vj + {wide // 2}"
    draft.nest(axes_of((rows, columns)), f"{local.name}[{at}] = {x.name}[vi, vj]")
    high = (rows - 1) // pace + 1
    draft.param("u8", (high, columns), "y")
    axes = [("i", high, False), ("j", columns, False), ("k", tall, True), ("l", wide, True)]
    row = f"vi * {pace} + vk" if pace > 1 else "vi + vk"
    element = f"{local.name}[{row}, vj + vl]"
    draft.nest(axes, f"y[vi, vj] = max(y[vi, vj], {element})", "y[vi, vj] = u8(0)")


KINDS: tuple[Callable[[Draft], None], ...] = (
    elementwise, elementwise, elementwise, moved, moved, reduction, reduction, contraction,
    contraction, contraction, window, window, updated, paired,
)  # fmt: skip
