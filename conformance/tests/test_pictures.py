"""The pictures of the documents are current, readable and described, on light and dark pages."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from testing.pictures import (
    FOLDER,
    Arrow,
    Bar,
    Box,
    Boxes,
    Conversation,
    Lane,
    Message,
    PictureError,
    Row,
    Timeline,
    check,
    write,
)
from testing.pictures.__main__ import main
from testing.pictures.canvas import COLOURS, SMALL, TONES, width_of, wrapped
from testing.prose import ROOT, tracked

SVG = "{http://www.w3.org/2000/svg}"
PICTURES = sorted(FOLDER.glob("*.svg"))


def test_pictures_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out
    assert len(PICTURES) > 5


def test_an_old_picture_is_named(tmp_path: Path) -> None:
    """A picture that is not as its description draws it, and one that nothing describes."""
    for name in ("layers.py", "touch.py"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    assert write(tmp_path) == ["layers.svg", "touch.svg"]
    assert check(tmp_path) == write(tmp_path) == []
    (tmp_path / "layers.svg").write_text("<svg/>")
    (tmp_path / "left.svg").write_text("<svg/>")
    assert check(tmp_path) == [
        "layers.svg is not current: run `python -m testing.pictures`",
        "left.svg: nothing describes it; remove it",
    ]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_described_and_needs_nothing_else(path: Path) -> None:
    """Its title and description are its name for those who do not see it; ids are its own."""
    text = path.read_text("utf-8")
    picture = ET.fromstring(text)
    named = picture.attrib["aria-labelledby"].split()
    parts = [picture.find(f"{SVG}title"), picture.find(f"{SVG}desc")]
    assert picture.attrib["role"] == "img"
    assert [part.attrib["id"] for part in parts if part is not None and part.text] == named
    assert all(name.startswith(path.stem.replace("_", "-")) for name in named)
    assert not re.search(r"url\(|href|@import|@font-face|<script|<image", text)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_text_is_large_enough(path: Path) -> None:
    """It has 12 pixels where the picture is 640 wide."""
    width = float(ET.fromstring(path.read_text("utf-8")).attrib["viewBox"].split()[2])
    assert SMALL * 640 / width >= 12


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_in_a_page(path: Path) -> None:
    """Each has a text in its place."""
    pages = [ROOT / name for name in tracked(ROOT, "docs/*.md")]
    shown = rf"!\[[^\]]{{20,}}\]\([./]*pictures/{path.name}\)"
    assert [page for page in pages if re.search(shown, page.read_text("utf-8"))]


def luminance(colour: str) -> float:
    """Return the relative luminance, as WCAG 2 defines it."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str, mode: int) -> float:
    dark, light = sorted(luminance(COLOURS[name][mode]) for name in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_have_enough_contrast(mode: int) -> None:
    """Text has 4.5 to 1 on all that it can be on, and edges and arrows have 3 to 1 (WCAG 2 AA)."""
    fills = {fill for fill, _ in TONES.values()}
    pairs = [(ink, fill) for ink in ("ink", "dim") for fill in fills]
    pairs += [
        (tone, fill) for tone in ("accent", "good", "bad") for fill in ("paper", f"{tone}-fill")
    ]
    assert {pair: value for pair in pairs if (value := contrast(*pair, mode)) < 4.5} == {}
    edges = {edge for _, edge in TONES.values()}
    assert {edge: value for edge in edges if (value := contrast(edge, "paper", mode)) < 3} == {}


def test_lines_fit_and_are_about_equal() -> None:
    assert wrapped("an aa bbb cccc ddddd", 125) == ["an aa bbb", "cccc ddddd"]
    lines = wrapped("one two three four five `six seven` eight", 130)
    assert lines == ["one two three", "four five `six`", "`seven` eight"]
    assert all(width_of(line) <= 130 for line in lines)
    assert wrapped("one\ntwo", 130) == ["one", "two"]


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (Conversation("t", "d", [Lane("a")], [Message("a", "c", "x")]), "`c` is no lane"),
        (Conversation("t", "d", [Lane("a")], [Message("a", "a", "x")]), "to itself"),
        (Conversation("t", "d", [Lane("w" * 99)], []), "needs more than"),
        (Boxes("t", "d", 100, [Box("a", 0, 0, 90, 30, "a", "b c d")]), "needs a height of"),
        (Boxes("t", "d", 100, [Arrow("a", "b")]), "no box 'a'"),
        (Timeline("t", "d", [(0, "0"), (9, "9")], [Row("r", [Bar(0, 10)])]), "outside the axis"),
        (Timeline("t", "d", [(0, "0"), (90, "9")], [Row("r", [Bar(0, 9, "too long")])]), "needs"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_error(
    picture: Boxes | Conversation | Timeline, reason: str
) -> None:
    with pytest.raises(PictureError, match=reason):
        picture.draw("name")
