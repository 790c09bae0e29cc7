"""The setting ``COATCHECK``, as options and as a store that all requests of the process share."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.crypto import get_random_string
from django.utils.module_loading import import_string

from coatcheck import AsyncStore, SessionOptions, Store, open_async_store, open_store
from coatcheck.errors import ConfigurationError
from coatcheck.session_lifecycle import SessionLifecycle

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

    from ._former import Former

#: The options of coatcheck that can be set, by their names in ``COATCHECK``.
OPTIONS: Final = {
    name.upper(): name
    for name in (
        "absolute_timeout",
        "codec",
        "concurrency",
        "conflict_timeout",
        "merge",
        "observers",
        "owner",
    )
}
#: All names in ``COATCHECK``.
NAMES: Final = ("STORE", "MOVE_FROM", *OPTIONS)
#: The names of other options, and the setting of Django that is meant.
MEANT: Final = {
    "NAME": "SESSION_COOKIE_NAME",
    "COOKIE": "SESSION_COOKIE_PATH, SESSION_COOKIE_SECURE and their like",
    "IDLE_TIMEOUT": "SESSION_COOKIE_AGE",
    "MAX_AGE": "SESSION_COOKIE_AGE",
    "ROLLING": "SESSION_SAVE_EVERY_REQUEST",
    "RESAVE": "SESSION_SAVE_EVERY_REQUEST",
    "SECRET": "SECRET_KEY",
}
EXAMPLE: Final = 'COATCHECK = {"STORE": "redis://localhost:6379/0"}'
#: The key under which django.contrib.auth keeps the id of the user.
USER: Final = "_auth_user_id"
_KEY_LENGTH: Final = 32
_KEY_CHARACTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


T = TypeVar("T")


class _Opened:
    """What was made of the settings: the stores and all that works on them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._parts: dict[object, Any] = {}

    def get(self, key: object, make: Callable[[], T]) -> T:
        """Return a part, which is made at its first use."""
        parts = self._parts
        if key not in parts:
            with self._lock:
                if key not in parts:
                    parts[key] = make()
        part: T = parts[key]
        return part

    def forget(self, *kept: object) -> None:
        """Forget all parts but some. They are made again at their next use."""
        self._parts = {key: part for key, part in self._parts.items() if key in kept}


opened: Final = _Opened()


def store() -> Store | AsyncStore:
    """Return the store for synchronous code."""
    return opened.get("store", lambda: _open(open_store))


def async_store() -> Store | AsyncStore:
    """Return the store for asynchronous code.

    It is the same object if the store shares nothing with other objects, as a memory store does.
    """

    def make() -> Store | AsyncStore:
        first = store()
        if first is given_store() or not first.capabilities.multi_process:
            return first
        return _open(open_async_store)

    return opened.get("async_store", make)


def lifecycle(kind: type[SessionBase]) -> SessionLifecycle:
    """Return what loads and stores sessions in synchronous code.

    :param kind: the engine's class, which knows when a session expires.
    """
    return opened.get(
        ("lifecycle", kind), lambda: SessionLifecycle(store(), options(), expiry=_expiry(kind))
    )


def async_lifecycle(kind: type[SessionBase]) -> SessionLifecycle:
    """See :func:`lifecycle`; for asynchronous code."""
    return opened.get(
        ("async_lifecycle", kind),
        lambda: SessionLifecycle(async_store(), options(), expiry=_expiry(kind)),
    )


def former() -> Former | None:
    """Return the sessions of the engine that ``MOVE_FROM`` names, or None.

    :raises ImproperlyConfigured: it names no engine whose sessions can move.
    """
    return opened.get("former", _former)


def options() -> SessionOptions:
    """Return the options that the settings give.

    :raises ImproperlyConfigured: a setting is missing or wrong.
    """
    return opened.get("options", _options)


def owner_is_user() -> bool:
    """Tell whether the owner of a session is its user, and not something of the option OWNER."""
    return options().owner == USER


def given() -> Mapping[str, Any]:
    """Return the setting ``COATCHECK``.

    :raises ImproperlyConfigured: it is missing, or no dict with a store.
    """
    value: object = getattr(settings, "COATCHECK", None)
    if value is None:
        raise ImproperlyConfigured(f"The setting COATCHECK is missing: write {EXAMPLE}")
    if not isinstance(value, Mapping):
        raise ImproperlyConfigured(
            f"The setting COATCHECK must be a dict, as in {EXAMPLE}, not {type(value).__name__}"
        )
    if value.get("STORE") in (None, ""):
        raise ImproperlyConfigured(
            f'COATCHECK["STORE"] is missing: write {EXAMPLE}, or "memory:" where sessions may be '
            "lost, as in tests"
        )
    return value


def given_store() -> Any:
    """Return the object or URL in ``COATCHECK["STORE"]``."""
    return given()["STORE"]


