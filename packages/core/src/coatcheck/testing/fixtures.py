"""Fixtures of pytest for applications that have sessions.

In the ``conftest.py`` of your tests' root folder::

    pytest_plugins = ["coatcheck.testing.fixtures"]

    @pytest.fixture
    def app(session_store, session_clock):
        return make_app(secret="...", store=session_store, clock=session_clock)
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .. import Store, open_store
from . import Clock

__all__ = ["session_clock", "session_store", "session_store_url"]


def __dir__() -> list[str]:
    return __all__


@pytest.fixture
def session_clock() -> Clock:
    """Return a clock that the test moves: ``session_clock.advance(3600)``."""
    return Clock()


@pytest.fixture
def session_store_url() -> str:
    """Return the URL of the store. Override this fixture to test with another one than memory."""
    return "memory:"


@pytest.fixture
def session_store(session_store_url: str, session_clock: Clock) -> Iterator[Store]:
    """Yield an empty store, which is emptied and closed after the test.

    A store that has sessions fails the test, so that no test empties a store that is in use.
    """
    store = open_store(session_store_url, clock=session_clock)
    try:
        _check_empty(store)
        yield store
        store.clear()
    finally:
        store.close()


def _check_empty(store: Store) -> None:
    if not (store.capabilities.enumerable and store.capabilities.clearable):
        pytest.fail(
            "`session_store` needs a store that can be counted and emptied: take another "
            "`session_store_url`",
            pytrace=False,
        )
    count = store.length()
    if count:
        pytest.fail(
            f"the store of `session_store_url` has {count} sessions already, and `session_store` "
            "would remove them: take an empty one, for example with another prefix, and one for "
            "each worker of pytest-xdist",
            pytrace=False,
        )
