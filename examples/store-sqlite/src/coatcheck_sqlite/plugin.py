"""Register the URL scheme ``sqlite-file``."""

from __future__ import annotations

from collections.abc import Iterator

from coatcheck import StoreSpec, hookimpl


@hookimpl
def coatcheck_stores() -> Iterator[StoreSpec]:
    """See :mod:`coatcheck.hookspecs`."""
    yield StoreSpec(
        name="sqlite-file",
        schemes=("sqlite-file",),
        contract="1.0",
        summary="one SQLite file",
        open="coatcheck_sqlite:SQLiteStore.from_url",
    )
