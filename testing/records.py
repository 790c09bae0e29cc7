"""Records that the tests of several stores write."""

from __future__ import annotations

import time

import pytest

from coatcheck import Record, Store, Unchanged
from coatcheck.errors import RecordTooLarge


def check_largest_record(store: Store) -> None:
    """Check that a store keeps as many bytes as it declares, and refuses one more.

    The key and the owner are as long as they may be.
    """
    limit = store.capabilities.max_data_bytes
    assert limit is not None
    key, expires_at = "k" * 256, time.time() + 3600
    largest = Record(b"x" * limit, expires_at, "o" * 256)
    assert store.set(key, largest)
    assert store.set(key, largest, Unchanged(largest.data))
    with pytest.raises(RecordTooLarge):
        store.set(key, Record(b"x" * (limit + 1), expires_at))
