"""Registers the URL scheme ``file``."""

from __future__ import annotations

from collections.abc import Iterator

from coatcheck import StoreSpec, hookimpl


@hookimpl
def coatcheck_stores() -> Iterator[StoreSpec]:
    """See :mod:`coatcheck.hookspecs`."""
    yield StoreSpec(
        name="file",
        schemes=("file",),
        contract="1.0",
        summary="files in a folder of one machine",
        open="coatcheck_file:FileStore.from_url",
    )
