"""What pictures are drawn with: text, boxes, arrows, and the two sets of colours.

Colours are custom properties of CSS inside the picture, so one file is right on light and on dark
pages. Text is measured with the widths of a wide typeface, so what fits here fits in others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from math import hypot
from typing import Final

#: Pixels of text: what is read, and what is beside it. A picture is 640 wide, or less on a phone.
SIZE: Final = 13.5
SMALL: Final = 12.5
WIDTH: Final = 640.0
LINE_HEIGHT: Final = 1.32

#: Name of a colour: on light pages, on dark pages.
COLOURS: Final = {
    "paper": ("#fcfcfb", "#15181d"),
    "ink": ("#1c1e21", "#e8eaed"),
    "dim": ("#51565d", "#b3b9c2"),
    "line": ("#6f757e", "#8f96a1"),
    "plain": ("#eef1f5", "#242932"),
    "accent": ("#0a4fbd", "#8ab4f8"),
    "accent-fill": ("#e3edfd", "#1d2c45"),
    "good": ("#0e5f35", "#7fd39b"),
    "good-fill": ("#e0f3e6", "#17301f"),
    "bad": ("#a8201a", "#f4a8a1"),
    "bad-fill": ("#fdeceb", "#3a1f1d"),
}
#: What a tone does to a box: its fill and its edge. Text in it has the colour of the edge, or ink.
TONES: Final = {
    "plain": ("plain", "line"),
    "paper": ("paper", "line"),
    "accent": ("accent-fill", "accent"),
    "good": ("good-fill", "good"),
    "bad": ("bad-fill", "bad"),
}
#: The colours of text.
INKS: Final = ("ink", "dim", "accent", "good", "bad")

_SANS: Final = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
_MONO: Final = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace'
#: Widths of characters, in parts of the size.
_NARROW: Final = dict.fromkeys("iljI.,:;'|!()[]", 0.36) | dict.fromkeys('tfr /-"', 0.43)
_WIDE: Final = dict.fromkeys("mwMW@%…→", 0.97)
_DIGIT: Final = 0.64
_MONO_WIDTH: Final = 0.602


class PictureError(Exception):
    """A picture cannot be drawn as it is described."""


def style() -> str:
    """Return the style sheet of a picture."""
    light, dark = (
        "; ".join(f"--{name}: {pair[mode]}" for name, pair in COLOURS.items()) for mode in (0, 1)
    )
    rules = [
        f"svg.picture {{ {light} }}",
        f"@media (prefers-color-scheme: dark) {{ svg.picture {{ {dark} }} }}",
        f".picture text {{ font: {SIZE:g}px {_SANS}; fill: var(--ink); stroke: none }}",
        f".picture .small {{ font-size: {SMALL:g}px }}",
        ".picture .strong { font-weight: 600 }",
        f".picture .code {{ font-family: {_MONO} }}",
        ".picture .over { paint-order: stroke; stroke: var(--paper); stroke-width: 5px }",
        ".picture .way { fill: none; stroke: var(--line); stroke-width: 1.5px }",
        ".picture .dashed { stroke-dasharray: 5 4 }",
        ".picture .life { fill: none; stroke: var(--line); stroke-dasharray: 2 4 }",
        ".picture .head { fill: var(--line) }",
        ".picture .sheet { fill: var(--paper); stroke: var(--line); stroke-opacity: 0.35 }",
    ]
    rules += [f".picture text.{ink} {{ fill: var(--{ink}) }}" for ink in INKS[1:]]
    for tone, (fill, edge) in TONES.items():
        rules.append(f".picture .box-{tone} {{ fill: var(--{fill}); stroke: var(--{edge}) }}")
    for tone in ("accent", "good", "bad"):
        rules.append(f".picture .way-{tone} {{ stroke: var(--{tone}) }}")
        rules.append(f".picture .head-{tone} {{ fill: var(--{tone}) }}")
    return "\n".join(rules)


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a text, and whether each is code: what backquotes enclose."""
    for number, piece in enumerate(text.split("`")):
        if piece:
            yield piece, bool(number % 2)


def width_of(text: str, size: float = SIZE, strong: bool = False) -> float:
    """Return the pixels that a text needs in a wide typeface."""
    total = 0.0
    for piece, is_code in pieces(text):
        if is_code:
            total += len(piece) * _MONO_WIDTH
            continue
        for letter in piece:
            other = 0.72 if letter.isupper() else _DIGIT if letter.isdigit() else 0.61
            total += _NARROW.get(letter, _WIDE.get(letter, other))
    return total * size * (1.08 if strong else 1)


