"""The pictures of the documents: each is drawn from one description.

A file ``docs/pictures/NAME.py`` describes a picture, as its constant ``PICTURE``, and
``python -m testing.pictures`` draws ``docs/pictures/NAME.svg``. ``python -m testing.pictures
--check`` draws nothing, and names each picture that is not current. Pictures ``benchmark_*.svg``
are drawn by ``python -m benchmarks --plots docs/pictures`` from what it measures.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .boxes import Arrow, Box, Boxes, Label
from .canvas import PictureError
from .chart import Chart, Value, Values
from .conversation import Conversation, Lane, Message, Note, Part
from .timeline import Bar, Mark, Row, Timeline

__all__ = [
    "Arrow",
    "Bar",
    "Box",
    "Boxes",
    "Chart",
    "Conversation",
    "Label",
    "Lane",
    "Mark",
    "Message",
    "Note",
    "Part",
    "PictureError",
    "Row",
    "Timeline",
    "Value",
    "Values",
    "check",
    "drawn",
    "write",
]

FOLDER: Final = Path(__file__).parents[2] / "docs" / "pictures"
#: The pictures that nothing describes, because a benchmark draws them.
MEASURED: Final = "benchmark_*.svg"


def drawn(folder: Path = FOLDER) -> Iterator[tuple[Path, str]]:
    """Yield each picture's file, and its content as its description draws it.

    :raises PictureError: a picture cannot be drawn as it is described.
    """
    for source in sorted(folder.glob("*.py")):
        picture = runpy.run_path(str(source)).get("PICTURE")
        if not isinstance(picture, Boxes | Chart | Conversation | Timeline):
            raise PictureError(f"{source.name} has no constant `PICTURE` that is a picture")
        try:
            yield source.with_suffix(".svg"), picture.draw(source.stem.replace("_", "-"))
        except PictureError as error:
            raise PictureError(f"{source.name}: {error}") from None


def check(folder: Path = FOLDER) -> list[str]:
    """Return one line for each picture that is not current, or that nothing describes.

    :raises PictureError: a picture cannot be drawn as it is described.
    """
    pictures = dict(drawn(folder))
    old = [
        path.name
        for path, content in pictures.items()
        if not path.exists() or path.read_text("utf-8") != content
    ]
    left = [
        path.name
        for path in sorted(folder.glob("*.svg"))
        if path not in pictures and not path.match(MEASURED)
    ]
    return [f"{name} is not current: run `python -m testing.pictures`" for name in old] + [
        f"{name}: nothing describes it; remove it" for name in left
    ]


def write(folder: Path = FOLDER) -> list[str]:
    """Draw all pictures, and return the names of those that have changed.

    :raises PictureError: a picture cannot be drawn as it is described.
    """
    changed = []
    for path, content in drawn(folder):
        if not path.exists() or path.read_text("utf-8") != content:
            path.write_text(content, "utf-8")
            changed.append(path.name)
    return changed
