"""Draw the results of a run as pictures: ``python -m benchmarks --plots FOLDER``.

The parts return what they print, and the pictures show the same figures.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

from testing.pictures import Chart, Value, Values

#: The labels of the scenarios that read.
LABELS: Final = {"read scalar": "read", "read nested": "nested read"}


class Cost(NamedTuple):
    """Time that sessions add to a request, in µs over the bare application."""

    api: str
    scenario: str
    baseline: float
    ours: float


class PeerTimes(NamedTuple):
    """µs of a request with a peer's sessions and with ours, and the median of the ratios."""

    peer: str
    scenario: str
    theirs: float
    ours: float
    ratio: float


class Writes(NamedTuple):
    """The writes of clients that share a session, and how many of them were lost."""

    concurrency: str
    total: int
    lost: int


def cost(rows: Sequence[Cost], source: str) -> Chart:
    """Return the picture of what coatcheck and the baseline add to a request."""
    shown = [row for row in rows if row.scenario != "idle"]
    said = "; ".join(
        f"{row.api} {LABELS.get(row.scenario, row.scenario)}: coatcheck {row.ours:.2f} µs, "
        f"baseline {row.baseline:.2f} µs"
        for row in shown
    )
    pairs = [
        (row.api, LABELS.get(row.scenario, row.scenario), [
            Value(row.ours, f"coatcheck {row.ours:.2f} µs", "accent"),
            Value(row.baseline, f"baseline {row.baseline:.2f} µs"),
        ])
        for row in shown
    ]  # fmt: skip
    title = "What sessions add to a request in one process"
    return Chart(title, f"{said}. {source}", "µs", _sections(pairs))


def peers(rows: Sequence[PeerTimes], source: str) -> Chart:
    """Return the picture of requests with a peer's sessions and with ours, on one server."""
    said = "; ".join(
        f"{row.peer}, {row.scenario}: coatcheck {row.ours:.1f} µs, peer {row.theirs:.1f} µs, "
        f"ratio {row.ratio:.2f}"
        for row in rows
    )
    pairs = [
        (row.peer, row.scenario, [
            Value(row.ours, f"coatcheck {row.ours:.1f} µs, ratio {row.ratio:.2f}", "accent"),
            Value(row.theirs, f"peer {row.theirs:.1f} µs"),
        ])
        for row in rows
    ]  # fmt: skip
    title = "Requests with sessions in PostgreSQL, beside other libraries"
    return Chart(title, f"{said}. {source}", "µs", _sections(pairs))


def contention(rows: Sequence[Writes], source: str) -> Chart:
    """Return the picture of the writes that were kept and lost, over all rounds of the run."""
    rounds = {name: [row for row in rows if row.concurrency == name]
              for name in ("merge", "last-write-wins")}  # fmt: skip
    shown, said = [], []
    for name, found in rounds.items():
        total, lost = sum(row.total for row in found), sum(row.lost for row in found)
        label = "coatcheck (merge)" if name == "merge" else name
        said.append(f"{label}: {total - lost:,} of {total:,} kept, {lost:,} lost")
        values = [
            Value(total - lost, f"{total - lost:,} kept", "good"),
            Value(lost, f"{lost:,} lost", "bad"),
        ]
        shown.append(Values(label, values))
    title = "Writes of 32 clients to one session in Redis"
    return Chart(title, f"{'; '.join(said)}. {source}", "writes", shown)


def _sections(pairs: Sequence[tuple[str, str, Sequence[Value]]]) -> list[Values]:
    """Return rows with a heading where the section is another than before."""
    rows, before = [], ""
    for section, label, values in pairs:
        rows.append(Values(label, values, section if section != before else ""))
        before = section
    return rows


#: Part of the benchmark: the name of its picture, and what makes it.
PLOTS: Final[dict[str, tuple[str, Callable[[Any, str], Chart]]]] = {
    "speed": ("benchmark_speed", cost),
    "sql-peers": ("benchmark_sql_peers", peers),
    "redis-contention": ("benchmark_redis_contention", contention),
}


def write(part: str, rows: Sequence[Any], folder: Path, options: str = "") -> Path:
    """Draw the picture of a part's results, and return its file.

    :param options: the options with which the part ran, other than its name.
    """
    name, chart = PLOTS[part]
    command = f"python -m benchmarks --only {part} {options}".strip()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    source = f"Measured on {date.today().isoformat()} with {python}: {command}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.svg"
    path.write_text(chart(rows, source).draw(name.replace("_", "-")), "utf-8")
    return path