def wrapped(text: str, width: float, size: float = SIZE, strong: bool = False) -> list[str]:
    """Return the lines of a text that has to fit a width, each about as long as the others.

    A line feed in the text ends a line.

    :raises PictureError: a word is wider than that.
    """
    lines = []
    text = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "` `"), text)
    for paragraph in text.split("\n"):
        words = re.findall(r"(?:`[^`]*`|[^\s`])+", paragraph)
        widest = max(words, key=lambda word: width_of(word, size, strong), default="")
        least = width_of(widest, size, strong)
        if least > width:
            raise PictureError(f"{widest!r} needs more than {width:.0f} pixels")
        best, narrower = _filled(words, width, size, strong), width
        while (narrower := narrower - 4) > least:
            tighter = _filled(words, narrower, size, strong)
            if len(tighter) > len(best):
                break
            best = tighter
        lines += best
    return lines


def _filled(words: Sequence[str], width: float, size: float, strong: bool) -> list[str]:
    """Return lines that are as long as the width lets them be."""
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width_of(longer, size, strong) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def number(value: float) -> str:
    """Return a coordinate as short text."""
    return f"{value:.1f}".removesuffix(".0")


@dataclass
class Canvas:
    """Collects the elements of one picture.

    :ivar name: the name of its file, without the suffix.
    :ivar title: what it shows, in a few words.
    :ivar description: all that it shows, for those who do not see it.
    """

    name: str
    title: str
    description: str
    width: float = WIDTH
    height: float = 0.0
    elements: list[str] = field(default_factory=list)

    def add(self, element: str) -> None:
        """Add an element of SVG."""
        self.elements.append(element)

    def text(
        self,
        lines: Sequence[str],
        x: float,
        y: float,
        *,
        anchor: str = "middle",
        small: bool = False,
        classes: str = "",
    ) -> float:
        """Write lines below each other, the first with its top at y. Returns their bottom."""
        size = SMALL if small else SIZE
        step = size * LINE_HEIGHT
        names = " ".join(filter(None, ["small" if small else "", classes]))
        for order, line in enumerate(lines):
            spans = "".join(
                f'<tspan class="code">{escape(piece, quote=False)}</tspan>'
                if is_code
                else escape(piece, quote=False)
                for piece, is_code in pieces(line)
            )
            baseline = y + order * step + size * 1.02
            shown = f' class="{names}"' if names else ""
            self.add(
                f'<text{shown} x="{number(x)}" y="{number(baseline)}" text-anchor="{anchor}">'
                f"{spans}</text>"
            )
        return y + len(lines) * step

    def box(self, x: float, y: float, width: float, height: float, tone: str = "plain") -> None:
        """Draw a box with round corners."""
        self.add(
            f'<rect class="box-{tone}" x="{number(x)}" y="{number(y)}" width="{number(width)}" '
            f'height="{number(height)}" rx="6"/>'
        )

    def arrow(
        self, points: Sequence[tuple[float, float]], *, tone: str = "", dashed: bool = False
    ) -> None:
        """Draw a way along points, with its head at the last one."""
        (before_x, before_y), (end_x, end_y) = points[-2:]
        length = hypot(end_x - before_x, end_y - before_y) or 1
        step_x, step_y = (end_x - before_x) / length, (end_y - before_y) / length
        base_x, base_y = end_x - step_x * 9, end_y - step_y * 9
        head = [
            (end_x, end_y),
            (base_x - step_y * 4.5, base_y + step_x * 4.5),
            (base_x + step_y * 4.5, base_y - step_x * 4.5),
        ]
        self.line([*points[:-1], (base_x, base_y)], tone=tone, dashed=dashed)
        corners = " ".join(f"{number(x)},{number(y)}" for x, y in head)
        names = "head" + (f" head-{tone}" if tone else "")
        self.add(f'<polygon class="{names}" points="{corners}"/>')

    def line(
        self, points: Sequence[tuple[float, float]], *, tone: str = "", dashed: bool = False
    ) -> None:
        """Draw a way along points."""
        names = "way" + (" dashed" if dashed else "") + (f" way-{tone}" if tone else "")
        corners = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self.add(f'<polyline class="{names}" points="{corners}"/>')

    def svg(self) -> str:
        """Return the picture as a file."""
        size = f"{number(self.width)} {number(self.height)}"
        wide, high = number(self.width), number(self.height)
        sheet = f'width="{number(self.width - 1)}" height="{number(self.height - 1)}" rx="10"'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" role="img" '
            f'aria-labelledby="{self.name}-title {self.name}-desc" '
            f'width="{wide}" height="{high}" viewBox="0 0 {size}">'
        )
        return "\n".join(
            [
                head,
                f'<title id="{self.name}-title">{escape(self.title, quote=False)}</title>',
                f'<desc id="{self.name}-desc">{escape(self.description, quote=False)}</desc>',
                f"<style>\n{style()}\n</style>",
                f'<rect class="sheet" x="0.5" y="0.5" {sheet}/>',
                *self.elements,
                "</svg>\n",
            ]
        )
