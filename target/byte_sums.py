"""Sums of bytes times numbers as halfwords, by instructions that multiply and sum several bytes.

    x[i] + x[i + 1] * 2 + x[i + 2]         neighbours: even and odd lanes each by pairs of bytes
    a[i] * 77 + b[i] * 29                  widening products, one added to the other
    r0 + r1 * 2 + r2, each a sum of neighbours that other rows have too: (r0 + r1) + (r1 + r2)

A sum has no order: it is a form of bytes and of numbers, modulo 2**16, as whose parts what unrolled
rows share is found again, however it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise, product
from math import gcd

from ..tir.expr import Expr, const, make
from ..tir.linear import Linear, from_linear, linear, sum_of
from ..tir.types import Type, i8, i16, u8, vector
from .roles import Roles, weighted_pairs
from .trees import Parts, Splat, Tree, Trees, dealt_pair, has_interleaved, plus

NEAR = 8  # bytes from one neighbour to the next one, at most
BIASED = -(1 << 15)

Halves = tuple[Expr, Expr]  # the even and the odd lanes


@dataclass(frozen=True, slots=True)
class ByteSum:
    """``terms``: bytes and what they are times; ``rest``: halfwords, a number with them."""

    terms: Mapping[Expr, int]
    rest: Linear


def byte_sum(node: Expr) -> ByteSum | None:
    """A sum of halfwords with at least two of bytes, or one of a byte times a number."""
    if node.type.bits != 16 or (node in sum_of(node).terms and node.op not in _WIDENED):
        return None
    terms: dict[Expr, int] = {}
    rest = Linear({}, 0)
    for atom, times in _halfword_form(node).terms.items():
        if atom.op == "cast" and atom.args[0].type.bits == 8 and atom.args[0].type.is_int:
            total = _wrapped(terms.pop(atom.args[0], 0) + times)
            terms |= {atom.args[0]: total} if total else {}
        else:
            rest = rest.plus(Linear({atom: times}, 0))
    plain = len(terms) < 2 and all(times == 1 for times in terms.values())
    constant = _wrapped(_halfword_form(node).constant)
    return None if plain else ByteSum(terms, rest.shifted(constant))


_WIDENED = {"widening_add": (1, 1), "widening_sub": (1, -1)}


def _halfword_form(node: Expr) -> Linear:
    """The sum with what widening operators and casts of halfwords hold as terms of their own."""
    form, found = sum_of(node), Linear({}, 0)
    for atom, times in form.terms.items():
        found = found.plus(_opened(atom), times)
    return found.shifted(form.constant)


def _opened(atom: Expr) -> Linear:
    inner = atom.args[0] if atom.args else atom
    if atom.op == "cast" and inner.type.bits == 16 and inner.type.is_int:
        return _halfword_form(inner)
    wide = Type(atom.type.kind, 16, atom.type.lanes)
    if atom.type.bits == 16 and atom.op in _WIDENED:
        signs = zip(atom.args, _WIDENED[atom.op], strict=True)
        parts = [Linear({Expr("cast", wide, (arg,)): sign}, 0) for arg, sign in signs]
        return parts[0].plus(parts[1])
    if atom.type.bits == 16 and atom.op == "widening_mul" and atom.args[1].is_const:
        return Linear({Expr("cast", wide, (inner,)): int(atom.args[1].attr)}, 0)
    return Linear({atom: 1}, 0)


def _wrapped(number: int) -> int:
    """A number modulo 2**16, the one nearest to 0."""
    return (number - BIASED) % (1 << 16) + BIASED


class ByteSums:
    """Makes trees of sums of bytes; ``tree_of`` that of an operand."""

    def __init__(self, roles: Roles, trees: Trees, tree_of: Callable[[Expr], Tree]) -> None:
        self.trees, self.tree_of, self.bytes = trees, tree_of, roles.bytes
        self.has_pairs = roles.fills(weighted_pairs)

    def tree(self, node: Expr) -> Tree | None:
        """The tree of a sum of bytes; None where it is none, or lanes fill no registers."""
        if not self.has_pairs or node.type.lanes % self.bytes:
            return None
        form = byte_sum(node)
        if form is None or any(map(self._unordered, form.terms)):
            return None
        registers = node.type.lanes // self.bytes
        parts = [self._register(form.terms, at, node.type) for at in range(registers)]
        return self._with_rest(self.trees.joined([*parts]), form.rest, node.type)

    def _unordered(self, term: Expr) -> bool:
        """Whether a byte operand is no row of registers."""
        tree = self.tree_of(term)
        return isinstance(tree, Splat) or has_interleaved(tree)

    def _with_rest(self, tree: Tree, rest: Linear, kind: Type) -> Tree:
        for atom, times in rest.terms.items():
            factor = self.tree_of(const(times, kind))
            other = self.tree_of(atom)
            if times != 1:
                other = self.trees.mapped(lambda a, b: a * b, [other, factor], kind)
            tree = self.trees.mapped(plus, [tree, _as(kind, other, self.trees)], kind)
        if rest.constant:
            number = self.tree_of(const(rest.constant, kind))
            tree = self.trees.mapped(plus, [tree, number], kind)
        return tree

    # One register of bytes --------------------------------------------------------------------

    def _register(self, terms: Mapping[Expr, int], at: int, kind: Type) -> Tree:
        """Two registers of halfwords, the even and the odd lanes."""
        rows, single = _rows(terms)
        sums: list[Halves] = []
        chain: Halves | None = None
        for shape, places in rows.items():
            if len(places) > 1:
                sums.append(self._down(shape, places, at))
                continue
            (((first, by), times),) = places.items()
            taps = tuple(times * tap for tap in shape[1])
            chain = self._across((first, by), taps, at, chain)
        if chain is not None:
            sums.insert(0, chain)
        if single:
            sums.append(self._singles(single, at))
        total = sums[0]
        for other in sums[1:]:
            total = _added(total, other)
        element = vector(kind, self.bytes // 2)
        return Parts("interleave", tuple(_typed(half, element) for half in total))

    def _byte(self, term: Expr, at: int) -> Expr:
        return self.trees.registers(self.tree_of(term))[at]

    def _across(self, start: tuple[Expr, int], taps: tuple[int, ...], at: int,
                before: Halves | None = None) -> Halves:  # fmt: skip
        """Neighbours from ``start`` on, times ``taps``, added to what was ``before``."""
        load, by = start
        if not all(map(_is_byte, taps)):
            raise AssertionError("taps of rows are bytes")
        halves: list[Expr | None] = [*before] if before else [None, None]
        for half, offset, pair in _pairs(taps):
            register = self._byte(moved(load, by + offset), at)
            halves[half] = _plus_pair(halves[half], register, pair)
        even, odd = halves
        assert even is not None and odd is not None
        return even, odd

    def _down(self, shape: _Shape, places: Mapping[tuple[Expr, int], int], at: int) -> Halves:
        """Rows alike, each times a number: the sums of two rows that are next to each other, and of
        these, as long as that saves sums, for other rows have them too."""
        starts = sorted(places, key=lambda start: start[1])
        steps = {b[1] - a[1] for a, b in pairwise(starts)}
        step = min(steps)
        first = starts[0]
        if any(s % step for s in steps):
            return _weighted([(places[s], self._row(shape, s, at)) for s in starts])
        last = (starts[-1][1] - first[1]) // step
        factors = [places.get((first[0], first[1] + k * step), 0) for k in range(last + 1)]
        times, left = _binomial(factors)

        def sums(row: int, depth: int) -> Halves:
            if depth:
                return _added(sums(row, depth - 1), sums(row + 1, depth - 1))
            return self._row(shape, (first[0], first[1] + row * step), at)

        return _weighted([(n, sums(row, times)) for row, n in enumerate(left) if n])

    def _row(self, shape: _Shape, start: tuple[Expr, int], at: int) -> Halves:
        taps = shape[1]
        if _in_pairs(taps):
            return self._across(start, taps, at)
        load, by = start
        single = {moved(load, by + k): tap for k, tap in enumerate(taps) if tap}
        return self._singles(single, at)

    def _singles(self, terms: Mapping[Expr, int], at: int) -> Halves:
        """Bytes by themselves: sums and differences of two, products that are added to them, and
        products by what is no byte."""
        total: Expr | None = None
        far: list[Halves] = []
        for op, left, right in _units(terms):
            registers = [self._byte(term, at) for term in (left, right)]
            total = _accumulated(total, make(op, *registers))
        for term, times in _others(terms):
            register = self._byte(term, at)
            kind = vector(i16, self.bytes)
            if (factor := _factor(register.type, times)) is not None:
                value = make("widening_mul", register, factor)
                lone = times == 1 and len(terms) == 1
                total = _accumulated(total, Expr("cast", kind, (register,)) if lone else value)
            else:
                far.append(self._far(register, times))
        found = [*([_halves(total)] if total is not None else []), *far]
        return reduce(_added, found)

    def _far(self, register: Expr, times: int) -> Halves:
        """A product by a number that is no byte, or one further left."""
        shift = (times & -times).bit_length() - 1
        factor = _factor(register.type, times >> shift)
        if factor is None:
            wide, shift = Expr("cast", vector(i16, self.bytes), (register,)), 0
        else:
            wide, times = make("widening_mul", register, factor), 1 << shift
        even, odd = (_times(half, times) for half in _halves(_accumulated(None, wide)))
        return even, odd


def _halves(pair: Expr) -> Halves:
    lanes = pair.type.lanes // 2
    even, odd = (make("slice", pair, attr=(start, lanes)) for start in (0, lanes))
    return even, odd


def _as(kind: Type, tree: Tree, trees: Trees) -> Tree:
    """Halfwords of another sign."""
    return trees.mapped(lambda x: _sign(kind, x), [tree], kind)


def _sign(kind: Type, value: Expr) -> Expr:
    wanted = vector(kind, value.type.lanes)
    return value if value.type == wanted else Expr("cast", wanted, (value,))


def _typed(value: Expr, kind: Type) -> Expr:
    return value if value.type == kind else Expr("cast", kind, (value,))


def _added(a: Halves, b: Halves) -> Halves:
    even, odd = (plus(x, _typed(y, x.type)) for x, y in zip(a, b, strict=True))
    return even, odd


def _weighted(rows: list[tuple[int, Halves]]) -> Halves:
    """Rows times numbers, those with a sign last."""
    total: Halves | None = None
    for times, halves in sorted(rows, key=lambda row: row[0] < 0):
        even, odd = (_times(half, abs(times)) for half in halves)
        if total is None:
            total = (even, odd) if times > 0 else (_times(even, -1), _times(odd, -1))
        elif times > 0:
            total = _added(total, (even, odd))
        else:
            total = total[0] - _typed(even, total[0].type), total[1] - _typed(odd, total[1].type)
    assert total is not None
    return total


def _times(half: Expr, times: int) -> Expr:
    if times == 1:
        return half
    if times > 0 and times & (times - 1) == 0:
        return half << const(times.bit_length() - 1, half.type)
    return half * const(times, half.type)


# Rows of neighbours -------------------------------------------------------------------------------

_Shape = tuple[Expr, tuple[int, ...]]  # a load from place 0 of all such rows; taps


def moved(load: Expr, by: int) -> Expr:
    """A load so many elements further on."""
    index = from_linear(linear(load.args[0]).shifted(by))
    return Expr("load", load.type, (index, *load.args[1:]), load.attr)


def _rows(
    terms: Mapping[Expr, int],
) -> tuple[dict[_Shape, dict[tuple[Expr, int], int]], dict[Expr, int]]:
    """Rows of neighbours by their shape, each with the place where it begins and the number that
    it is times; and bytes by themselves."""
    found: dict[_Shape, dict[tuple[Expr, int], int]] = {}
    single: dict[Expr, int] = {}
    for load, offsets in _near(terms):
        for some in _clusters(sorted(offsets)):
            taps = tuple(offsets.get(o, 0) for o in range(some[0], some[-1] + 1))
            lead = next(tap for tap in taps if tap)
            times = gcd(*taps) * (1 if lead > 0 else -1)
            shape = load, tuple(tap // times for tap in taps)
            found.setdefault(shape, {})[load, some[0]] = times
    for (key, taps), places in [*found.items()]:
        several = len(places) > 1 and len(taps) > 1 and all(map(_is_byte, taps))
        whole = [tuple(times * tap for tap in taps) for times in places.values()]
        pairs = all(all(map(_is_byte, each)) for each in whole)
        if several or (len(taps) > 1 and pairs and _in_pairs(whole[0])):
            if sum(times > 0 for times in places.values()) * 2 < len(places):  # few are taken away
                del found[key, taps]
                found[key, tuple(-tap for tap in taps)] = {s: -n for s, n in places.items()}
            continue
        for (load, by), times in found.pop((key, taps)).items():
            for k, tap in enumerate(taps):
                single |= {moved(load, by + k): times * tap} if tap else {}
    return found, single | {t: c for t, c in terms.items() if not _is_row(t)}


def _is_row(term: Expr) -> bool:
    return term.op == "load" and term.type.element == u8


def _near(terms: Mapping[Expr, int]) -> Iterator[tuple[Expr, dict[int, int]]]:
    """Loads of one buffer whose places differ by a number: a load at 0, and numbers by place."""
    groups: dict[Expr, dict[int, int]] = {}
    for term, times in terms.items():
        if _is_row(term):
            form = linear(term.args[0])
            zero = moved(term, -form.constant)
            groups.setdefault(zero, {})[form.constant] = times
    yield from groups.items()


def _clusters(places: list[int]) -> list[list[int]]:
    found = [places[:1]]
    for place in places[1:]:
        if place - found[-1][-1] < NEAR:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def _is_byte(number: int) -> bool:
    return i8.low <= number <= i8.high


def _pairs(taps: tuple[int, ...]) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """(0 for even lanes or 1 for odd ones, byte from which to load, two factors). An odd number of
    taps reads at every second byte alone, an even one at each: none beyond the last tap."""
    count = len(taps)
    padded = (0, *taps, 0)
    for half, at in product((0, 1), range(0, count, 2)):
        if count % 2:
            pair = padded[at + 1 - half], padded[at + 2 - half]
            place = at
        else:
            pair, place = (taps[at], taps[at + 1]), at + half
        if any(pair):
            yield half, place, pair


def _in_pairs(taps: tuple[int, ...]) -> bool:
    """Whether neighbours are better taken two by two: an odd number then takes fewer loads."""
    pairs, singles = _by_pairs(taps), _by_singles(taps)
    return pairs < singles or (pairs == singles and len(taps) % 2 == 1)


def _by_pairs(taps: tuple[int, ...]) -> int:
    """Multipliers for a register of bytes."""
    return sum(1 for _ in _pairs(taps))


def _by_singles(taps: tuple[int, ...]) -> int:
    some = [tap for tap in taps if tap]
    units = sum(1 for tap in some if abs(tap) == 1) // 2
    return 2 * (len(some) - units)


def _binomial(factors: list[int]) -> tuple[int, list[int]]:
    """How often to sum neighbours, and the numbers by which the sums are taken then: 1 2 1 are
    sums of sums, each once."""
    best, cost = (0, factors), _sums(factors)
    depth, left = 0, factors
    while len(left) > 1 and (smaller := _without_pair(left)) is not None:
        depth, left = depth + 1, smaller
        if depth + _sums(left) <= cost:
            best, cost = (depth, left), depth + _sums(left)
    return best


def _sums(factors: list[int]) -> int:
    some = [n for n in factors if n]
    return len(some) - 1 + sum(1 for n in some if abs(n) > 1)


def _without_pair(factors: list[int]) -> list[int] | None:
    """What times (1 1) gives the factors."""
    found: list[int] = []
    for factor in factors[:-1]:
        found.append(factor - (found[-1] if found else 0))
    return found if found[-1] == factors[-1] else None


# Instructions -------------------------------------------------------------------------------------


def _plus_pair(total: Expr | None, register: Expr, pair: tuple[int, int]) -> Expr:
    """Each two bytes times two factors, added to ``total``."""
    four = make("concat", *(const(factor, i8) for factor in pair * 2))
    wide = vector(i16, register.type.lanes)
    factors = make("tile", four, attr=register.type.lanes // 4)
    products = Expr("cast", wide, (register,)) * Expr("cast", wide, (factors,))
    found = make("group_sum", products, attr=2)
    return found if total is None else total + found


def _units(terms: Mapping[Expr, int]) -> Iterator[tuple[str, Expr, Expr]]:
    """Sums and differences of two bytes without a sign."""
    up, down = ([t for t in terms if terms[t] == n and t.type.element == u8] for n in (1, -1))
    while len(up) > 1:
        yield "widening_add", up.pop(0), up.pop(0)
    if up and down:
        yield "widening_sub", up.pop(0), down.pop(0)


def _others(terms: Mapping[Expr, int]) -> Iterator[tuple[Expr, int]]:
    """What is in no unit."""
    taken = {term for _, left, right in _units(terms) for term in (left, right)}
    yield from ((term, times) for term, times in terms.items() if term not in taken)


def _factor(kind: Type, times: int) -> Expr | None:
    """A number as the byte by which a register of bytes is multiplied, if it is one."""
    if _is_byte(times):
        return const(times, vector(i8, kind.lanes))
    if kind.element == u8 and 0 <= times <= u8.high:
        return const(times, vector(u8, kind.lanes))
    return None


def _accumulated(total: Expr | None, value: Expr) -> Expr:
    """Halfwords as a pair of even and odd lanes, added to ``total``."""
    pair = dealt_pair(value)[0].args[0]
    if total is None:
        return pair
    return _typed(total, pair.type) + pair
