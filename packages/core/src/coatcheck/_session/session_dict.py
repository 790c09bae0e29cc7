"""Let a dict ask for the session before it shows data, and note what may have changed."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from .._json.tagged_json import SCALARS
from ..codec import IMMUTABLE
from .contents import check_keys
from .redaction import Redacted
from .session_core import SessionCore
from .session_hints import hint
from .session_views import Items, Keys, Values


class SessionDict(Redacted, dict[str, Any]):
    """The data of a session."""

    __slots__ = ("__weakref__", "_core")

    _core: SessionCore

    def __init__(self, core: Any) -> None:  # a SessionCore, which is not public
        _set_core(self, core)
        core.data = self

    def __getitem__(self, key: str) -> Any:
        core = self._core
        if not core.is_ready:
            core.prepare()
        value = _get_item(self, key)
        if type(value) not in IMMUTABLE and key not in core.contents.shared:
            core.contents.share(key, value)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"session keys must be strings, not {type(key).__name__}")
        core = self._core
        core.before_write()
        if type(value) not in SCALARS:
            core.contents.receive(key, value)
        _set_item(self, key, value)
        core.contents.is_written = True

    def __delitem__(self, key: str) -> None:
        core = self._core
        core.before_write()
        dict.__delitem__(self, key)
        core.contents.is_written = True

    def __iter__(self) -> Iterator[str]:
        self._core.use()
        return dict.__iter__(self)

    def __reversed__(self) -> Iterator[str]:
        self._core.use()
        return dict.__reversed__(self)

    def __len__(self) -> int:
        self._core.use()
        return dict.__len__(self)

    def __contains__(self, key: object) -> bool:
        self._core.use()
        return dict.__contains__(self, key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        self._core.use()
        if isinstance(other, SessionDict):
            other._core.use()
        return dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        result = self.__eq__(other)
        return result if result is NotImplemented else not result

    __hash__ = None  # mutable, as every dict

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return the value of a key, or the default."""
        self._core.use()
        return self[key] if dict.__contains__(self, key) else default

    def keys(self) -> KeysView[str]:  # type: ignore[override]  # as good, and its repr shows no data
        """Return a view of the keys."""
        self._core.use()
        return Keys(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # as above
        """Return a view of the values."""
        self._core.use()
        return Values(self, self._share_all)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # as above
        """Return a view of the pairs of keys and values."""
        self._core.use()
        return Items(self, self._share_all)

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        """Return the value of a key; set it to the default before, if it is missing."""
        self._core.use()
        if not dict.__contains__(self, key):
            self[key] = default
        return self[key]

    def pop(self, key: str, /, *default: Any) -> Any:
        """Remove a key and return its value; without the key, the default or a KeyError."""
        self._core.use()
        if default and not dict.__contains__(self, key):
            return dict.pop(self, key, *default)
        self._core.before_write()
        value = dict.pop(self, key)
        self._core.contents.is_written = True
        return value

    def popitem(self) -> tuple[str, Any]:
        """Remove the pair that was added last, and return it."""
        self._core.before_write()
        item = dict.popitem(self)
        self._core.contents.is_written = True
        return item

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set several keys: all of them, or none if one is not a string."""
        added = dict(other, **more)
        check_keys(added)
        core = self._core
        core.before_write()
        for key, value in added.items():
            if type(value) not in SCALARS:
                core.contents.receive(key, value)
        dict.update(self, added)
        core.contents.is_written = True

    if not TYPE_CHECKING:  # dict's own signatures say it better

        def __ior__(self, other: Any) -> Self:
            self.update(other)
            return self

        def __or__(self, other: Any) -> dict[str, Any]:
            return {**self, **other} if isinstance(other, dict) else NotImplemented

        def __ror__(self, other: Any) -> dict[str, Any]:
            return {**other, **self} if isinstance(other, dict) else NotImplemented

    def clear(self) -> None:
        """Remove all data. The session itself goes on; :meth:`destroy` ends it."""
        self._core.before_write()
        dict.clear(self)
        self._core.contents.is_written = True

    def copy(self) -> dict[str, Any]:
        """Return a plain dict with the same values."""
        self._share_all()
        return dict(dict.items(self))

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(self.copy(), memo)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a session cannot be pickled; `dict(session)` can")

    @classmethod
    def fromkeys(cls, iterable: Iterable[str], value: Any = None, /) -> dict[str, Any]:  # type: ignore[override]  # sessions are made by the middleware
        """Return a plain dict, because sessions are made by the middleware."""
        return dict.fromkeys(iterable, value)

    def _share_all(self) -> None:
        """Note what all values look like before the application, or code in C, can change one."""
        core = self._core
        core.use()
        core.contents.share_all(self)

    if not TYPE_CHECKING:  # so that type checkers refuse unknown attributes

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"a session has no attribute `{name}`{hint(name, dir(type(self)))}; "
                f'its data are keys: `session["{name}"]`'
            )

        def __setattr__(self, name: str, value: object) -> None:
            if name == "owner":
                object.__setattr__(self, name, value)
                return
            if name == "cookie":
                advice = "assign to its settings: `session.cookie.max_age = ...`"
            elif hasattr(type(self), name):
                advice = "it is not yours to set"
                if name == "id":
                    advice += "; `session.regenerate(keep_data=True)` gives the session a new one"
            else:
                advice = f'data are keys: `session["{name}"] = ...`' + hint(name, dir(type(self)))
            raise AttributeError(f"`session.{name}` cannot be assigned; {advice}")

        def __delattr__(self, name: str) -> None:
            raise AttributeError(
                f'`session.{name}` cannot be deleted; data are keys: `del session["{name}"]`'
            )


_set_core: Final = SessionDict.__dict__["_core"].__set__
_get_item: Final = dict.__getitem__
_set_item: Final = dict.__setitem__


def core_of(session: SessionDict) -> SessionCore:
    """Return what is behind a session."""
    return session._core
