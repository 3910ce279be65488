"""Taps of a window in words: what fills a word of a dot product is neighbouring elements.

    for w, k in (8, 3): s[w] += x[w + k] * f[k]

    word_taps("s", "k", step=2)     x_words[g, t] = x[2*g + t]                              t in 4
                             ->     for w, t in (8, 4): s[w] += x_words[w // 2, t] * f[w % 2, t]

The new ``f`` holds the taps from the place in the word on at which the window begins, and zeros
around them. Words overlap where ``step`` is less than their size; where it is not, windows that
begin far behind in a word read the next one in the places before:

    word_taps("s", "k", step=4)     s[w] += select(t < w % 4 // 2 * 2,
                                                   x_words[w // 4 + 1, t], x_words[w // 4, t])
                                            * f[w % 4, t]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from ..tir.expr import Expr, free_vars, minimum, select, transform, var
from ..tir.linear import Linear, from_linear, linear
from ..tir.stmt import Block, Buffer, Iter, Store, load
from .block_forms import extents_of, reduction_of
from .errors import refusal
from .index import bounds, simplify
from .new_nests import (
    Index,
    allocate,
    buffer_name,
    check_alone,
    enlarge,
    iter_name,
    made,
    on_iters,
    put_before,
    replace_buffer,
)
from .state import BlockName, BlockRef, Loop, ScheduleState

SIZE = 4  # elements of a word


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of ``taps`` taps, ``apart`` elements from each to the next, the first of which begins
    at ``start``, others any number of times ``by`` behind it: in words, one each ``step``."""

    taps: int
    apart: int
    start: int
    by: int
    step: int

    @property
    def unit(self) -> int:
        """How far apart the places are at which windows begin, up to a word's step."""
        return gcd(self.step, self.by)

    @property
    def phases(self) -> range:
        """Where in a word windows may begin."""
        return range(self.start % self.unit, self.step, self.unit)

    @property
    def turn(self) -> int:
        """How far apart the places are from which on windows read a word, the next one before."""
        return min((4, 2, 1), key=self._words) if self.step == SIZE else self.step

    @property
    def words(self) -> int:
        """Those that a window spans."""
        return self._words(self.turn)

    def _words(self, turn: int) -> int:
        first = max(phase % turn for phase in self.phases)
        return (first + self.apart * (self.taps - 1)) // SIZE + 1

    def all(self, count: int) -> int:
        """Words that so many windows read, one ``by`` behind the other."""
        turn, last = self.turn, (count - 1) * self.by + self.start
        further = (self.words - 1) * SIZE // self.step
        return (last // turn * turn + self.step - 1) // self.step + further + 1


@dataclass(frozen=True, slots=True)
class _Window:
    """A sum over the iter ``tap``: dimension ``along`` of ``x`` is ``start + apart * tap``,
    dimension ``dim`` of the constant ``f`` the tap itself."""

    tap: Iter
    x: Expr
    along: int
    start: Linear
    apart: int
    f: Expr
    dim: int

    def words(self, step: int) -> Windows:
        by = gcd(*self.start.terms.values())
        return Windows(self.tap.extent, self.apart, self.start.constant, by, step)


def word_taps(state: ScheduleState, block: BlockName, loop: Loop, step: int) -> BlockRef:
    """Lets a sum over taps read words of four neighbours, one each ``step`` elements, and zeros
    around its weights; gives the block that makes the words."""
    node, path = state.block(block)
    check_alone(node, path)
    window = _window(state, node, loop, step)
    windows, it, start = window.words(step), window.tap, from_linear(window.start)
    turn, count = windows.turn, windows.words
    parts = [Iter(var(iter_name(node, f"{it.axis.attr}_{n}")), extent, True,
                  state.axis(f"{loop}_{n}", extent))
             for n, extent in (("a", count), ("b", SIZE))]  # fmt: skip
    whole, place = (part.axis for part in parts)
    known = extents_of((*node.iters, *parts))
    word = simplify(start // step + whole * (SIZE // step), known)
    before = simplify(start % step // turn * turn, known)  # places of the next word
    _, last = bounds(simplify((start // turn * turn + step - 1) // step, known), known)
    words, copying = _words(state, window, last + 1 + (count - 1) * (SIZE // step), step)
    weights = _spread(state, window, windows)
    at, tap = window.x.args, simplify(whole * SIZE + place, {})
    given = [tap if d == window.dim else e for d, e in enumerate(window.f.args)]

    def read(word: Expr) -> Expr:
        return load(words, *at[: window.along], word, place, *at[window.along + 1 :])

    turned = windows.phases[-1] >= turn
    new = {
        window.x: select(place < before, read(word + 1), read(word)) if turned else read(word),
        window.f: load(weights, simplify(start % step // windows.unit, known), *given),
    }
    assert isinstance(node.body, Store)
    body = replace(node.body, value=transform(node.body.value, new.get))
    _, path = state.block(block)  # its operands have changed
    on_iters(state, path, replace(node, body=body), {it.axis: parts})
    put_before(state, node.name, copying)
    allocate(state, words)
    return BlockRef(copying.name)


def _window(state: ScheduleState, block: Block, loop: Loop, step: int) -> _Window:
    """The operands; ScheduleError where the loop is none over evenly spaced taps."""
    found = reduction_of(block)
    it = next((it for it in block.iters if it.binding is var(str(loop)) and it.reduce), None)
    factors = _factors(found.value) if found is not None and found.op == "add" else []
    fixed = [f for f in factors if f.attr.name in state.func.constants]
    if it is not None and SIZE % max(step, 1) == 0 < step and len(factors) == 2 and len(fixed) == 1:
        (f,), (x,) = fixed, [factor for factor in factors if factor is not fixed[0]]
        users = [b.name for b, _ in state.placed() if state.accesses(b).of(f.attr.name)]
        dims = [d for d, e in enumerate(f.args) if it.axis in free_vars(e)]
        along = [d for d, e in enumerate(x.args) if it.axis in free_vars(e)]
        form = linear(x.args[along[0]]) if along else Linear({}, 0)
        start = form.plus(form.only(lambda atom: atom is it.axis), -1)
        spatial = {i.axis for i in block.iters if not i.reduce}
        alone = users == [block.name] and len(dims) == 1 and f.args[dims[0]] is it.axis
        if alone and len(along) == 1 and form.terms.get(it.axis, 0) > 0:
            if start.terms.keys() <= spatial and min(start.terms.values(), default=1) > 0:
                return _Window(it, x, along[0], start, form.terms[it.axis], f, dims[0])
    raise refusal("the loop must be one over taps of a sum of products of elements, "
                  "evenly apart, and of constants that are read there alone, and the step a part "
                  "of a word", f"{loop} by {step}", block)  # fmt: skip


def _factors(value: Expr) -> list[Expr]:
    """The loads that a term is the product of; none for other terms."""
    while value.op == "cast":
        value = value.args[0]
    pair = value.args if value.op in ("mul", "widening_mul") else ()
    loads = [arg.args[0] if arg.op == "cast" else arg for arg in pair]
    return loads if all(e.op == "load" for e in loads) else []


def _words(state: ScheduleState, window: _Window, count: int, step: int) -> tuple[Buffer, Block]:
    """The buffer of words, and the block that copies them; a local input grows as far as these
    reach, of another one it is the last element that is read beyond its end."""
    source, along = window.x.attr, window.along
    wanted = (count - 1) * step + SIZE
    if wanted > source.shape[along] and state.is_local(source.name):
        enlarge(state, source.name, (*source.shape[:along], wanted, *source.shape[along + 1 :]))
        source = state.buffer(source.name)
    shape = (*source.shape[:along], count, SIZE, *source.shape[along + 1 :])
    words = Buffer(buffer_name(state, f"{source.name}_words"), source.type, shape, "tcm")

    def word(where: Index) -> Store:
        at = where[along] * step + where[along + 1]
        if wanted > source.shape[along]:
            at = minimum(at, source.shape[along] - 1)
        return Store(words, where, load(source, *where[:along], at, *where[along + 2 :]))

    return words, made(state, words.name, [(f"v{k}", n) for k, n in enumerate(shape)], word)


def _spread(state: ScheduleState, window: _Window, windows: Windows) -> Buffer:
    """The constant as [phase, ..., place in the words, ...], zeros around the taps."""
    old, dim, reach = window.f.attr, window.dim, windows.words * SIZE
    data = state.func.constants[old.name]
    phases, turn, taps = windows.phases, windows.turn, np.arange(windows.taps)
    out = np.zeros((len(phases), *data.shape[:dim], reach, *data.shape[dim + 1 :]), data.dtype)
    for part, phase in zip(out, phases, strict=True):
        far = phase % turn + windows.apart * taps
        places = far // SIZE * SIZE + (phase - phase % turn + far) % SIZE
        np.moveaxis(part, dim, 0)[places] = np.moveaxis(data, dim, 0)[taps]
    replace_buffer(state, replace(old, shape=out.shape), data=lambda _: out)
    return state.buffer(old.name)
