"""The pictures of the benchmarks show the figures that were measured, and say where from."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from benchmarks.plots import PLOTS, Cost, PeerTimes, Writes, write

from testing.pictures import FOLDER, MEASURED, Chart, PictureError, Value, Values, check

SVG = "{http://www.w3.org/2000/svg}"
SOURCE = re.compile(
    r"\. Measured on (20\d\d-\d\d-\d\d) with CPython 3\.\d+\.\d+: "
    r"python -m benchmarks --only ([a-z-]+)( --(?:rounds|calls) \d+)*"
)
#: Rows of each part, as it could return them, and the texts at the bars with their values.
CASES = {
    "speed": (
        [
            Cost("ASGI", "public", 0.7, 2.5),
            Cost("ASGI", "idle", 77.0, 88.0),
            Cost("WSGI", "write", 10.0, 40.0),
        ],
        {
            "coatcheck 2.50 µs": 2.5,
            "baseline 0.70 µs": 0.7,
            "coatcheck 40.00 µs": 40.0,
            "baseline 10.00 µs": 10.0,
        },
    ),
    "sql-peers": (
        [PeerTimes("Django, backends.db", "read", 900.0, 300.0, 0.35)],
        {"coatcheck 300.0 µs, ratio 0.35": 300.0, "peer 900.0 µs": 900.0},
    ),
    "redis-contention": (
        [
            Writes("last-write-wins", 3200, 3000),
            Writes("merge", 3200, 0),
            Writes("last-write-wins", 3200, 2990),
            Writes("merge", 3200, 1),
        ],
        {"6,399 kept": 6399, "1 lost": 1, "410 kept": 410, "5,990 lost": 5990},
    ),
}  # fmt: skip


def description(path: Path) -> str:
    return ET.fromstring(path.read_text("utf-8")).findtext(f"{SVG}desc") or ""


@pytest.mark.parametrize("part", PLOTS)
def test_a_picture_shows_the_figures_of_its_run(part: str, tmp_path: Path) -> None:
    """Each bar has its text beside it and is as long as its value; the description has both."""
    rows, expected = CASES[part]
    path = write(part, rows, tmp_path / "new", "--rounds 3")
    picture = ET.fromstring(path.read_text("utf-8"))
    bars = [each for each in picture.iter(f"{SVG}rect") if "box-" in each.attrib["class"]]
    texts = ["".join(each.itertext()) for each in picture.iter(f"{SVG}text")]
    assert [text for text in texts if text in expected] == list(expected)
    widths = [float(bar.attrib["width"]) for bar in bars]
    scale = max(widths) / max(expected.values())
    assert widths == pytest.approx([value * scale for value in expected.values()], abs=0.2)
    said = description(path)
    figures = [figure for text in expected for figure in re.findall(r"[\d.,]*\d", text)]
    assert [figure for figure in figures if f" {figure} " not in re.sub("[;,.] ", " ", said)] == []
    found = SOURCE.search(said)
    assert found is not None
    assert found.groups() == (date.today().isoformat(), part, " --rounds 3")
    assert "idle" not in said
    assert check(tmp_path / "new") == []


def test_pictures_of_benchmarks_say_where_they_are_from() -> None:
    """Those of the pages have a part that draws them, and the date, the Python and the command."""
    names = {name: part for part, (name, _) in PLOTS.items()}
    for path in FOLDER.glob(MEASURED):
        found = SOURCE.search(description(path))
        assert found is not None, path.name
        assert found[2] == names[path.stem]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "needs values"),
        ([Value(-1, "x")], "below zero"),
        ([Value(0, "x")], "are zero"),
        ([Value(1, "w" * 60)], "no room"),
    ],
)
def test_values_that_cannot_be_drawn_are_an_error(values: list[Value], reason: str) -> None:
    with pytest.raises(PictureError, match=reason):
        Chart("t", "d", "µs", [Values("label", values)]).draw("name")
