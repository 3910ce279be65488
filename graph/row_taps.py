"""Kernel columns as channels: windows over an image of one channel read its rows in words.

    conv2d(x (1, 1, 49, 10), w (64, 1, 10, 4), stride (2, 2), padding (4, 5), (1, 1))
        ->  p = pad(x)                (1, 1, 49, 12)
            y = move(p)               (1, 4, 49, 5)       y[t, h, w] = p[h, 2 * w + t]
            conv2d(y, w (64, 4, 10, 1), stride (2, 1), padding (4, 5), (0, 0))

A product of words takes four channels, and of a single one three of four are pads: where outputs
lie in lanes, neighbouring columns fill words instead. Sums are the same. It is done where the
products that it saves take longer than the moves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from .attributes import pads, pair
from .compose import KERNEL, cost
from .graph import Graph, Node
from .integer import integer_of
from .moves import Move, merged
from .physical import physical

LANES = 32  # words of a register
WORD = 4  # elements of a word
DOT = 64  # what the products of a register's words cost, in bytes that are copied by vectors


def row_taps(graph: Graph) -> Graph:
    """The integer graph with kernel columns as channels where that saves something."""
    made = graph.without_nodes()
    for node in graph.nodes:
        taps = RowTaps.of(graph, node)
        made.nodes += [node] if taps is None or not taps.saves() else taps.spread(made)
    return made


@dataclass(frozen=True, slots=True)
class RowTaps:
    """A convolution of one channel: its result's (N, O, H, W), its weight's taps, and its input."""

    node: Node
    shape: tuple[int, ...]
    taps: tuple[int, int]
    source: tuple[int, ...]

    @staticmethod
    def of(graph: Graph, node: Node) -> RowTaps | None:
        """None where windows are a single column, or of several channels."""
        if not integer_of(node).convolves:
            return None
        source, weight = (graph.types[name].shape for name in node.inputs[:2])
        if source[1] > 1 or weight[3] == 1:
            return None
        return RowTaps(node, graph.types[node.output].shape, (weight[2], weight[3]), source)

    @property
    def padded(self) -> tuple[int, ...]:
        """The input's shape with pads left and right."""
        return (*self.source[:3], self.source[3] + sum(pads(self.node)[1]))

    @property
    def moved(self) -> tuple[int, ...]:
        return self.source[0], self.taps[1], self.source[2], self.shape[3]

    @property
    def move(self) -> Move:
        (images, _, height, width), (_, wide) = self.padded, self.taps
        step, pace = pair(self.node, "stride")[1], pair(self.node, "dilation")[1]
        digits = [(images, height * width), (wide, pace), (height, width), (self.shape[3], step)]
        return merged(digits)

    def saves(self) -> bool:
        """Whether products cost less then, moves included, with outputs in lanes; before, pixels
        may lie there, and words have kernel columns already."""
        images, outputs, height, width = self.shape
        (high, wide), vectors = self.taps, -(-outputs // LANES)
        words, pixels = -(-wide // WORD), images * height * width
        after = pixels * vectors * high * words
        by_pixels = images * height * -(-width // LANES) * outputs * high * words
        before = min(pixels * vectors * high * wide, by_pixels)
        moves = cost(self.move, self.padded, self.moved)
        if self.padded != self.source:
            moves += KERNEL + 2 * prod(physical(self.padded))
        return moves < (before - after) * DOT

    def spread(self, graph: Graph) -> list[Node]:
        """The nodes that take its place; their tensors and the weight enter the graph."""
        node, (x, weight, bias), origin = self.node, self.node.inputs, self.node.origin
        (rows, columns), kind, made = pads(node), graph.types[x], list[Node]()
        if any(columns):
            name, around = graph.fresh(x), ((0, 0), (0, 0), (0, 0), columns)
            attrs = {"padding": around, "value": node.attrs["x_zero"]}
            made.append(Node("pad", (x,), name, attrs, origin))
            graph.types[name], x = replace(kind, shape=self.padded), name
        move, name = self.move, graph.fresh(x)
        digits = {"extents": move.extents, "strides": move.strides, "offset": 0}
        made.append(Node("move", (x,), name, {"shape": self.moved, **digits}, origin))
        graph.types[name], by_channel = replace(kind, shape=self.moved), graph.fresh(weight)
        taps = np.ascontiguousarray(graph.constants[weight].transpose(0, 3, 2, 1))
        graph.constants[by_channel] = taps
        graph.types[by_channel] = replace(graph.types[weight], shape=taps.shape)
        steps = {"stride": (pair(node, "stride")[0], 1), "dilation": (pair(node, "dilation")[0], 1),
                 "padding": (rows, (0, 0)), "products": self.products()}  # fmt: skip
        inputs = (name, by_channel, bias)
        return [*made, replace(node, inputs=inputs, attrs={**node.attrs, **steps})]

    def products(self) -> int:
        """Those that touch data, as the node says: not those of the pads that move."""
        shapes = self.source, (self.shape[1], 1, *self.taps), self.shape[1:2]
        return integer_of(self.node).products(self.node, shapes, self.shape)
