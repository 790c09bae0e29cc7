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

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from ._json.typed_json import Converter, Misfit, converter_for
from .errors import ConfigurationError, InvalidSessionData

__all__ = ["VERSION_KEY", "SessionView"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")

#: Where stored data have their version, unless it is 1.
VERSION_KEY: Final = "_version"


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
        the data in this version. The result is stored at the next edit.
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
        return self._load(data)[0]

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

        :raises InvalidSessionData: what is stored does not fit the type, or the changes do not.
        """
        value, outdated = self._load(data)
        before = self._dump(value)
        yield value
        after = self._dump(value)
        if after == before and not outdated:
            return
        self._checked(value)
        for key in outdated:
            data.pop(key, None)
        self._store(data, {} if outdated else before, after)

    def _load(self, data: Mapping[str, Any]) -> tuple[T, set[str]]:
        """Return the value, and the keys that go if the data had another version."""
        if self.key is not None and self.key not in data:
            if self.default is not None:
                return self.default(), set()
            return self._converted({}), set()
        stored: Any = dict(data) if self.key is None else data[self.key]
        version = 1
        if isinstance(stored, Mapping) and VERSION_KEY in stored:
            stored = dict(stored)
            version = stored.pop(VERSION_KEY)
        if version == self.version or (self.key is None and not stored):
            return self._converted(stored), set()
        if self.migrate is None:
            raise InvalidSessionData(
                f"{self._path} has version {version!r}, and {self._name} is version {self.version} "
                "without `migrate`",
                self._path,
            )
        migrated = self.migrate(deepcopy(stored), version)
        value = self._converted(migrated)
        if self.key is not None:
            return value, {self.key}
        return value, {VERSION_KEY, *stored}.difference(migrated)

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

    def _store(self, data: MutableMapping[str, Any], before: Mapping[str, Any], after: Any) -> None:
        """Store a value, of the whole session only what has changed."""
        marked = {VERSION_KEY: self.version} if self.version > 1 else {}
        if self.key is not None:
            data[self.key] = {**after, **marked} if marked else after
            return
        for key, value in {**after, **marked}.items():
            if key not in before or before[key] != value:
                data[key] = value
        for key in before.keys() - after.keys():
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
