"""Draw what lasts how long: rows of bars and marks over one axis of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .canvas import LINE_HEIGHT, SMALL, Canvas, PictureError, number, width_of, wrapped

_MARGIN: Final = 14.0
_BAR: Final = 24.0


@dataclass(frozen=True)
class Bar:
    """Something that lasts from one time to another.

    :ivar tone: "plain", "paper", "accent", "good" or "bad".
    """

    start: float
    end: float
    text: str = ""
    tone: str = "plain"


@dataclass(frozen=True)
class Mark:
    """Something that happens at a time.

    :ivar text: what it is, below it.
    :ivar through: whether a line goes through the rows.
    """

    at: float
    text: str
    tone: str = "accent"
    through: bool = False


@dataclass(frozen=True)
class Row:
    """Bars or marks of one kind, with a heading above them."""

    heading: str
    items: Sequence[Bar | Mark]


@dataclass(frozen=True)
class Timeline:
    """A picture of what happens when.

    :ivar ticks: times on the axis, with their text.
    """

    title: str
    description: str
    ticks: Sequence[tuple[float, str]]
    rows: Sequence[Row]

    def draw(self, name: str) -> str:
        """Return the picture as SVG."""
        return _Drawing(self, Canvas(name, self.title, self.description)).svg()


class _Drawing:
    def __init__(self, picture: Timeline, canvas: Canvas) -> None:
        self.picture, self.canvas = picture, canvas
        times = [time for time, _ in picture.ticks]
        self.first, self.last = min(times), max(times)
        self.left, self.right = _MARGIN + 20, canvas.width - _MARGIN - 20
        self.through: list[tuple[float, float, str]] = []

    def svg(self) -> str:
        canvas = self.canvas
        y = _MARGIN
        for row in self.picture.rows:
            y = canvas.text([row.heading], _MARGIN, y, anchor="start", classes="strong") + 4
            y = max(self._bars(row, y), self._marks(row, y)) + 12
        self._axis(y)
        for x, top, tone in self.through:
            names = f"way dashed way-{tone}"
            canvas.elements.insert(
                0, f'<path class="{names}" d="M{number(x)} {number(top)}V{number(y)}"/>'
            )
        canvas.height = y + 34
        return canvas.svg()

    def _x(self, time: float) -> float:
        if not self.first <= time <= self.last:
            raise PictureError(f"{time} is outside the axis")
        part = (time - self.first) / (self.last - self.first)
        return self.left + part * (self.right - self.left)

    def _bars(self, row: Row, y: float) -> float:
        """Draw the bars of a row; bars that overlap are below each other."""
        ends: list[float] = []
        for bar in (item for item in row.items if isinstance(item, Bar)):
            level = next((at for at, end in enumerate(ends) if end <= bar.start), len(ends))
            ends[level : level + 1] = [bar.end]
            start, end = self._x(bar.start), self._x(bar.end)
            top = y + level * (_BAR + 4)
            self.canvas.box(start, top, end - start, _BAR, bar.tone)
            if width_of(bar.text, SMALL) > end - start - 8:
                raise PictureError(f"{bar.text!r} needs more than {end - start - 8:.0f} pixels")
            ink = bar.tone if bar.tone in ("accent", "good", "bad") else "ink"
            self.canvas.text([bar.text], (start + end) / 2, top + 4, small=True, classes=ink)
        return y + len(ends) * (_BAR + 4)

    def _marks(self, row: Row, y: float) -> float:
        marks = [item for item in row.items if isinstance(item, Mark)]
        bottom = y
        for order, mark in enumerate(marks):
            x = self._x(mark.at)
            if mark.through:
                self.through.append((x, y + 6, mark.tone))
            self.canvas.add(
                f'<circle class="box-{mark.tone}" cx="{number(x)}" cy="{number(y + 7)}" r="6"/>'
            )
            room = self._room(marks, order)
            lines = wrapped(mark.text, room, SMALL)
            half = max(width_of(line, SMALL) for line in lines) / 2
            middle = min(max(x, _MARGIN + half), self.canvas.width - _MARGIN - half)
            ink = mark.tone if mark.tone in ("accent", "good", "bad") else "ink"
            self.canvas.text(lines, middle, y + 16, small=True, classes=f"over {ink}")
            bottom = max(bottom, y + 16 + len(lines) * SMALL * LINE_HEIGHT)
        return bottom

    def _room(self, marks: Sequence[Mark], order: int) -> float:
        """Return how wide the text of a mark can be."""
        here = self._x(marks[order].at)
        others = [self._x(mark.at) for mark in marks if mark is not marks[order]]
        return min([abs(other - here) for other in others] + [190.0]) - 6

    def _axis(self, y: float) -> None:
        self.canvas.line([(self.left, y), (self.right, y)])
        for time, text in self.picture.ticks:
            x = self._x(time)
            self.canvas.line([(x, y), (x, y + 5)])
            self.canvas.text([text], x, y + 8, small=True, classes="dim")
