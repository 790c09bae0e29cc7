"""The whole conformance kit on files."""

from __future__ import annotations

import pytest

from coatcheck_conformance import StoreConformance
from testing.backends import backend_of
from testing.conformance import harness_on

files = harness_on(backend_of("file").start, "durability=process")


@pytest.mark.usefixtures("files")
class TestFiles(StoreConformance):
    pass
