"""Draw boxes with text, and arrows between them, where the description puts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .canvas import LINE_HEIGHT, SIZE, SMALL, Canvas, PictureError, wrapped

_PAD: Final = 9.0


@dataclass(frozen=True)
class Box:
    """A box with a heading and text.

    :ivar name: for arrows; the picture does not show it.
    :ivar tone: "plain", "paper", "accent", "good" or "bad".
    :ivar anchor: "middle", or "start" for text that begins at the left.
    """

    name: str
    x: float
    y: float
    width: float
    height: float
    heading: str = ""
    text: str = ""
    tone: str = "plain"
    anchor: str = "middle"


@dataclass(frozen=True)
class Arrow:
    """An arrow from the edge of a box to the edge of another.

    :ivar sides: from which side, and to which: "top", "bottom", "left" or "right".
    :ivar shift: pixels to the right or down from the middle of both sides.
    :ivar label: text beside its middle.
    :ivar both: whether it has two heads.
    """

    start: str
    end: str
    sides: tuple[str, str] = ("bottom", "top")
    label: str = ""
    shift: tuple[float, float] = (0.0, 0.0)
    dashed: bool = False
    both: bool = False
    tone: str = ""


@dataclass(frozen=True)
class Label:
    """Text without a box, which begins at x."""

    x: float
    y: float
    text: str
    ink: str = "dim"
    width: float = 300.0
    anchor: str = "start"
    strong: bool = False


@dataclass(frozen=True)
class Boxes:
    """A picture of boxes and arrows."""

    title: str
    description: str
    height: float
    items: Sequence[Box | Arrow | Label]

    def draw(self, name: str) -> str:
        """Return the picture as SVG."""
        canvas = Canvas(name, self.title, self.description, height=self.height)
        boxes = {item.name: item for item in self.items if isinstance(item, Box)}
        for item in self.items:
            match item:
                case Box():
                    _box(canvas, item)
                case Arrow():
                    _arrow(canvas, item, boxes)
                case Label():
                    strong = "strong " if item.strong else ""
                    lines = wrapped(item.text, item.width, SMALL, item.strong)
                    canvas.text(lines, item.x, item.y, anchor=item.anchor, small=True,
                                classes=f"{strong}{item.ink}")  # fmt: skip
        return canvas.svg()


def _box(canvas: Canvas, box: Box) -> None:
    canvas.box(box.x, box.y, box.width, box.height, box.tone)
    room = box.width - 2 * _PAD
    heading = wrapped(box.heading, room, SIZE, True) if box.heading else []
    text = wrapped(box.text, room, SMALL) if box.text else []
    needed = (len(heading) * SIZE + len(text) * SMALL) * LINE_HEIGHT
    if needed > box.height - 6:
        raise PictureError(f"box {box.name!r} needs a height of {needed + 6:.0f}")
    is_centred = box.anchor == "middle"
    x = box.x + (box.width / 2 if is_centred else _PAD)
    y = box.y + ((box.height - needed) / 2 if is_centred else _PAD - 2)
    ink = box.tone if box.tone in ("accent", "good", "bad") else "ink"
    y = canvas.text(heading, x, y, anchor=box.anchor, classes=f"strong {ink}")
    canvas.text(text, x, y, anchor=box.anchor, small=True, classes="ink")


def _side(box: Box, side: str, shift: float) -> tuple[float, float]:
    match side:
        case "top":
            return box.x + box.width / 2 + shift, box.y
        case "bottom":
            return box.x + box.width / 2 + shift, box.y + box.height
        case "left":
            return box.x, box.y + box.height / 2 + shift
        case "right":
            return box.x + box.width, box.y + box.height / 2 + shift
    raise PictureError(f"a box has no side {side!r}")


def _arrow(canvas: Canvas, arrow: Arrow, boxes: dict[str, Box]) -> None:
    for name in (arrow.start, arrow.end):
        if name not in boxes:
            raise PictureError(f"there is no box {name!r}")
    start = _side(boxes[arrow.start], arrow.sides[0], arrow.shift[0])
    end = _side(boxes[arrow.end], arrow.sides[1], arrow.shift[1])
    canvas.arrow([start, end], tone=arrow.tone, dashed=arrow.dashed)
    if arrow.both:
        canvas.arrow([end, start], tone=arrow.tone, dashed=arrow.dashed)
    if arrow.label:
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        ink = arrow.tone or "dim"
        if abs(start[0] - end[0]) < abs(start[1] - end[1]):
            canvas.text([arrow.label], x + 9, y - 8, anchor="start", small=True,
                        classes=f"over {ink}")  # fmt: skip
        else:
            canvas.text([arrow.label], x, y - 20, small=True, classes=f"over {ink}")
