"""Give views of a session that show no data and note which values the application gets.

docs/decisions/2026-11-30-session-is-a-dict.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from types import MappingProxyType
from typing import Any


class Keys(KeysView[str]):
    """View the keys of a session. The repr does not show them."""

    __slots__ = ()
    _mapping: dict[str, Any]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.keys(self._mapping))

    def __reversed__(self) -> Iterator[str]:
        return reversed(dict.keys(self._mapping))

    @property
    def mapping(self) -> MappingProxyType[str, Any]:
        """The session, read-only."""
        return MappingProxyType(self._mapping)


class Values(ValuesView[Any]):
    """View the values of a session. The repr does not show them."""

    __slots__ = ("_share_all",)
    _mapping: dict[str, Any]

    def __init__(self, session: dict[str, Any], share_all: Callable[[], None]) -> None:
        super().__init__(session)
        self._share_all = share_all

    def __iter__(self) -> Iterator[Any]:
        self._share_all()
        return iter(dict.values(self._mapping))

    def __reversed__(self) -> Iterator[Any]:
        self._share_all()
        return reversed(dict.values(self._mapping))

    @property
    def mapping(self) -> MappingProxyType[str, Any]:
        """The session, read-only."""
        return MappingProxyType(self._mapping)


class Items(ItemsView[str, Any]):
    """View the keys and values of a session. The repr does not show them."""

    __slots__ = ("_share_all",)
    _mapping: dict[str, Any]

    def __init__(self, session: dict[str, Any], share_all: Callable[[], None]) -> None:
        super().__init__(session)
        self._share_all = share_all

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self._share_all()
        return iter(dict.items(self._mapping))

    def __reversed__(self) -> Iterator[tuple[str, Any]]:
        self._share_all()
        return reversed(dict.items(self._mapping))

    @property
    def mapping(self) -> MappingProxyType[str, Any]:
        """The session, read-only."""
        return MappingProxyType(self._mapping)
