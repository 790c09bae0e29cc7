"""Draw who says what to whom: lanes from top to bottom, and messages between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .canvas import LINE_HEIGHT, SIZE, SMALL, WIDTH, Canvas, PictureError, width_of, wrapped

_MARGIN: Final = 12.0
_PAD: Final = 8.0


@dataclass(frozen=True)
class Lane:
    """One who takes part.

    :ivar name: its name, for messages and for the reader.
    :ivar below: a second line under the name.
    :ivar width: how much room it has, compared with the others.
    """

    name: str
    below: str = ""
    width: float = 1.0


@dataclass(frozen=True)
class Message:
    """An arrow from one lane to another.

    :ivar text: what is said; backquotes enclose code.
    :ivar reply: whether it answers, so that its line is dashed.
    :ivar tone: "", "accent", "good" or "bad".
    :ivar numbered: whether it has the next number, to which a page can refer.
    """

    sender: str
    receiver: str
    text: str
    reply: bool = False
    tone: str = ""
    numbered: bool = False


@dataclass(frozen=True)
class Note:
    """A box across lanes: what happens there.

    :ivar lanes: the first lane, and the last one.
    """

    lanes: tuple[str, ...]
    text: str
    tone: str = "plain"
    numbered: bool = False


@dataclass(frozen=True)
class Part:
    """A heading across the picture: a new part begins."""

    text: str


@dataclass(frozen=True)
class Conversation:
    """A picture of messages between lanes.

    :ivar width: its pixels; few lanes need fewer, so that a phone shows more of them at once.
    """

    title: str
    description: str
    lanes: Sequence[Lane]
    steps: Sequence[Message | Note | Part]
    width: float = WIDTH

    def draw(self, name: str) -> str:
        """Return the picture as SVG."""
        return _Drawing(self, Canvas(name, self.title, self.description, self.width)).svg()


class _Drawing:
    def __init__(self, picture: Conversation, canvas: Canvas) -> None:
        self.picture, self.canvas = picture, canvas
        self.count = 0
        numbers = any(getattr(step, "numbered", False) for step in picture.steps)
        self.left = _MARGIN + (26 if numbers else 0)
        room = canvas.width - self.left - _MARGIN
        total = sum(lane.width for lane in picture.lanes)
        self.middle: dict[str, float] = {}
        self.widths: dict[str, float] = {}
        x = self.left
        for lane in picture.lanes:
            width = room * lane.width / total
            self.middle[lane.name], self.widths[lane.name] = x + width / 2, width
            x += width

    def svg(self) -> str:
        canvas = self.canvas
        y = top = self._heads()
        place = len(canvas.elements)
        for step in self.picture.steps:
            match step:
                case Message():
                    y = self._message(step, y)
                case Note():
                    y = self._note(step, y)
                case Part():
                    y = self._part(step, y)
        canvas.height = y + _MARGIN + 6
        lines = [
            f'<line class="life" x1="{x:.0f}" x2="{x:.0f}" y1="{top:.0f}" y2="{y + 4:.0f}"/>'
            for x in self.middle.values()
        ]
        canvas.elements[place:place] = lines
        return canvas.svg()

    def _heads(self) -> float:
        lanes = self.picture.lanes
        inner = {lane.name: self.widths[lane.name] - 18 for lane in lanes}
        names = {lane.name: wrapped(lane.name, inner[lane.name], SIZE, True) for lane in lanes}
        below = {
            lane.name: wrapped(lane.below, inner[lane.name], SMALL) if lane.below else []
            for lane in lanes
        }
        height = _PAD * 2 + max(
            (len(names[lane.name]) * SIZE + len(below[lane.name]) * SMALL) * LINE_HEIGHT
            for lane in lanes
        )
        for lane in lanes:
            x, width = self.middle[lane.name], self.widths[lane.name] - 8
            self.canvas.box(x - width / 2, _MARGIN, width, height, "plain")
            text = (len(names[lane.name]) * SIZE + len(below[lane.name]) * SMALL) * LINE_HEIGHT
            y = _MARGIN + (height - text) / 2
            y = self.canvas.text(names[lane.name], x, y, classes="strong")
            self.canvas.text(below[lane.name], x, y, small=True, classes="dim")
        return _MARGIN + height

    def _at(self, name: str) -> float:
        if name not in self.middle:
            raise PictureError(f"`{name}` is no lane; there are {', '.join(self.middle)}")
        return self.middle[name]

    def _number(self, step: Message | Note, y: float) -> None:
        if step.numbered:
            self.count += 1
            x = _MARGIN + 11
            self.canvas.add(f'<circle class="box-accent" cx="{x:.0f}" cy="{y:.1f}" r="10.5"/>')
            self.canvas.text([str(self.count)], x, y - 8.6, small=True, classes="strong accent")

    def _message(self, step: Message, y: float) -> float:
        start, end = self._at(step.sender), self._at(step.receiver)
        if start == end:
            raise PictureError(f"{step.text!r}: a lane says nothing to itself; use a note")
        lines = wrapped(step.text, abs(end - start) - 10, SMALL)
        ink = step.tone or "ink"
        y = self.canvas.text(lines, (start + end) / 2, y + 9, small=True, classes=f"over {ink}")
        y += 5
        self.canvas.arrow([(start, y), (end, y)], tone=step.tone, dashed=step.reply)
        self._number(step, y)
        return y + 3

    def _note(self, step: Note, y: float) -> float:
        first, last = self._at(step.lanes[0]), self._at(step.lanes[-1])
        reach = min(self.widths[step.lanes[0]], self.widths[step.lanes[-1]]) / 2 - 4
        left, right = first - reach, last + reach
        lines = wrapped(step.text, right - left - 2 * _PAD, SMALL)
        height = len(lines) * SMALL * LINE_HEIGHT + 2 * _PAD - 2
        y += 10
        self.canvas.box(left, y, right - left, height, step.tone)
        ink = step.tone if step.tone in ("accent", "good", "bad") else "ink"
        self.canvas.text(lines, (left + right) / 2, y + _PAD - 1, small=True, classes=ink)
        self._number(step, y + height / 2)
        return y + height + 2

    def _part(self, step: Part, y: float) -> float:
        y += 16
        x = self.left
        self.canvas.line([(x, y + 9), (self.canvas.width - _MARGIN, y + 9)])
        width = width_of(step.text, SIZE, True) + 16
        self.canvas.add(
            f'<rect class="sheet" style="stroke: none" x="{x + 12:.0f}" y="{y:.1f}" '
            f'width="{width:.0f}" height="19"/>'
        )
        self.canvas.text([step.text], x + 20, y, anchor="start", classes="strong")
        return y + 22
