"""Draw measured values as horizontal bars over one axis, each with its text beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Final

from .canvas import LINE_HEIGHT, SMALL, Canvas, PictureError, number, width_of, wrapped

_MARGIN: Final = 14.0
_LABELS: Final = 112.0
_BAR: Final = 18.0


@dataclass(frozen=True)
class Value:
    """A bar, from zero to a value.

    :ivar text: what it is and how much, beside the bar.
    :ivar tone: "plain", "paper", "accent", "good" or "bad".
    """

    value: float
    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Values:
    """Bars that are compared with each other.

    :ivar label: what they have in common, at the left.
    :ivar heading: text above them, where a new section begins.
    """

    label: str
    values: Sequence[Value]
    heading: str = ""


@dataclass(frozen=True)
class Chart:
    """A picture of values.

    :ivar unit: the unit of the axis.
    """

    title: str
    description: str
    unit: str
    rows: Sequence[Values]

    def draw(self, name: str) -> str:
        """Return the picture as SVG.

        :raises PictureError: there is no value above zero, one is below zero, or a text is too
            long.
        """
        canvas = Canvas(name, self.title, self.description)
        values = [value for row in self.rows for value in row.values]
        if not values or min(value.value for value in values) < 0:
            raise PictureError("a chart needs values, and none below zero")
        left = _MARGIN + _LABELS
        room = canvas.width - _MARGIN - left - max(width_of(value.text, SMALL) for value in values)
        most = max(value.value for value in values)
        if room < 120 or not most:
            raise PictureError("the longest text leaves no room for bars, or all values are zero")
        scale = (room - 8) / most
        y = _MARGIN
        for row in self.rows:
            y = _row(canvas, row, left, y, scale)
        _axis(canvas, left, y, scale, most, self.unit)
        canvas.height = y + 34
        return canvas.svg()


def _row(canvas: Canvas, row: Values, left: float, y: float, scale: float) -> float:
    if row.heading:
        y = canvas.text([row.heading], _MARGIN, y, anchor="start", classes="strong") + 5
    height = _BAR * len(row.values)
    lines = wrapped(row.label, _LABELS - 8, SMALL)
    needed = len(lines) * SMALL * LINE_HEIGHT
    if needed > height + 8:
        raise PictureError(f"{row.label!r} needs a height of {needed:.0f}")
    canvas.text(lines, _MARGIN, y + (height - needed) / 2, anchor="start", small=True)
    for order, value in enumerate(row.values):
        top, width = y + order * _BAR, value.value * scale
        canvas.add(
            f'<rect class="box-{value.tone}" x="{number(left)}" y="{number(top + 1)}" '
            f'width="{number(width)}" height="{number(_BAR - 2)}"/>'
        )
        canvas.text([value.text], left + width + 6, top + 0.5, anchor="start", small=True)
    return y + height + 9


def _axis(canvas: Canvas, left: float, y: float, scale: float, most: float, unit: str) -> None:
    """Draw the axis with three to seven ticks, at 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(most / 3))
    step = next(times * power for times in (5, 2, 1) if times * power <= most / 3)
    canvas.line([(left, y), (left + most * scale, y)])
    for order in range(int(most / step + 1e-9) + 1):
        x = left + order * step * scale
        canvas.line([(x, y), (x, y + 5)])
        canvas.text([f"{order * step:,g}"], x, y + 8, small=True, classes="dim")
    canvas.text([unit], _MARGIN, y + 8, anchor="start", small=True, classes="dim")
