"""The whole conformance kit on files."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

import pytest

from coatcheck_conformance import StoreConformance
from testing.conformance import harness_on


@contextlib.contextmanager
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as path:
        yield f"file:{path}/sessions"


files = harness_on(folder, "durability=process")


@pytest.mark.usefixtures("files")
class TestFiles(StoreConformance):
    pass
