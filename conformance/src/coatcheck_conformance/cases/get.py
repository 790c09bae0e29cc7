"""GET: reading."""

from __future__ import annotations

from ..bench import Bench
from ..case import case


@case(
    "GET-1",
    foundation=False,
    hint="the record is written under another key, or in another form, than it is read.",
)
def data_of_the_last_set(bench: Bench) -> None:
    """After each of several writes the data are those of the last one."""
    for data in (b"one", b"two", b"three"):
        bench.put(data=data)
        bench.expect_data(data)


@case("GET-2", hint="a missing key raises the backend's own KeyError.")
def unknown_key(bench: Bench) -> None:
    """A key that was never set is None, in an empty store and beside another record."""
    bench.expect_absent("unknown")
    bench.put("other")
    bench.expect_absent("unknown")
