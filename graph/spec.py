"""What an operator of the graph is: all that the compiler knows of it, in one place.

A file of ``graph/operators`` describes an operator in ``SPECS``; importer, evaluators, bound,
quantizer and lowering read their tables from these (``graph/operators/__init__.py``). An operator
has up to three forms, each of which may be missing:

    ATen calls        nn.Conv2d  ->  aten.conv2d          rows of ``aten``
    a float operator  conv2d(x, w, b) stride padding ...  ``meaning``, by the name ``name``
    an integer one    q_conv2d(x, w, b) x_zero requant    ``integer``, by a name of its own

Softmax, for example, has all of them; an attention has ATen calls alone, for it is made of other
operators; ``move`` is an integer operator alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from .attributes import Shape
from .graph import Array, Graph, Node
from .moves import Move

if TYPE_CHECKING:
    from ..tir.expr import Expr
    from .emitting import Emitter, FloatStep, PartialSums
    from .kernels import Kernel
    from .lower_site import Site

Attrs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Aten:
    """ATen calls, by name with or without an overload, and what becomes of them.

    ``read(builder, **arguments)`` has the parameters of the call by their ATen names, tensors as
    values (``graph/graph_builder.py``), and returns the value of the result; ``Unsupported`` where
    it cannot keep the meaning. ``whole``: torch is not to decompose the call. ``truths``: it gives
    truth values, which graphs have as 0 and 1. ``public`` is the operator as its users call it,
    where the call has another name.
    """

    names: tuple[str, ...]
    read: Callable[..., Any]
    whole: bool = False
    truths: bool = False
    public: str = ""


def no_products(node: Node, shapes: Sequence[Shape], output: Shape) -> int:
    return 0


def reads_all(node: Node, shapes: Sequence[Shape], position: int) -> int:
    return prod(shapes[position])


def never(node: Node) -> bool:
    return False


def always(node: Node) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Turning:
    """How an integer operator runs in the other of the ranks 3 and 4 (``graph/ranks.py``).

    ``attrs(node, rank, places)`` are its attributes there: ``places`` has the axes that are an axis
    there, too, and where they are; None where it has no such form. ``activations`` are the first
    inputs that are turned with it, all of them where None. ``cost(node, shape)`` is what a stored
    byte of a result of ``shape`` takes; ``ranked``: this depends on which axis is innermost.
    """

    attrs: Callable[[Node, int, Mapping[int, int]], Attrs | None]
    cost: Callable[[Node, Shape], int]
    activations: int | None = 1
    ranked: bool = False
    reduces: bool = False  # the axes of attribute ``axes``, which the result keeps with extent 1


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer operator: exact meaning, shape rule, products, elements read, loops, facts.

    ``elements`` are the inputs' elements in order; a last ``*`` repeats the one before it. The
    result is always u8. ``shape`` also holds the attributes to their rules.
    """

    name: str
    elements: tuple[str, ...]
    evaluate: Callable[[Node, Sequence[Array]], Array]
    shape: Callable[[Node, Sequence[Shape]], Shape]
    lower: Callable[[Site], Kernel]
    # Products that touch data: a tap that falls into padding is none.
    products: Callable[[Node, Sequence[Shape], Shape], int] = no_products
    # Elements of the input at a position on which the result depends.
    reads: Callable[[Node, Sequence[Shape], int], int] = reads_all
    # Whether bytes stay as they are, so that transfers may do all of it.
    moves: Callable[[Node], bool] = never
    # The affine map of an operator that takes each byte from a place: ``move(node, input shape)``.
    move: Callable[[Node, Shape], Move] | None = None
    turning: Turning | None = None
    # It works element by element: ``point(site)`` gives what makes an element of those at its place
    # in all inputs.
    point: Callable[[Site], Callable[..., Expr]] | None = None
    anchors: bool = False  # other operators may work on its results before they are stored
    looks_up: bool = False  # each byte for itself, in a table that is the second input
    joins: bool = False  # inputs along ``axis``, each by a move of the attribute ``moves``
    spreads: bool = False  # its operands broadcast
    # It has a weight (O, C / groups, KH, KW) and a bias; stride, dilation, padding of both axes.
    convolves: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """One operator. ``meaning(torch, *tensors, **attrs)`` is the float operator, in PyTorch's
    logical shapes: positional parameters are tensors, keyword-only ones the attributes.

    ``quantize(emitter, step)`` writes the integer form; what it may say is ``graph/emitting.py``.
    """

    name: str
    aten: tuple[Aten, ...] = ()
    meaning: Callable[..., Any] | None = None
    quantize: Callable[[Emitter, FloatStep], None] | None = None
    integer: Integer | None = None
    # Facts of both forms.
    reshapes: bool = False  # nothing but the shape changes
    pads_zeros: bool = False  # windows read zeros around the image, by the attribute ``padding``
    # Facts of the float operator.
    pointwise: bool = False  # of one value at a time: a table in integers
    arithmetic: bool = False  # of values at one place of several tensors
    clamped: bool = False  # a clamp behind it goes into its own requantization
    limits: Callable[[Attrs], tuple[float, float]] | None = None  # it is a clamp between these
    # Whether inputs behind the first one are weights: ``weighted(graph, inputs)``.
    weighted: Callable[[Graph, Sequence[str]], bool] | None = None
    moves: bool = False  # its results are values of its inputs
    selects: bool = False  # ... chosen by size, from windows that may be empty
    fill: str = ""  # the attribute whose value stands beside the inputs'
    probabilities: str = ""  # the attribute with the axis along which results sum to 1
    # The axis of a result of a rank that has the channels, which are the first axis of its weights.
    channel_axis: Callable[[int], int] | None = None
    commutes: bool = False  # its two operands
    # What it is where inputs are known, as in ``known(graph, node)``: perhaps another node.
    known: Callable[[Graph, Node], Node] | None = None
    # ... where no weights before it took those numbers.
    left: Callable[[Graph, Node], Node] | None = None
    # Appends the node, or what sums its parts where i32 cannot hold its sum.
    shorten: Callable[[PartialSums, Node], None] | None = None
    # By a number a channel: ``on_channels(scale, shift, number)`` are the scale and shift after it.
    on_channels: Callable[[Array, Array, Array], tuple[Array, Array]] | None = None
    # Where it puts an axis: ``axis_after(node, shape, output shape, axis)``; None where it cuts it.
    axis_after: Callable[[Node, Shape, Shape, int], int | None] | None = None