def problems() -> Iterator[str]:
    """Say what is wrong with the settings, without asking the store."""
    try:
        value = given()
    except ImproperlyConfigured as error:
        yield str(error)
        return
    yield from _unknown_names(value)
    for make in (_known_options, store, _former, _serializer):
        try:
            make()
        except ImproperlyConfigured as error:
            yield str(error)


def _options() -> SessionOptions:
    for problem in _unknown_names(given()):
        raise ImproperlyConfigured(problem)
    return _known_options()


def _known_options() -> SessionOptions:
    observers = given().get("OBSERVERS")
    if isinstance(observers, str):
        raise ImproperlyConfigured(f'COATCHECK["OBSERVERS"] must be a list: write [{observers!r}]')
    fields: dict[str, Any] = {"owner": USER}
    for name, value in given().items():
        if name in OPTIONS:
            fields[OPTIONS[name]] = _resolved(name, value)
    # Django's cookie has no signature. The secret is needed for options, and used for nothing.
    secret = hashlib.sha256(f"coatcheck_django{settings.SECRET_KEY}".encode()).digest()
    try:
        return SessionOptions(secret=secret, generate_id=_new_key, **fields)
    except ConfigurationError as error:
        raise ImproperlyConfigured(_in_settings_words(str(error))) from None


def _former() -> Former | None:
    from ._former import former_sessions

    value = given().get("MOVE_FROM")
    return None if value in (None, "") else former_sessions(value, time.time)


def _serializer() -> None:
    """Import what each session of Django imports.

    :raises ImproperlyConfigured: it cannot be imported.
    """
    try:
        import_string(settings.SESSION_SERIALIZER)
    except Exception as error:  # a module that is imported may raise anything
        raise ImproperlyConfigured(
            f"SESSION_SERIALIZER is {settings.SESSION_SERIALIZER!r}, which cannot be imported: "
            f"{error}"
        ) from None


def _open(opener: Callable[[str], Store | AsyncStore]) -> Store | AsyncStore:
    value = given_store()
    if isinstance(value, Store | AsyncStore):
        return value
    try:
        return opener(value)
    except ConfigurationError as error:
        raise ImproperlyConfigured(f'COATCHECK["STORE"]: {error}') from None


def _resolved(name: str, value: Any) -> Any:
    """Import what a setting names by its dotted path, as Django's settings do."""
    if isinstance(value, str) and "." in value:
        try:
            value = import_string(value)
            return value() if name == "CODEC" and isinstance(value, type) else value
        except Exception as error:  # a module that is imported may raise anything
            reason = str(error) if isinstance(error, ImportError) else repr(error)
            raise ImproperlyConfigured(f'COATCHECK["{name}"]: {reason}') from None
    if name == "OBSERVERS" and isinstance(value, list | tuple):
        return [_resolved(name, each) for each in value]
    if name == "MERGE" and isinstance(value, Mapping):
        return {key: _resolved(name, rule) for key, rule in value.items()}
    return value


def _unknown_names(value: Mapping[str, Any]) -> Iterator[str]:
    """Say of each name in ``COATCHECK`` that does not exist what to write instead."""
    return (_unknown(name) for name in value if name not in NAMES)


def _unknown(name: object) -> str:
    import difflib

    text = f"COATCHECK has no setting {name!r}"
    if name in MEANT:
        return f"{text}: set {MEANT[str(name)]}, as Django has it"
    near = difflib.get_close_matches(str(name).upper(), NAMES, n=1)
    if near:
        return f'{text}: did you mean "{near[0]}"?'
    return f"{text}: there are {', '.join(sorted(NAMES))}"


def _in_settings_words(message: str) -> str:
    """Return an error about an option, with the name that it has in ``COATCHECK``."""
    for name, option in OPTIONS.items():
        message = message.replace(f"`{option}`", f'COATCHECK["{name}"]')
    return message


def _new_key(_request: object) -> str:
    """Return a session key of the form that Django's own engines use."""
    return get_random_string(_KEY_LENGTH, _KEY_CHARACTERS)


def _expiry(kind: type[SessionBase]) -> Callable[[Mapping[str, Any]], float]:
    def expiry(data: Mapping[str, Any]) -> float:
        session: Any = kind()
        session._session_cache = dict(data)  # a subclass may decide by them
        moment: datetime = session.get_expiry_date(expiry=data.get("_session_expiry"))
        return moment.timestamp()

    return expiry


def _forget_changed(*, setting: str, **_: object) -> None:
    if setting == "COATCHECK":
        opened.forget()
    elif setting == "SECRET_KEY":  # a store in memory keeps its sessions
        opened.forget("store", "async_store")


setting_changed.connect(_forget_changed, dispatch_uid="coatcheck_django")
