"""Loops around loops, turned so that what begins an iteration runs beside what ends the last one.

    loop1 n: head, kernel, tail    ->    head
                                         loop1 n - 1: kernel, tail and the next head
                                         kernel, tail

A tile of a product begins with loads and sums that wait for each other and ends with products of
another kind: packed together, each fills what the other leaves. The last kernel and tail are
copies with labels of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from . import scalar_rows
from .machine import LOOPS
from .steps import BasicBlock, BytesTouched, Node, Step, Trip, blocks

MOST = 512  # instructions up to which an iteration is written out once more

Moved = Callable[[BytesTouched], BytesTouched]


def rotate(
    nodes: list[Node], label: Callable[[], str], still: frozenset[str] = frozenset()
) -> list[Node]:
    """The nodes with their hardware loops around loops turned, but for the ``still`` ones;
    ``label`` gives fresh labels."""
    done: list[Node] = []
    rest: list[list[Step]] = []  # the tail of the last iteration, which joins the next block
    for node in nodes:
        if isinstance(node, BasicBlock):
            if not node.packets:
                node.groups, rest = rest + node.groups, []
            done.append(node)
            continue
        node.body = rotate(node.body, label, still)
        before = done[-1] if done else None
        turns = node.label not in still and _able(node)
        if isinstance(before, BasicBlock) and not before.packets and turns:
            *more, last = _turned(node, before, label)
            assert isinstance(last, BasicBlock)
            done += [node, *more]
            rest = last.groups
        else:
            done.append(node)
    assert not rest
    return done


def _able(trip: Trip) -> bool:
    """Whether a hardware loop of a known count begins and ends beside a loop and calls nothing."""
    if trip.level != 1 or trip.trips is None or trip.setup is None or trip.trips < LOOPS.turned:
        return False
    if trip.setup.facts.row is not scalar_rows.LOOP_COUNT[1] or len(trip.body) < 3:
        return False
    ends = [node for node in (trip.body[0], trip.body[-1]) if isinstance(node, BasicBlock)]
    if len(ends) < 2 or not all(end.groups for end in ends):
        return False
    steps = [step for block in blocks(trip.body) for step in _steps(block)]
    counted = all(t.setup is not None and t.setup.facts.row is scalar_rows.LOOP_COUNT[0]
                  for t in trip.body if isinstance(t, Trip))  # fmt: skip
    return counted and len(steps) <= MOST and not any(step.is_call for step in steps)


def _steps(block: BasicBlock) -> Iterable[Step]:
    for group in block.packets or block.groups:
        yield from group


def _turned(trip: Trip, before: BasicBlock, label: Callable[[], str]) -> list[Node]:
    """Turns the loop, puts its first head into ``before``; gives the last kernel and tail."""
    first, *inner, last = trip.body
    assert isinstance(first, BasicBlock) and isinstance(last, BasicBlock)
    assert trip.trips is not None and trip.setup is not None
    variable, end = trip.variable, trip.trips - 1
    labels = {node.label: label() for node in inner if isinstance(node, Trip)}
    final = [_copy(node, lambda a: a.at(variable, end), labels) for node in (*inner, last)]
    again = [_step(s, lambda a: a, labels) for s in _steps(first) if s.target in labels]
    before.groups += _groups(first.groups, lambda a: a.at(variable, 0), {})
    last.groups = last.groups + _groups(first.groups, lambda a: _next(a, variable), {})
    trip.body, trip.trips, trip.setup.operands = [*inner, last], end, (end,)
    return [BasicBlock([[step] for step in again]), *final]


def _next(access: BytesTouched, variable: str) -> BytesTouched:
    """The same access in the loop's next iteration."""
    return replace(access, offset=access.offset + dict(access.terms).get(variable, 0))


def _copy(node: Node, moved: Moved, labels: Mapping[str, str]) -> Node:
    if isinstance(node, BasicBlock):
        return BasicBlock(_groups(node.groups, moved, labels), _groups(node.packets, moved, labels),
                     node.kind)  # fmt: skip
    body = [_copy(inner, moved, labels) for inner in node.body]
    return Trip(node.variable, node.trips, node.level, labels.get(node.label, node.label), body,
                dict(node.bumps), node.least)  # fmt: skip


def _groups(groups: list[list[Step]], moved: Moved, labels: Mapping[str, str]) -> list[list[Step]]:
    return [[_step(step, moved, labels) for step in group] for group in groups]


def _step(step: Step, moved: Moved, labels: Mapping[str, str]) -> Step:
    """A copy that may be renamed by itself."""
    access = moved(step.access) if step.access is not None else None
    copy = step.renamed({}, step.imm, access)
    copy.target = labels.get(step.target, step.target)
    return copy
