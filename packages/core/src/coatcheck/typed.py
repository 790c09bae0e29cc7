"""See the session, or one key of it, as a dataclass, TypedDict, msgspec Struct or Pydantic model.

::

    @dataclass
    class Cart:
        lines: list[Line] = field(default_factory=list)
        coupon: str | None = None

    CART = SessionView(Cart, "cart")

    with CART.edit(session) as cart:  # changes are saved at the end of the block
        cart.lines.append(Line("umbrella", 1))

The session stores plain JSON values. Pydantic or msgspec turns them into the type and back, so one
of the two has to be installed. A Struct needs msgspec and a model Pydantic; for the others it is
Pydantic if both are there. :class:`coatcheck.fastapi.SessionKey` is a view as a parameter.
docs/decisions/2026-11-30-typed-sessions.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from ._json.typed_json import Converter, Misfit, converter_for
from ._session.data_end import watch_end
from .errors import ConfigurationError, InvalidSessionData

__all__ = ["VERSION_KEY", "SessionView"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")

#: Where stored data have their version, unless it is 1.
VERSION_KEY: Final = "_version"
_ONE_VERSION: Final = "; if one has a version, there can be no second view of the whole session"
_MISSING: Final = object()


@dataclass
class _Loaded(Generic[T]):
    """A value, and what it was made of.

    :ivar stored: the session's keys that there are, with what they hold.
    :ivar is_migrated: whether they have another version than the value.
    :ivar changed: the keys of the session that the migration has changed or deleted.
    :ivar left_out: those that it has not returned: it may have read them.
    :ivar dropped: those that it has deleted.
    """

    value: T
    stored: Mapping[str, Any]
    is_migrated: bool = field(default=False, kw_only=True)
    changed: set[str] = field(default_factory=set, kw_only=True)
    left_out: set[str] = field(default_factory=set, kw_only=True)
    dropped: set[str] = field(default_factory=set, kw_only=True)


def _same(data: Mapping[str, Any], former: Mapping[str, Any], key: str) -> bool:
    """Tell whether a key of the session holds what it held before, or is still missing."""
    return bool(data.get(key, _MISSING) == former.get(key, _MISSING))


@dataclass(frozen=True)
class SessionView(Generic[T]):
    """See the session, or one key of it, as a value of a type.

    The methods take a session, or the dict that :meth:`session.change()
    <coatcheck.AsyncSession.change>` and :meth:`Sessions.update <coatcheck.Sessions.update>` hand to
    a function. A session with ``load="lazy"`` has to be loaded before.

    Without a key, each field is a key of the session. Keys that the type does not have stay as
    they are.

    :param type: a dataclass, TypedDict, msgspec Struct or Pydantic model; or another type that
        Pydantic or msgspec reads, such as ``list[Line]``.
    :param key: the session's key; None for the whole session.
    :param default: makes the value where the session does not have the key. Without it, that is
        the type with all its defaults.
    :param version: the version of the data that are written. Data without a version have 1.
    :param migrate: gets a copy of stored data of any other version, and that version, and returns
        the data in this version. The result is stored at the next edit. Without a ``key``, the copy
        is of the whole session: keys that the function deletes from it are deleted.
    :raises ConfigurationError: neither Pydantic nor msgspec can read the type, or a version above 1
        has no ``migrate``.
    """

    type: type[T]
    key: str | None = None
    default: Callable[[], T] | None = field(default=None, kw_only=True)
    version: int = field(default=1, kw_only=True)
    migrate: Callable[[Any, int], Any] | None = field(default=None, kw_only=True)
    _converter: Converter = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.version < 1 or (self.version > 1 and self.migrate is None):
            raise ConfigurationError(
                f"`version={self.version}` of a session view: versions begin at 1, and those above "
                "it need `migrate=`, a function of the stored data and their version"
            )
        object.__setattr__(self, "_converter", converter_for(self.type))

    def read(self, data: Mapping[str, Any]) -> T:
        """Return the value. It is a copy: what you change in it is not saved.

        :raises InvalidSessionData: what is stored does not fit the type.
        """
        return self._load(data).value

    def write(self, data: MutableMapping[str, Any], value: T) -> None:
        """Store a value in the place of what is there.

        :raises InvalidSessionData: it does not fit the type.
        """
        self._store(data, {}, self._checked(value))

    @contextmanager
    def edit(self, data: MutableMapping[str, Any]) -> Iterator[T]:
        """Return the value, and store what has changed in it at the end of the block.

        Nothing is stored if the block raises, and nothing if the value stays the same. So a visitor
        who has no such value gets none because of that.

        What the block does to the session itself wins. If it changes or deletes the view's key
        there, the view stores nothing; a view of the whole session leaves out such keys. A view
        also stores nothing after ``destroy()`` and after ``regenerate()`` without its data.

        :raises InvalidSessionData: what is stored does not fit the type, or the changes do not.
        """
        loaded = self._load(data)
        before = self._dump(loaded.value)
        keys = {self.key} if self.key is not None else loaded.changed.union(before)
        former = {key: deepcopy(loaded.stored[key]) for key in keys if key in loaded.stored}
        has_ended = watch_end(data)
        yield loaded.value
        after = self._dump(loaded.value)
        if (after == before and not loaded.is_migrated) or has_ended():
            return
        if self.key is None:
            keys = keys.union(after)
        replaced = {key for key in keys if not _same(data, former, key)}
        # The session of Django cannot be iterated.
        replaced |= {key for key in loaded.left_out if key not in data}
        if replaced and (self.key is not None or loaded.is_migrated):
            return
        self._checked(loaded.value)
        for key in loaded.dropped:
            data.pop(key, None)
        self._store(data, {} if loaded.is_migrated else before, after, replaced)

    def _load(self, data: Mapping[str, Any]) -> _Loaded[T]:
        """Return the value, and what it was made of."""
        if self.key is not None and self.key not in data:
            value = self._converted({}) if self.default is None else self.default()
            return _Loaded(value, {})
        stored: Any = dict(data) if self.key is None else data[self.key]
        by_key = stored if self.key is None else {self.key: stored}
        version = 1
        if isinstance(stored, Mapping) and VERSION_KEY in stored:
            stored = dict(stored)
            version = stored.pop(VERSION_KEY)
        if version == self.version or (self.key is None and not stored):
            return _Loaded(self._converted(stored), by_key)
        if self.migrate is None:
            raise InvalidSessionData(
                f"{self._path} has version {version!r}, and {self._name} is version {self.version} "
                "without `migrate`" + ("" if self.key is not None else _ONE_VERSION),
                self._path,
            )
        given = deepcopy(stored)
        migrated = self.migrate(given, version)
        loaded = _Loaded(self._converted(migrated), by_key, is_migrated=True)
        if self.key is None:
            loaded.dropped = {VERSION_KEY, *stored}.difference(given, migrated)
            loaded.left_out = {*stored}.difference(migrated)
            loaded.changed = loaded.dropped.union(
                key for key in migrated if key in stored and migrated[key] != stored[key]
            )
        return loaded

    def _converted(self, stored: Any) -> T:
        try:
            value: T = self._converter.load(stored)
        except Misfit as misfit:
            advice = "give the field a default, or change older data with `migrate`"
            raise self._invalid(misfit, advice) from None  # it may show data
        return value

    def _checked(self, value: T) -> Any:
        """Return the stored form of a value, which can be read again."""
        stored = self._dump(value)
        try:
            self._converter.load(stored)
        except Misfit as misfit:
            raise self._invalid(misfit, "it is not stored") from None  # it may show data
        return stored

    def _dump(self, value: T) -> Any:
        try:
            stored = self._converter.dump(value)
        except Misfit as misfit:
            raise self._invalid(misfit, "it is not stored") from None  # it may show data
        if isinstance(stored, dict) or (self.key is not None and self.version == 1):
            return stored
        raise ConfigurationError(
            f"{self._name} has no fields, so it can be neither the whole session nor have a version"
        )

    def _store(
        self,
        data: MutableMapping[str, Any],
        before: Mapping[str, Any],
        after: Any,
        replaced: Collection[str] = (),
    ) -> None:
        """Store a value, of the whole session only what has changed.

        :param replaced: the session's keys that stay as they are.
        """
        marked = {VERSION_KEY: self.version} if self.version > 1 else {}
        if self.key is not None:
            data[self.key] = {**after, **marked} if marked else after
            return
        changed = {
            key: value
            for key, value in after.items()
            if key not in replaced and (key not in before or before[key] != value)
        }
        gone = before.keys() - after.keys() - set(replaced)
        for key, value in {**changed, **(marked if changed or gone else {})}.items():
            data[key] = value
        for key in gone:
            data.pop(key, None)

    @property
    def _path(self) -> str:
        return "session" if self.key is None else f"session[{self.key!r}]"

    @property
    def _name(self) -> str:
        return getattr(self.type, "__qualname__", str(self.type))

    def _invalid(self, misfit: Misfit, advice: str) -> InvalidSessionData:
        path = self._path + misfit.path
        return InvalidSessionData(
            f"{path} does not fit {self._name}: {misfit.reason}; {advice}", path
        )
