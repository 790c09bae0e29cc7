"""Fixtures for the tests of the demo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakedist import FakeDists


@pytest.fixture
def dists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDists]:
    """Install distributions for the length of a test."""
    made = FakeDists(tmp_path, monkeypatch)
    yield made
    made.forget()
