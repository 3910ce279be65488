"""Windows that slide over an image: their geometry, and the padded copy that they read."""

from __future__ import annotations

from dataclasses import dataclass

from ..tir.expr import Expr
from ..tir.places import ALIGN
from ..tir.stmt import Buffer, Store
from ..tir.types import u8
from .attributes import Pads, pads, pair
from .graph import Node
from .lower_nest import LoopAxis, Nests, variables
from .physical import round_up

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """Kernel, stride, dilation (rows, columns) and padding ((top, bottom), (left, right))."""

    kernel: Size = (1, 1)
    stride: Size = (1, 1)
    dilation: Size = (1, 1)
    padding: Pads = ((0, 0), (0, 0))

    @staticmethod
    def of(node: Node, kernel: Size) -> Window:
        dilation = pair(node, "dilation") if "dilation" in node.attrs else (1, 1)
        return Window(kernel, pair(node, "stride"), dilation, pads(node))

    def span(self, count: Size) -> Size:
        """Rows and columns that ``count`` windows read, from the first padded one on."""
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        return (count[0] - 1) * sh + (kh - 1) * dh + 1, (count[1] - 1) * sw + (kw - 1) * dw + 1

    def row(self, at: Expr, tap: Expr) -> Expr:
        return _affine(at, self.stride[0], tap, self.dilation[0])

    def column(self, at: Expr, tap: Expr) -> Expr:
        return _affine(at, self.stride[1], tap, self.dilation[1])

    @property
    def taps(self) -> list[LoopAxis]:
        return [LoopAxis("kh", self.kernel[0], True), LoopAxis("kw", self.kernel[1], True)]

    @property
    def facts(self) -> dict[str, object]:
        return {
            "kernel": self.kernel,
            "stride": self.stride,
            "dilation": self.dilation,
            "padding": self.padding,
        }

    def unpadded(self, size: Size, count: Size) -> bool:
        """``count`` windows read nothing outside of the input of ``size``."""
        (top, _), (left, _) = self.padding
        span = self.span(count)
        return top == left == 0 and span[0] <= size[0] and span[1] <= size[1]


def _affine(at: Expr, stride: int, tap: Expr, dilation: int) -> Expr:
    scaled = at if stride == 1 else at * stride
    return scaled + (tap if dilation == 1 else tap * dilation)


@dataclass(frozen=True, slots=True)
class WindowSource:
    """An input image: its buffer, its logical rows and columns."""

    buffer: Buffer
    size: Size


def reads_direct(x: WindowSource, window: Window, count: Size, columns: int, channels: int) -> bool:
    """``columns`` windows (pads of the output included) may read the input where it lies."""
    reach = window.span((count[0], columns))
    _, _, wide, deep = x.buffer.shape
    return window.unpadded(x.size, count) and reach[1] <= wide and channels <= deep


def windowed(
    nests: Nests,
    x: WindowSource,
    window: Window,
    count: Size,
    columns: int,
    channels: int,
    fill: Expr,
    dense: bool = False,
) -> Buffer:
    """The buffer that windows read at [n, row, column, channel]: the input, or a padded copy.

    ``count`` windows are wanted, ``columns`` of them a row are computed. For ``dense`` reductions
    the copy has a round number of columns and channels, so that vectors can sum its pixels.
    """
    if reads_direct(x, window, count, columns, channels) and not dense:
        return x.buffer
    images, _, _, deep = x.buffer.shape
    height, width = window.span((count[0], columns))
    stored = channels
    if dense:
        width, stored = round_up(width, ALIGN // 4), _summable(channels)
    xp = nests.alloc(Buffer("xp", u8, (images, height, width, stored), "tcm"))
    (top, _), (left, _) = window.padding
    rows, cols = min(x.size[0], height - top), min(x.size[1], width - left)
    depth = min(channels, deep)
    if (rows, cols, depth) != (height, width, stored):
        whole = image_axes(xp.shape)
        nests.add("fill", whole, Store(xp, variables(whole), fill))
    if rows > 0 and cols > 0:
        inner = image_axes((images, rows, cols, depth))
        n, h, w, c = variables(inner)
        at = (n, h + top if top else h, w + left if left else w, c)
        nests.add("copy", inner, Store(xp, at, x.buffer[n, h, w, c]))
    return xp


def _summable(channels: int) -> int:
    """Channels with pads: words in a power of two, or whole registers."""
    if channels > ALIGN:
        return round_up(channels, ALIGN)
    return 4 << max(-(-channels // 4) - 1, 0).bit_length()


def image_axes(sizes: tuple[int, ...]) -> list[LoopAxis]:
    return [LoopAxis(name, size) for name, size in zip(("n", "ih", "iw", "c"), sizes, strict=True)]
